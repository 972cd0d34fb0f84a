//! The README's first program, with the nodes named that answer.
//!
//! `make cluster` in one terminal, `cargo run --example quickstart` in another. Or a plain `redis-server`,
//! and `REDIS_URL=redis://127.0.0.1 cargo run --example quickstart`.

use std::env;

use redis_rw_pool::{Config, Pool, redis::AsyncTypedCommands};

/// What `make cluster` starts, for when `REDIS_URL` says nothing else.
const REDIS_URL: &str = "redis-sentinel://127.0.0.1:26379,127.0.0.1:26380,127.0.0.1:26381#mymaster";

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = match env::var_os("REDIS_URL") {
        Some(_) => Config::from_env("REDIS")?,
        None => Config::from_url(REDIS_URL)?,
    };
    let pool = Pool::connect(config).await?;

    let mut master = pool.write().await?;
    let visits = master.incr("visits", 1).await?;
    println!(
        "visit {visits}, says the {} {}",
        master.role(),
        master.node()
    );
    drop(master); // back to its pool

    // A replica may be a moment behind.
    let mut replica = pool.read().await?;
    let seen = replica.get("visits").await?;
    println!("{seen:?} says the {} {}", replica.role(), replica.node());
    Ok(())
}
