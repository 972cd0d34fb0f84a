//! Reads that must have seen something, on real servers: what is proven, and what becomes of a read for
//! which it cannot be.

mod age;
mod copies;
mod exclusive;
mod limits;
mod lost;
mod plain;
mod sessions;
mod tokens;

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, FreshnessStatus, Multiplexed, Pool};
use testkit::{Client, Deployment, Server};
use tokio::task::block_in_place;

use crate::support::{LONG, eventually, local, patient, readable_are};

/// A master and two replicas without Sentinels, in step, for one test to disturb.
fn trio() -> Deployment {
    let deployment = Deployment::builder().sentinels(0).start();
    in_step(&deployment.nodes()[0], 2);
    deployment
}

/// Waits until so many replicas have applied what this master has. A master sends nothing to a new replica
/// until the replica's next acknowledgement, up to a second later.
fn in_step(master: &Server, replicas: usize) {
    let replicas = replicas.to_string();
    for _ in 0..15 {
        let mut client = master.connect().unwrap();
        client.call(&["SET", "in-step", "1"]).unwrap();
        let acknowledged = client.call(&["WAIT", &replicas, "1900"]).unwrap();
        if acknowledged.as_int().to_string() == replicas {
            return;
        }
    }
    panic!("{} replicates to fewer than {replicas}", master.name());
}

/// A pool on these servers, of which the first is the master, that reads from all the others.
async fn pool_on(servers: &[Server], change: impl FnOnce(&mut Config)) -> Pool {
    let mut config = Config::nodes(servers.iter().map(Server::addr));
    patient(&mut config);
    // Only a failure that a test causes is noticed.
    config.refresh_interval = Duration::from_secs(1);
    change(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, servers.len() - 1, LONG).await;
    pool
}

/// Replicas are waited for, however long it takes, and the master never serves for them.
fn only_replicas(config: &mut Config) {
    config.freshness.patience = LONG;
    config.command_timeout = Some(LONG);
}

/// From here on the replica executes nothing that its master sends, though it receives it, and serves
/// reads as before.
fn hold(replica: &Server) {
    block_in_place(|| replica.cmd(&["CLIENT", "PAUSE", "120000", "WRITE"]));
}

fn release(replica: &Server) {
    block_in_place(|| replica.cmd(&["CLIENT", "UNPAUSE"]));
}

/// Makes `replica` follow `master`.
fn follow(replica: &Server, master: &Server) {
    let port = master.port().to_string();
    block_in_place(|| replica.cmd(&["REPLICAOF", "127.0.0.1", &port]));
}

fn promote(replica: &Server) {
    block_in_place(|| replica.cmd(&["REPLICAOF", "NO", "ONE"]));
}

async fn master_is(pool: &Pool, server: &Server) {
    let node = local(server.port());
    eventually("the new master is known", LONG, || async {
        let topology = pool.topology();
        topology.master.as_ref() == Some(&node) && topology.fence.is_none()
    })
    .await;
}

/// What the server itself says, without the pool.
fn value_at(server: &Server, key: &str) -> Option<i64> {
    let reply = block_in_place(|| server.cmd(&["GET", key]));
    (!reply.is_nil()).then(|| reply.as_int())
}

fn put(server: &Server, key: &str, value: i64) {
    let value = value.to_string();
    let reply = block_in_place(|| server.cmd(&["SET", key, &value]));
    assert_eq!(reply.as_str(), "OK");
}

async fn get(mut reader: Multiplexed, key: &str) -> Option<i64> {
    reader.get(key).await.unwrap()
}

/// A read that nothing is asked of meets a replica that is behind, sooner or later: the faults are not too
/// mild.
async fn meets_stale(pool: &Pool, key: &str, newest: Option<i64>) {
    eventually("a plain read is stale", LONG, || async {
        get(pool.reader(), key).await != newest
    })
    .await;
}

fn freshness(pool: &Pool) -> FreshnessStatus {
    pool.status().freshness
}

/// Commands of this name that were executed, without this question.
fn calls(server: &Server, command: &str) -> u64 {
    block_in_place(|| server.command_stat(command))
}

/// The name of a pool's connections whose questions are counted.
const APP: &str = "app";

/// Hears of every command that the server executes from now on.
fn watch(server: &Server) -> Client {
    let mut client = server.connect().unwrap();
    assert_eq!(client.call(&["MONITOR"]).unwrap().as_str(), "OK");
    client
}

/// How often a server was asked for its position since then or the last time. The pool also asks for roles,
/// over connections of its own, which do not count.
fn asked(server: &Server, watched: &mut Client) -> usize {
    let clients = server.client_list();
    let own = format!("{APP}-probe");
    let probes = clients.iter().filter(|client| client["name"] == own);
    let probes: Vec<&String> = probes.map(|client| &client["addr"]).collect();
    server.cmd(&["ECHO", "that is all"]);
    let mut asked = 0;
    loop {
        let line = watched.read().unwrap();
        let line = line.as_str().to_ascii_lowercase();
        if line.contains("that is all") {
            return asked;
        }
        let is_probe = probes.iter().any(|addr| line.contains(addr.as_str()));
        asked += usize::from(!is_probe && line.contains("\"info\""));
    }
}
