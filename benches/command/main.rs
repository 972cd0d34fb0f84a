//! Commands from checkout to return, on a real server, one caller at a time. Many at once are
//! measured by `make peer-bench`.
//!
//! Beside ours stand deadpool-redis as it is shipped, the redis crate's own connection in a bare
//! deadpool (no PING at checkout), and, for GET, a raw socket in a bare deadpool that does not even
//! look at the reply: the limit for any pool of exclusive connections.
//!
//! All of them read from the same replica and write to the same master.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench is a program: criterion makes its functions public, and it may panic"
)]

mod latency;
mod pools;

use redis_rw_pool::redis::{AsyncCommands, cmd, pipe};
use testkit::Deployment;

use crate::pools::{Lend, Ours};

pub(crate) const CONNECTIONS: usize = 16;
pub(crate) const SMALL: usize = 64;
pub(crate) const LARGE: usize = 16 * 1024;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let deployment = Deployment::builder().replicas(1).sentinels(1).start();
    let pool = runtime.block_on(pools::ours(&deployment));
    runtime.block_on(fill(&Ours::Write(pool.clone())));
    latency::run(&runtime, &deployment, &pool);
}

/// Everything that is read, and waits until the replica has it.
async fn fill(master: &Ours) {
    let mut conn = master.lend().await;
    let () = conn.set("small", "s".repeat(SMALL)).await.unwrap();
    let () = conn.set("large", "l".repeat(LARGE)).await.unwrap();
    let mut fill = pipe();
    for index in 0..100 {
        fill.set(format!("many:{index}"), "m".repeat(SMALL))
            .ignore();
    }
    for index in 0..10_000 {
        fill.rpush("list", format!("item:{index}")).ignore();
    }
    let () = fill.query_async(&mut conn).await.unwrap();
    let () = cmd("WAIT")
        .arg(1)
        .arg(10_000)
        .query_async(&mut conn)
        .await
        .unwrap();
}
