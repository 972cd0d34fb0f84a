//! Twenty lines: connect through Sentinel, write to the master, read from a replica.
//!
//! `make cluster` in one terminal, `cargo run --example quickstart` in another.

use redis_rw_pool::{Config, Pool, redis::AsyncCommands};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let sentinels = ["127.0.0.1:26379", "127.0.0.1:26380", "127.0.0.1:26381"];
    let pool = Pool::connect(Config::new(sentinels, "mymaster")).await?;

    let mut master = pool.write().await?;
    let () = master.set("greeting", "hello").await?;
    println!("wrote to the {} {}", master.role(), master.node());

    // The replica may be a moment behind: then there is nothing yet.
    let mut replica = pool.read().await?;
    let greeting: Option<String> = replica.get("greeting").await?;
    println!(
        "read {greeting:?} from the {} {}",
        replica.role(),
        replica.node()
    );
    Ok(())
}
