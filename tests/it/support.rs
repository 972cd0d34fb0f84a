//! What the tests share.

use std::{future::Future, time::Duration};

use redis_rw_pool::{AddressMap, Config, Node, Pool};
use testkit::{Deployment, Proxies};
use tokio::time::Instant;

/// A configuration for this deployment, with short timeouts.
pub(crate) fn config(deployment: &Deployment) -> Config {
    let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    config.refresh_interval = Duration::from_millis(1000);
    config
}

/// A pool on this deployment, with changes to its configuration.
pub(crate) async fn pool(deployment: &Deployment, change: impl FnOnce(&mut Config)) -> Pool {
    let mut config = config(deployment);
    change(&mut config);
    Pool::connect(config)
        .await
        .expect("the deployment is healthy")
}

/// As [`config`], for a client that dials proxies wherever it would dial a node or a Sentinel.
pub(crate) fn config_through(proxies: &Proxies, deployment: &Deployment) -> Config {
    let mut config = config(deployment);
    config.sentinels = proxies.sentinel_addrs();
    let local = |port| Node::new("127.0.0.1", port);
    let dial = proxies.dial().into_iter();
    let table: AddressMap = dial
        .map(|(announced, port)| (local(announced), local(port)))
        .collect();
    config.address_map = Some(table);
    config
}

/// Waits until a condition holds; panics with its name when it does not within the limit.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
