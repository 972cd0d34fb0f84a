//! From 1 to 4 096 tasks over one pool with 16 connections.

use std::time::Duration;

use redis_rw_pool::{
    Pool, ReadFrom,
    redis::{Cmd, cmd},
};
use testkit::{Client, Deployment};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    figure::{bytes, count, number},
    handle::{HANDLES, Handle},
    load, meter,
    row::{self, Measured, Row, Sample},
    table::Table,
};

pub(crate) const NAME: &str = "callers";

const CALLERS: [usize; 7] = [1, 4, 16, 64, 256, 1024, 4096];
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 16;

/// Until the pool's own start is over.
const SETTLE: Duration = Duration::from_millis(100);
/// How long the server answers nobody, and when in that time everybody is sure to wait, each with
/// the timer that a wait takes only after a while.
const STALL: &str = "0.4";
const STALLED: Duration = Duration::from_millis(250);

pub(crate) fn tables() -> Vec<Table> {
    let deployment = Deployment::builder().replicas(0).sentinels(1).start();
    let value = "s".repeat(64);
    deployment.master().cmd(&["SET", "small", &value]);
    let of = |n| HANDLES.map(|how| Row::new(NAME, how, n, &deployment));
    let rows: Vec<Row> = CALLERS.into_iter().flat_map(of).collect();
    let mut table = Table::new(&[
        "callers",
        "by",
        "GET a second",
        "CPU µs a GET",
        "heap while all wait",
        "a caller",
    ]);
    for row in row::medians(&rows, ROUNDS) {
        table.row(cells(&row));
    }
    table.note(
        "GET of 64 bytes over 16 connections to the master. *All wait*: on a server that answers \
         nobody, each a task of its own, which is counted too.",
    );
    vec![table]
}

fn cells(row: &Measured) -> [String; 6] {
    [
        count(row.n),
        format!("`{}`", row.how),
        number(row.get("per second")),
        number(row.get("cpu")),
        bytes(row.get("waiting")),
        bytes(row.each("waiting")),
    ]
}

pub(crate) async fn measure(row: Row) -> Sample {
    let mut config = row.config();
    config.read.max_active = CONNECTIONS;
    config.read_from = ReadFrom::Master;
    let pool = Pool::connect(config).await.expect("a healthy deployment");
    let handle = Handle::new(&row.how, &pool);
    let get = cmd("GET").arg("small").take();
    // First, since a connection holds on for a while to the task that used it last.
    let waiting = waiting(&handle, &get, row.n, &pool).await;
    let load = load::run(&handle, &get, row.n, || ()).await;
    vec![
        ("per second", load.per_second),
        ("cpu", load.cpu_micros),
        ("waiting", waiting),
    ]
}

/// What so many callers allocate who all wait for the server.
async fn waiting(handle: &Handle, get: &Cmd, callers: usize, pool: &Pool) -> f64 {
    let topology = pool.topology();
    let master = topology.master.as_ref().expect("there is one");
    let patience = Duration::from_secs(5);
    let mut server = Client::connect(master.port(), patience).expect("it runs");
    let mut set = JoinSet::new();
    handle.warm(callers).await;
    sleep(SETTLE).await;
    let before = meter::heap();
    server.send(&["DEBUG", "SLEEP", STALL]).expect("it runs");
    sleep(Duration::from_millis(20)).await;
    for _ in 0..callers {
        let (handle, get) = (handle.clone(), get.clone());
        set.spawn(async move { handle.send(&get).await });
    }
    sleep(STALLED).await;
    let waiting = meter::heap() - before;
    set.join_all().await;
    waiting
}
