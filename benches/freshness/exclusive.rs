//! One caller over an exclusive connection.

use std::time::Duration;

use redis_rw_pool::{Connection, Pool, redis::AsyncCommands};
use tokio::time::Instant;

use crate::{VALUE, show};

const ROUNDS: usize = 100;
const COMMANDS: u32 = 100;

pub(crate) async fn run(pool: &Pool) {
    let token = pool.token().await.unwrap();
    let session = pool.session().after(&token);
    let mut plain = (pool.write().await.unwrap(), pool.read().await.unwrap());
    let mut fresh = (
        session.write().await.unwrap(),
        session.read().await.unwrap(),
    );
    let mut taken: [Vec<f64>; 4] = Default::default();
    for _ in 0..ROUNDS {
        for (turn, took) in taken.iter_mut().enumerate() {
            let each = match turn {
                0 => set(&mut plain.0).await,
                1 => set(&mut fresh.0).await,
                2 => get(&mut plain.1).await,
                _ => get(&mut fresh.1).await,
            };
            took.push(each.as_secs_f64() * 1e6);
        }
    }
    println!("| exclusive connection, one caller | without, µs | with, µs | more, µs | ratio |");
    println!("|---|---|---|---|---|");
    for (name, plain, fresh) in [
        ("SET, a token behind it", &taken[0], &taken[1]),
        ("GET, a proof ahead of it", &taken[2], &taken[3]),
    ] {
        let pairs = || plain.iter().zip(fresh);
        let more: Vec<_> = pairs().map(|(plain, fresh)| fresh - plain).collect();
        let ratio: Vec<_> = pairs().map(|(plain, fresh)| fresh / plain).collect();
        println!(
            "| {name} | {} | {} | {} | {} |",
            show(plain, 1),
            show(fresh, 1),
            show(&more, 1),
            show(&ratio, 2),
        );
    }
    println!();
}

async fn set(conn: &mut Connection) -> Duration {
    let value = "v".repeat(VALUE);
    let began = Instant::now();
    for _ in 0..COMMANDS {
        let () = conn.set("alone", &value).await.unwrap();
    }
    began.elapsed() / COMMANDS
}

async fn get(conn: &mut Connection) -> Duration {
    let began = Instant::now();
    for _ in 0..COMMANDS {
        let value: String = conn.get("key").await.unwrap();
        assert_eq!(value.len(), VALUE);
    }
    began.elapsed() / COMMANDS
}
