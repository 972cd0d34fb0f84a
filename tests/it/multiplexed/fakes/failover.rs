//! The tests of `multiplexed::failover` that need no redis-server.

use std::time::Duration;

use redis::{AsyncCommands, RedisResult, Value};
use redis_rw_pool::{Pool, ReadFrom};
use testkit::fake::{self, NodeRole, SentinelView};

use crate::support::{SOON, ask, chain, eventually, failure, run, sentinel_of, watched_by};

#[tokio::test]
async fn a_handle_says_that_there_is_no_master_when_its_time_is_up() {
    let node = fake::node(NodeRole::Master);
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.failover_timeout = Duration::from_millis(100);
    config.connect_timeout = Duration::from_millis(100);
    let pool = Pool::connect(config).await.unwrap();
    let mut writer = pool.writer();
    let () = writer.set("k", 1).await.unwrap();
    node.set_role(NodeRole::replica_of(1));
    node.close_connections();
    eventually("writes fail as there is no master", SOON, || async {
        let result: RedisResult<Value> = run(&mut writer.clone(), "SET k 2").await;
        result.is_err_and(|error| chain(&error).contains("says it is a replica"))
    })
    .await;
    node.set_role(NodeRole::Master);
    eventually("writes succeed again", SOON, || async {
        writer.clone().set::<_, _, ()>("k", 3).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn without_a_readable_replica_reads_fail_where_only_replicas_may_be_read() {
    let node = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = watched_by(&sentinel);
    config.read_from = ReadFrom::Replica;
    let pool = Pool::connect(config).await.unwrap();
    let (_, text) = failure(run::<Value>(&mut pool.reader(), "GET k").await);
    assert!(text.contains("no replica is readable"), "{text}");
    let () = ask(&mut pool.writer(), "SET k v").await;
}
