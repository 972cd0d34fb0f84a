//! Who serves the reads, behind a replication that takes a millisecond.

use std::{pin::Pin, time::Duration};

use redis_rw_pool::{Config, Multiplexed, Pool, redis::AsyncCommands};
use testkit::{
    Server,
    proxy::{Flow, Proxy, Toward},
};
use tokio::{task::JoinSet, time::Instant};

use crate::connect;

const DELAY: Duration = Duration::from_millis(1);
const CALLERS: usize = 16;
const FOR: Duration = Duration::from_secs(5);
const WITHIN: Duration = Duration::from_millis(100);

pub(crate) async fn run() {
    let (master, replica) = (Server::standalone(&[]), Server::standalone(&[]));
    let line = Proxy::to(master.port());
    line.set(Toward::Client, Flow::Delay(DELAY));
    replica.cmd(&["REPLICAOF", "127.0.0.1", &line.port().to_string()]);
    let pool = connect(Config::nodes([master.addr(), replica.addr()])).await;
    println!(
        "| replication takes {DELAY:?}, {CALLERS} callers for {FOR:?} | reads | from replicas | dropped replies a read | mean read |"
    );
    println!("|---|---|---|---|---|");
    row(
        &pool,
        "read right after the write of the same session",
        |pool, until| Box::pin(write_and_read(pool, until)),
    )
    .await;
    row(&pool, "`within(100 ms)`, beside writes", |pool, until| {
        Box::pin(read_within(pool, until))
    })
    .await;
}

type Caller = Pin<Box<dyn Future<Output = (u64, Duration)> + Send>>;

async fn row(pool: &Pool, name: &str, caller: fn(Pool, Instant) -> Caller) {
    let before = pool.status().freshness;
    let until = Instant::now() + FOR;
    let mut callers = JoinSet::new();
    for _ in 0..CALLERS {
        callers.spawn(caller(pool.clone(), until));
    }
    let (mut reads, mut took) = (0, Duration::ZERO);
    while let Some(done) = callers.join_next().await {
        let (its_reads, its_time) = done.unwrap();
        (reads, took) = (reads + its_reads, took + its_time);
    }
    let after = pool.status().freshness;
    let from_master = after.from_master - before.from_master;
    let dropped = after.thrown_away - before.thrown_away;
    println!(
        "| {name} | {reads} | {:.2} % | {:.3} | {:.0} µs |",
        100.0 * (1.0 - from_master as f64 / reads as f64),
        dropped as f64 / reads as f64,
        took.as_secs_f64() * 1e6 / reads as f64,
    );
}

async fn write_and_read(pool: Pool, until: Instant) -> (u64, Duration) {
    let (mut reads, mut took) = (0, Duration::ZERO);
    while Instant::now() < until {
        let session = pool.session();
        let key = format!("own:{reads}");
        let () = session.writer().set(&key, reads).await.unwrap();
        let began = Instant::now();
        let seen: u64 = session.reader().get(&key).await.unwrap();
        took += began.elapsed();
        assert_eq!(seen, reads);
        reads += 1;
    }
    (reads, took)
}

async fn read_within(pool: Pool, until: Instant) -> (u64, Duration) {
    let mut reader: Multiplexed = pool.reader().within(WITHIN);
    let mut writer = pool.writer();
    let (mut reads, mut took) = (0, Duration::ZERO);
    while Instant::now() < until {
        let () = writer.set("busy", reads).await.unwrap();
        let began = Instant::now();
        let _: String = reader.get("key").await.unwrap();
        took += began.elapsed();
        reads += 1;
    }
    (reads, took)
}
