//! Deployments without Sentinels, and the start of a pool.

mod endpoints;
mod fakes;
mod plain;
mod promotion;
mod start;
mod wrong;

use std::time::Duration;

use redis_rw_pool::Config;
use testkit::{Deployment, Server};

/// A master and its replicas, without Sentinels.
fn deployment(replicas: usize) -> Deployment {
    Deployment::builder()
        .sentinels(0)
        .replicas(replicas)
        .start()
}

fn addresses<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Vec<String> {
    servers.into_iter().map(Server::addr).collect()
}

/// A configuration for these servers, which are asked often.
fn config<'a>(servers: impl IntoIterator<Item = &'a Server>) -> Config {
    let mut config = Config::nodes(addresses(servers));
    config.refresh_interval = Duration::from_secs(1);
    config
}

/// Makes `replica` follow `master`.
fn follow(replica: &Server, master: &Server) {
    let port = master.port().to_string();
    replica.cmd(&["REPLICAOF", "127.0.0.1", &port]);
}

fn promote(replica: &Server) {
    replica.cmd(&["REPLICAOF", "NO", "ONE"]);
}
