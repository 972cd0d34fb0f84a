//! The tests of `topology::addresses` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Error, Pool};

use super::super::addresses::{ALIVE, BlackHole, DEAD, NAME, has_hosts, unused_port};

#[tokio::test(flavor = "multi_thread")]
async fn the_error_says_what_became_of_each_address() {
    if !has_hosts("topology::fakes::addresses::the_error_says_what_became_of_each_address") {
        return;
    }
    let unused = unused_port();
    let mut config = Config::new([format!("{NAME}:{unused}")], "mymaster");
    config.sentinel_timeout = Duration::from_millis(500);
    config.connect_timeout = Duration::from_secs(1);
    config.failover_timeout = Duration::from_secs(1);
    let told = |error: Error| match error {
        Error::NoSentinel { reports, .. } => reports.to_string(),
        other => panic!("{other:?}"),
    };
    let both_refuse = told(Pool::connect(config.clone()).await.unwrap_err());
    for address in [DEAD, ALIVE] {
        let refused = format!("{address}:{unused}: Connection refused");
        assert!(both_refuse.contains(&refused), "{both_refuse}");
    }
    let _black_hole = BlackHole::on(unused);
    let one_is_silent = told(Pool::connect(config).await.unwrap_err());
    assert!(
        one_is_silent.contains(&format!("{DEAD}:{unused}: no answer")),
        "{one_is_silent}"
    );
    assert!(
        one_is_silent.contains(&format!("{ALIVE}:{unused}: Connection refused")),
        "{one_is_silent}"
    );
}
