//! One address in front of several Sentinels, and several addresses of one Sentinel: each is asked and
//! listened to once, and an event is followed up at the Sentinel that gave it.

use std::time::Duration;

use redis_rw_pool::{Config, Pool};
use testkit::{Deployment, Proxy, Server};
use tokio::task::block_in_place;

use crate::support::eventually;

pub(super) const LIMIT: Duration = Duration::from_secs(30);

pub(super) fn config(seeds: impl IntoIterator<Item = String>) -> Config {
    let mut config = Config::new(seeds, "mymaster");
    config.refresh_interval = Duration::from_millis(200);
    config.failover_timeout = LIMIT;
    config
}

pub(super) async fn counts(pool: &Pool, known: usize, reachable: usize, listening: usize) {
    let text = format!("{known} known, {reachable} reachable, {listening} listened to");
    eventually(&text, LIMIT, || async {
        let sentinel = pool.status().sentinel;
        (sentinel.known, sentinel.reachable, sentinel.listening) == (known, reachable, listening)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_sentinel_behind_a_balanced_address_is_listened_to_once() {
    let deployment = block_in_place(Deployment::start);
    let ports: Vec<u16> = deployment.sentinels().iter().map(Server::port).collect();
    // From each Sentinel that may be drawn first.
    for first in 0..3 {
        let mut ports = ports.clone();
        ports.rotate_left(first);
        let balancer = Proxy::balancing(&ports);
        let config = config([balancer.addr()]);
        let pool = Pool::connect(config).await.expect("all is well");
        counts(&pool, 3, 3, 3).await;
        let subscribed = |sentinel: &Server| {
            let clients = sentinel.client_list().into_iter();
            // Other Sentinels do not subscribe here, they do so at the nodes.
            clients.filter(|client| client["sub"] != "0").count()
        };
        eventually("one subscription at each", LIMIT, || async {
            let mut sentinels = deployment.sentinels().iter();
            block_in_place(|| sentinels.all(|sentinel| subscribed(sentinel) == 1))
        })
        .await;
        drop(pool);
    }
}
