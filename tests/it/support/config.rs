//! Configurations, and pools on them.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use redis_rw_pool::{AddressMap, Config, Excluded, Node, Pool};
use testkit::{Deployment, Proxies, fake::FakeServer};

use super::{LONG, SOON, eventually};

/// A configuration for this deployment, with short timeouts.
pub(crate) fn config(deployment: &Deployment) -> Config {
    let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    config.refresh_interval = Duration::from_millis(1000);
    config
}

/// As [`config`], for a client that dials proxies wherever it would dial a node or a Sentinel.
pub(crate) fn config_through(proxies: &Proxies, deployment: &Deployment) -> Config {
    let mut config = config(deployment);
    config.sentinels = proxies.sentinel_addrs();
    let dial = proxies.dial().into_iter();
    let table: AddressMap = dial
        .map(|(announced, port)| (local(announced), local(port)))
        .collect();
    config.address_map = Some(table);
    config
}

/// The node at this port of this machine.
pub(crate) fn local(port: u16) -> Node {
    Node::new("127.0.0.1", port)
}

/// A connection to the announced port goes to the other one.
pub(crate) fn redirect(announced: u16, dialed: u16) -> AddressMap {
    AddressMap::new(move |node| {
        if node.port() == announced {
            local(dialed)
        } else {
            node.clone()
        }
    })
}

/// Timeouts that only a hang exceeds.
pub(crate) fn patient(config: &mut Config) {
    config.connect_timeout = SOON;
    config.sentinel_timeout = SOON;
    config.command_timeout = Some(SOON);
    config.write.wait_timeout = Some(SOON);
    config.read.wait_timeout = Some(SOON);
}

/// Long limits for a busy machine, and no refresh except those that a test causes.
pub(crate) fn prepare(config: &mut Config, name: &str) {
    config.client_name = Some(name.to_owned());
    config.refresh_interval = Duration::from_secs(3600);
    config.connect_timeout = Duration::from_secs(10);
    config.sentinel_timeout = Duration::from_secs(5);
    config.write.wait_timeout = Some(LONG);
}

/// A configuration for this Sentinel, which is asked only when something is wrong.
pub(crate) fn watched_by(sentinel: &FakeServer) -> Config {
    let mut config = Config::new([sentinel.addr()], "mymaster");
    patient(&mut config);
    config.refresh_interval = Duration::from_secs(60);
    config.write.max_active = 1;
    config
}

/// A pool on this deployment, with changes to its configuration.
pub(crate) async fn pool(deployment: &Deployment, change: impl FnOnce(&mut Config)) -> Pool {
    let mut config = config(deployment);
    change(&mut config);
    let pool = Pool::connect(config)
        .await
        .expect("the deployment is healthy");
    in_step(&pool).await;
    pool
}

/// Waits for replicas that were a few bytes behind when the pool looked at them first.
pub(crate) async fn in_step(pool: &Pool) {
    eventually("no replica has to catch up", SOON, || async {
        let topology = pool.topology();
        let mut replicas = topology.replicas.iter();
        replicas.all(|replica| replica.excluded != Some(Excluded::CatchingUp))
    })
    .await;
}

pub(crate) fn unique_name() -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("pool-{}", NEXT.fetch_add(1, Relaxed))
}
