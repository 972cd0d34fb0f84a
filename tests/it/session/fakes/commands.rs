//! The tests of `session::commands` that need no redis-server.

use redis::pipe;
use redis_rw_pool::{Connection, Pool};

use crate::support::{node_with, sentinel_of, watched_by};

const fn is_send_and_sync<T: Send + Sync + 'static>() {}

#[test]
fn a_connection_may_be_sent_and_shared_between_threads() {
    const { is_send_and_sync::<Connection>() };
    const { is_send_and_sync::<Pool>() };
}

/// Redis itself keeps reading and lets its output grow; a proxy, or a Redis whose output buffers
/// are limited, answers before it reads on.
#[tokio::test]
async fn a_server_that_reads_no_further_until_its_reply_is_taken_does_not_deadlock() {
    let node = node_with(|_, _| None);
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let mut pipeline = pipe();
    for n in 0..64_u8 {
        pipeline.cmd("ECHO").arg(&[b'0' + n % 10; 1 << 20][..]);
    }
    let replies: Vec<Vec<u8>> = pipeline.query_async(&mut conn).await.unwrap();
    assert!((0..64_u8).all(|n| replies[usize::from(n)] == vec![b'0' + n % 10; 1 << 20]));
}
