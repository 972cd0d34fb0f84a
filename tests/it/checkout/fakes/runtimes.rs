//! The tests of `checkout::runtimes` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Pool};
use tokio::time::Instant;

use super::super::runtimes::{is_ended, one_thread};
use crate::support::SECOND;

#[test]
fn a_connect_that_is_left_by_its_runtime_says_so() {
    let silent = testkit::fake::hung();
    let mut config = Config::new([silent.addr()], "mymaster");
    config.sentinel_timeout = 20 * SECOND;
    config.connect_timeout = 20 * SECOND;
    let (home, mut connect) = (one_thread(), Box::pin(Pool::connect(config)));
    home.block_on(async {
        let begun = tokio::time::timeout(Duration::from_millis(100), &mut connect);
        assert!(begun.await.is_err());
    });
    drop(home);
    let began = Instant::now();
    assert!(is_ended(&one_thread().block_on(connect)));
    assert!(began.elapsed() < SECOND);
}
