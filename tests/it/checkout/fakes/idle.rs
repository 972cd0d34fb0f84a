//! The tests of `checkout::idle` that need no redis-server.

use std::{collections::HashSet, time::Duration};

use redis_rw_pool::{Discard, Pool};
use testkit::fake::{Action, FakeServer};

use crate::support::{id, node_with, sentinel_of, side_by_side, watched_by};

/// A master that says to every PING that it is loading its data, which a real one says to everything.
fn failing_every_test() -> FakeServer {
    node_with(|_, words| {
        let loading = || Action::reply("-LOADING Redis is loading the dataset in memory\r\n");
        (words[0] == "PING").then(loading)
    })
}

#[tokio::test]
async fn a_connection_that_fails_its_test_is_replaced() {
    let node = failing_every_test();
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.write.test_idle_after = Some(Duration::ZERO);
    let pool = Pool::connect(config).await.unwrap();
    let mut seen = HashSet::new();
    for _ in 0..10 {
        let mut conn = pool.write().await.unwrap();
        seen.insert(id(&mut conn).await);
    }
    assert_eq!(seen.len(), 10);
    let status = pool.status().write;
    assert_eq!((status.created, status.active), (10, 1), "{status:?}");
    assert_eq!(status.discards.get(Discard::TestFailed), 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_connections_that_all_fail_their_test_are_replaced() {
    let node = failing_every_test();
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.write.max_active = 100;
    config.write.test_idle_after = Some(Duration::ZERO);
    let pool = Pool::connect(config).await.unwrap();
    drop(side_by_side((0..100).map(|_| pool.write())).await);
    let lent = side_by_side((0..100).map(|_| pool.write())).await;
    let status = pool.status().write;
    assert_eq!((status.created, status.active), (200, 100), "{status:?}");
    assert_eq!(status.discards.get(Discard::TestFailed), 100);
    drop(lent);
}
