//! From 1 to 1 000 connections in one pool.

use std::{hint::black_box, time::Duration};

use redis_rw_pool::{Connection, Pool};
use testkit::Deployment;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    figure::{bytes, count, number},
    meter,
    row::{self, Measured, Row, Sample},
    table::Table,
};

pub(crate) const NAME: &str = "connections";

const CONNECTIONS: [usize; 4] = [1, 10, 100, 1000];
const ROUNDS: usize = 3;

const CHECKOUTS: u32 = 200_000;
const LOOKS: u32 = 20_000;
/// With this the reaper makes its rounds as often as it ever does, which is a hundred a second.
const TEST_AFTER: Duration = Duration::from_millis(100);
const ROUNDS_A_SECOND: f64 = 100.0;
/// Until the pool's own start is over.
const SETTLE: Duration = Duration::from_millis(200);
const IDLE: Duration = Duration::from_secs(1);

pub(crate) fn tables() -> Vec<Table> {
    let deployment = Deployment::builder().sentinels(1).start();
    let rows = CONNECTIONS.map(|n| Row::new(NAME, "-", n, &deployment));
    let mut table = Table::new(&[
        "connections",
        "open all, ms",
        "µs each",
        "CPU µs each",
        "heap",
        "each",
        "write() and back, ns",
        "read() and back, ns",
        "status(), µs",
        "ns each",
        "round of the reaper, CPU µs",
        "ns each",
    ]);
    for row in row::medians(&rows, ROUNDS) {
        table.row(cells(&row));
    }
    table.note(
        "All of them wanted at once, by as many callers, and then idle. Checkouts by one task, \
         without a command. A round of the reaper comes once a second by default.",
    );
    vec![table]
}

fn cells(row: &Measured) -> [String; 12] {
    [
        count(row.n),
        number(row.get("open") * 1e3),
        number(row.each("open") * 1e6),
        number(row.each("open cpu") * 1e6),
        bytes(row.get("heap")),
        bytes(row.each("heap")),
        number(row.get("write") * 1e9),
        number(row.get("read") * 1e9),
        number(row.get("status") * 1e6),
        number(row.each("status") * 1e9),
        number(row.get("round") * 1e6),
        number(row.each("round") * 1e9),
    ]
}

#[derive(Clone, Copy)]
enum Side {
    Write,
    Read,
}

impl Side {
    async fn checkout(self, pool: &Pool) -> Connection {
        let lent = match self {
            Self::Write => pool.write().await,
            Self::Read => pool.read().await,
        };
        lent.expect("a healthy deployment")
    }
}

pub(crate) async fn measure(row: Row) -> Sample {
    let pool = connect(&row, None).await;
    sleep(SETTLE).await;
    let heap = meter::heap();
    let cpu = meter::cpu();
    let open = open(&pool, Side::Write, row.n).await.as_secs_f64();
    let open_cpu = (meter::cpu() - cpu).as_secs_f64();
    let heap = meter::heap() - heap;
    self::open(&pool, Side::Read, row.n).await;
    let write = checkouts(&pool, Side::Write).await;
    let read = checkouts(&pool, Side::Read).await;
    let status = statuses(&pool);
    drop(pool);
    vec![
        ("open", open),
        ("open cpu", open_cpu),
        ("heap", heap),
        ("write", write),
        ("read", read),
        ("status", status),
        ("round", round(&row).await),
    ]
}

async fn connect(row: &Row, test_idle_after: Option<Duration>) -> Pool {
    let mut config = row.config();
    // A look at the Sentinels in between would count as what is measured.
    config.refresh_interval = Duration::from_secs(60);
    for limits in [&mut config.write, &mut config.read] {
        limits.max_active = row.n;
        limits.test_idle_after = test_idle_after.or(limits.test_idle_after);
    }
    Pool::connect(config).await.expect("a healthy deployment")
}

/// Opens all connections at once, and puts them back.
async fn open(pool: &Pool, side: Side, count: usize) -> Duration {
    let mut set = JoinSet::new();
    let began = Instant::now();
    for _ in 0..count {
        let pool = pool.clone();
        set.spawn(async move { side.checkout(&pool).await });
    }
    let lent = set.join_all().await;
    let elapsed = began.elapsed();
    assert_eq!(lent.len(), count);
    elapsed
}

async fn checkouts(pool: &Pool, side: Side) -> f64 {
    let began = Instant::now();
    for _ in 0..CHECKOUTS {
        drop(black_box(side.checkout(pool).await));
    }
    began.elapsed().as_secs_f64() / f64::from(CHECKOUTS)
}

fn statuses(pool: &Pool) -> f64 {
    let began = Instant::now();
    for _ in 0..LOOKS {
        black_box(pool.status());
    }
    began.elapsed().as_secs_f64() / f64::from(LOOKS)
}

/// CPU of one round of the reaper over the idle connections of the write pool. The empty read pool
/// is in it, and so is waking up for it.
async fn round(row: &Row) -> f64 {
    let pool = connect(row, Some(TEST_AFTER)).await;
    open(&pool, Side::Write, row.n).await;
    sleep(SETTLE).await;
    let cpu = meter::cpu();
    sleep(IDLE).await;
    let used = (meter::cpu() - cpu).as_secs_f64();
    assert_eq!(pool.status().write.idle, row.n, "none was closed meanwhile");
    used / (IDLE.as_secs_f64() * ROUNDS_A_SECOND)
}
