//! The tests of `checkout::limits` that need no redis-server.

use std::time::Duration;

use crate::support::{LONG, PROBE, eventually};

#[tokio::test]
async fn places_taken_by_dials_are_told_apart_from_connections_in_use() {
    let node = testkit::fake::node(testkit::fake::NodeRole::Master);
    let view = testkit::fake::SentinelView::of_master(node.port());
    let sentinel = testkit::fake::sentinel(view);
    let mut config = redis_rw_pool::Config::new([sentinel.addr()], "mymaster");
    config.write.max_active = 1;
    config.write.wait_timeout = Some(Duration::ZERO);
    let pool = redis_rw_pool::Pool::connect(config).await.unwrap();
    let probed = || async { node.open_connections() == PROBE };
    eventually("the pool's own look at the node is over", LONG, probed).await;
    node.set_override(Some(testkit::fake::Action::Silence));
    let (dialling, refused) = (pool.clone(), pool.clone());
    let first = tokio::spawn(async move { dialling.write().await.map(drop) });
    let dials = || async { node.open_connections() > PROBE };
    eventually("the first caller dials", LONG, dials).await;
    let error = refused.write().await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("0 open, 0 in use") && text.contains("1 being dialled"),
        "{text}"
    );
    first.abort();
}
