//! From 1 to 8 replicas.

use std::time::Duration;

use redis_rw_pool::{Pool, redis::cmd};
use testkit::Deployment;
use tokio::time::{Instant, sleep};

use crate::{
    figure::{count, number},
    handle::Handle,
    load, meter,
    observer::Observer,
    row::{self, Measured, Row, Sample},
    table::Table,
};

pub(crate) const NAME: &str = "replicas";

const REPLICAS: [usize; 4] = [1, 2, 4, 8];
const ROUNDS: usize = 3;

const CONNECTIONS: usize = 16;
const TASKS: usize = 64;
/// So short that looks are worth counting; every look asks every replica, as with the default.
const INTERVAL: Duration = Duration::from_millis(20);
const IDLE: Duration = Duration::from_millis(1500);
const REFRESHES: u32 = 20;

pub(crate) fn tables() -> Vec<Table> {
    let deployments = REPLICAS.map(|replicas| {
        let deployment = Deployment::builder().replicas(replicas).start();
        let value = "s".repeat(64);
        let master = deployment.master();
        master.cmd(&["SET", "small", &value]);
        master.cmd(&["WAIT", &replicas.to_string(), "1000"]);
        (replicas, deployment)
    });
    let row = |(n, deployment): &(usize, Deployment)| Row::new(NAME, "read()", *n, deployment);
    let rows: Vec<Row> = deployments.iter().map(row).collect();
    let mut table = Table::new(&[
        "replicas",
        "GET a second",
        "CPU µs a GET",
        "farthest from its share",
        "refresh, ms",
        "CPU µs",
        "a replica",
    ]);
    for row in row::medians(&rows, ROUNDS) {
        table.row(cells(&row));
    }
    table.note(
        "GET of 64 bytes by 64 tasks over 16 connections. *Refresh*: three Sentinels and every \
         replica asked.",
    );
    vec![table]
}

fn cells(row: &Measured) -> [String; 7] {
    [
        count(row.n),
        number(row.get("per second")),
        number(row.get("cpu")),
        format!("{:.1} %", row.get("unfair") * 100.0),
        number(row.get("refresh") * 1e3),
        number(row.get("look cpu") * 1e6),
        number(row.each("look cpu") * 1e6),
    ]
}

pub(crate) async fn measure(row: Row) -> Sample {
    let mut config = row.config();
    config.read.max_active = CONNECTIONS;
    let pool = Pool::connect(config).await.expect("a healthy deployment");
    let topology = pool.topology();
    let replicas: Vec<Observer> = topology
        .readable()
        .map(|node| Observer::new(node.port()))
        .collect();
    assert_eq!(replicas.len(), row.n, "every replica is readable");
    let served = || replicas.iter().map(|node| node.calls("get"));
    let mut before = Vec::new();
    let get = cmd("GET").arg("small").take();
    let handle = Handle::new(&row.how, &pool);
    let load = load::run(&handle, &get, TASKS, || before = served().collect()).await;
    let served: Vec<f64> = served().zip(before).map(|(now, then)| now - then).collect();
    let share = served.iter().sum::<f64>() / row.n as f64;
    let unfair = served.iter().map(|served| (served / share - 1.0).abs());
    let unfair = unfair.fold(0.0, f64::max);
    drop((handle, pool));
    let (refresh, look_cpu) = looks(&row).await;
    vec![
        ("per second", load.per_second),
        ("cpu", load.cpu_micros),
        ("unfair", unfair),
        ("refresh", refresh),
        ("look cpu", look_cpu),
    ]
}

/// How long a look at everybody takes, and its CPU.
async fn looks(row: &Row) -> (f64, f64) {
    let mut config = row.config();
    config.refresh_interval = INTERVAL;
    let pool = Pool::connect(config).await.expect("a healthy deployment");
    sleep(INTERVAL * 5).await;
    let began = (pool.status().sentinel.refreshes, meter::cpu());
    sleep(IDLE).await;
    let looks = pool.status().sentinel.refreshes - began.0;
    let cpu = (meter::cpu() - began.1).as_secs_f64() / looks as f64;
    let mut refreshing = Duration::ZERO;
    for _ in 0..REFRESHES {
        sleep(INTERVAL * 3 / 4).await;
        let began = Instant::now();
        pool.refresh().await.expect("a healthy deployment");
        refreshing += began.elapsed();
    }
    (refreshing.as_secs_f64() / f64::from(REFRESHES), cpu)
}
