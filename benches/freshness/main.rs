//! What fresh reads cost, and who serves them.
//!
//! - Many callers over shared connections: a token behind every write, a proof ahead of every read, each
//!   against the same command without.
//! - One caller over an exclusive connection, the same.
//! - The share of reads that replicas serve, read right after the write, behind a replication that takes
//!   a millisecond; and with [`within`](redis_rw_pool::Multiplexed::within).
//!
//! Candidates take turns every few milliseconds, and every one is compared with the plain command of its
//! own round: what the machine does otherwise changes more slowly than that.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench is a program: it may panic"
)]

mod exclusive;
mod shared;
mod shares;

use std::time::Duration;

use redis_rw_pool::redis::{AsyncCommands, cmd};
use redis_rw_pool::{Config, Pool};
use testkit::{Deployment, Spread, machine::Machine};

pub(crate) const VALUE: usize = 64;

fn main() {
    let machine = Machine::look();
    println!(
        "{} ({} cores), {}\n",
        machine.cpu, machine.cores, machine.server
    );
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let deployment = Deployment::builder().replicas(1).sentinels(1).start();
    runtime.block_on(async {
        let pool = connect(Config::new(
            deployment.sentinel_addrs(),
            deployment.master_name(),
        ))
        .await;
        shared::run(&pool).await;
        exclusive::run(&pool).await;
    });
    drop(deployment);
    runtime.block_on(shares::run());
}

/// A pool whose replica has what is read.
pub(crate) async fn connect(mut config: Config) -> Pool {
    config.refresh_interval = Duration::from_secs(3600);
    let pool = Pool::connect(config).await.unwrap();
    let mut master = pool.write().await.unwrap();
    let () = master.set("key", "v".repeat(VALUE)).await.unwrap();
    let copies: usize = cmd("WAIT")
        .arg(1)
        .arg(10_000)
        .query_async(&mut master)
        .await
        .unwrap();
    assert_eq!(copies, 1);
    drop(master);
    while pool
        .topology()
        .replicas
        .iter()
        .all(|it| it.excluded.is_some())
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    pool
}

/// The middle of some numbers, and between which the rest lies.
pub(crate) fn show(numbers: &[f64], digits: usize) -> String {
    let Spread { min, median, max } = Spread::of(numbers.iter().copied()).unwrap();
    format!("{median:.digits$} [{min:.digits$} – {max:.digits$}]")
}
