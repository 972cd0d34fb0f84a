//! The tests of `session::outcome` that need no redis-server.

use redis::{RedisResult, Value, pipe};
use redis_rw_pool::{Outcome, Pool};

use super::super::outcome::fails;
use crate::support::{node_with, sentinel_of, watched_by};

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_exec_itself_refuses_says_why_and_was_not_executed() {
    // Everything is queued, and then the server is not what it was.
    let node = node_with(|_, words| {
        let reply = match words[0].as_str() {
            "MULTI" => "+OK\r\n",
            "SET" => "+QUEUED\r\n",
            "EXEC" => "-EXECABORT Transaction discarded because of: OOM command not allowed\r\n",
            _ => return None,
        };
        Some(testkit::fake::Action::reply(reply))
    });
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let mut pipeline = pipe();
    pipeline.atomic().set("k", 1);
    let mut exclusive = pool.write().await.unwrap();
    let result: RedisResult<Value> = pipeline.query_async(&mut exclusive).await;
    fails(result, Outcome::NotExecuted, "because of: OOM");
    let result: RedisResult<Value> = pipeline.query_async(&mut pool.writer()).await;
    fails(result, Outcome::NotExecuted, "because of: OOM");
}
