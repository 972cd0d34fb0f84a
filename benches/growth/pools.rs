//! From 1 to 1 000 pools in one process, on one deployment.
//!
//! A thousand processes with a pool each look the same to the Sentinels.

use std::{thread, time::Duration};

use redis_rw_pool::Pool;
use testkit::{Client, Deployment};
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

use crate::{
    figure::{bytes, number},
    meter,
    observer::Observer,
    row::{self, Measured, Row, Sample},
    table::Table,
};

pub(crate) const NAME: &str = "pools";

const POOLS: [usize; 4] = [1, 10, 100, 1000];
/// Six that stay with three Sentinels, three dials at a look, and one to spare.
const DESCRIPTORS_A_POOL: u64 = 10;
/// Pools that connect at once; a service does not start a thousand in one moment either.
const TOGETHER: usize = 50;

/// Of the servers alone.
const BEFORE: Duration = Duration::from_secs(2);
/// One interval for the start to be over, two to be measured; the interval is the default.
const SETTLE: Duration = Duration::from_secs(5);
const CALM: Duration = Duration::from_secs(10);
/// A replica is silent for longer than the Sentinels bear, and comes back.
const SILENCE: Duration = Duration::from_secs(2);
/// The silence, and the polls that follow what it made the pools do.
const STIR: Duration = Duration::from_secs(9);
const STIRRED: Duration = Duration::from_secs(4);
const SLICE: Duration = Duration::from_millis(100);

const QUESTIONS: [&str; 1] = ["sentinel"];

pub(crate) fn tables() -> Vec<Table> {
    let deployment = Deployment::builder().start();
    let limit = meter::raise_descriptor_limit();
    let fits = |n: &usize| *n as u64 * DESCRIPTORS_A_POOL + 200 <= limit;
    let rows: Vec<Row> = POOLS
        .into_iter()
        .filter(fits)
        .map(|n| Row::new(NAME, "-", n, &deployment))
        .collect();
    let measured = row::medians(&rows, 1);
    let mut tables = vec![client(&measured), sentinel(&measured), stir(&measured)];
    if rows.len() < POOLS.len() {
        tables[0].note(format!(
            "No more pools than that: a process may have {limit} descriptors here."
        ));
    }
    tables
}

/// What the pools cost the process they are in.
fn client(rows: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "pools",
        "connect all, s",
        "heap a pool",
        "resident a pool",
        "descriptors a pool",
        "tasks a pool",
        "idle CPU, ms/s",
        "a pool, µs/s",
    ]);
    for row in rows {
        table.row([
            number(row.n),
            number(row.get("connect")),
            bytes(row.each("heap")),
            bytes(row.each("resident")),
            number(row.each("descriptors")),
            number(row.each("tasks")),
            number(row.get("cpu") * 1e3),
            number(row.each("cpu") * 1e6),
        ]);
    }
    table
}

/// What they cost one of three Sentinels, and a node, while nothing happens.
fn sentinel(rows: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "pools",
        "questions/s",
        "a pool",
        "most in 0.1 s, against the mean",
        "PING/s",
        "connections",
        "subscribed",
        "a pool",
        "Sentinel CPU, ms/s",
        "a pool, µs/s",
        "dials/s to the master",
        "a pool",
        "master CPU, ms/s",
    ]);
    for row in rows {
        table.row([
            number(row.n),
            number(row.get("questions")),
            number(row.each("questions")),
            format!("{}x", number(row.get("burst"))),
            number(row.get("pings")),
            number(row.get("clients")),
            number(row.get("subscribed")),
            number(row.each("subscribed")),
            number(row.get("sentinel cpu") * 1e3),
            number(row.each("sentinel cpu") * 1e6),
            number(row.get("dials")),
            number(row.each("dials")),
            number(row.get("master cpu") * 1e3),
        ]);
    }
    table
}

/// What they cost a Sentinel when something happens that all of them are told.
fn stir(rows: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "pools",
        "questions",
        "a pool",
        "most in 0.1 s",
        "a pool",
        "Sentinel CPU, ms",
        "a pool, µs",
        "then, most in 0.1 s against the mean of calm",
    ]);
    for row in rows {
        table.row([
            number(row.n),
            number(row.get("stir questions")),
            number(row.each("stir questions")),
            number(row.get("stir most")),
            number(row.each("stir most")),
            number(row.get("stir cpu") * 1e3),
            number(row.each("stir cpu") * 1e6),
            format!("{}x", number(row.get("wave"))),
        ]);
    }
    table
}

pub(crate) fn measure(runtime: &Runtime, row: &Row) -> Sample {
    let seen = Seen::new(row);
    let base = seen.over(BEFORE);
    let before = Own::now(runtime);
    let began = Instant::now();
    let pools = runtime.block_on(connect(row));
    let connect = began.elapsed().as_secs_f64();
    thread::sleep(SETTLE);
    let cpu = meter::cpu();
    let calm = seen.over(CALM);
    let cpu = (meter::cpu() - cpu).as_secs_f64() / CALM.as_secs_f64();
    let own = Own::now(runtime);
    let (clients, subscribed) = seen.sentinel.clients();
    let stir = silence_a_replica(&pools[0], &seen);
    let mean = calm.slices.iter().sum::<f64>() / calm.slices.len() as f64;
    let late = (STIRRED.as_secs_f64() / SLICE.as_secs_f64()) as usize;
    let (first, then) = stir.slices.split_at(late.min(stir.slices.len()));
    vec![
        ("connect", connect),
        ("heap", own.heap - before.heap),
        ("resident", own.resident - before.resident),
        ("descriptors", own.descriptors - before.descriptors),
        ("tasks", own.tasks - before.tasks),
        ("cpu", cpu),
        ("questions", calm.questions / CALM.as_secs_f64()),
        ("burst", most(&calm.slices) / mean),
        ("pings", calm.rate(calm.pings) - base.rate(base.pings)),
        // Those of the other Sentinels are not the pools', nor is the one that counts.
        ("clients", clients - base.clients),
        ("subscribed", subscribed),
        ("sentinel cpu", calm.rate(calm.cpu) - base.rate(base.cpu)),
        ("dials", calm.rate(calm.dials) - base.rate(base.dials)),
        (
            "master cpu",
            calm.rate(calm.master_cpu) - base.rate(base.master_cpu),
        ),
        ("stir questions", first.iter().sum()),
        ("stir most", most(first)),
        (
            "stir cpu",
            stir.cpu - base.rate(base.cpu) * STIR.as_secs_f64(),
        ),
        ("wave", most(then) / mean),
    ]
}

async fn connect(row: &Row) -> Vec<Pool> {
    let mut pools = Vec::with_capacity(row.n);
    while pools.len() < row.n {
        let mut set = JoinSet::new();
        for _ in pools.len()..row.n.min(pools.len() + TOGETHER) {
            set.spawn(Pool::connect(row.config()));
        }
        for pool in set.join_all().await {
            pools.push(pool.expect("a healthy deployment"));
        }
    }
    pools
}

/// Every Sentinel says that it is down, and then that it is not.
fn silence_a_replica(pool: &Pool, seen: &Seen) -> Window {
    let topology = pool.topology();
    let replica = topology.readable().next().expect("there are two");
    let mut client = Client::connect(replica.port(), STIR).expect("it runs");
    let seconds = SILENCE.as_secs_f64().to_string();
    client.send(&["DEBUG", "SLEEP", &seconds]).expect("it runs");
    seen.over(STIR)
}

fn most(slices: &[f64]) -> f64 {
    slices.iter().copied().fold(0.0, f64::max)
}

/// What this process has.
struct Own {
    heap: f64,
    resident: f64,
    descriptors: f64,
    tasks: f64,
}

impl Own {
    fn now(runtime: &Runtime) -> Self {
        Self {
            heap: meter::heap(),
            resident: meter::resident(),
            descriptors: meter::descriptors(),
            tasks: runtime.metrics().num_alive_tasks() as f64,
        }
    }
}

/// The servers as seen from outside.
struct Seen {
    sentinel: Observer,
    master: Observer,
}

/// What they did in a time.
struct Window {
    seconds: f64,
    questions: f64,
    /// Questions by slices of that time.
    slices: Vec<f64>,
    pings: f64,
    clients: f64,
    cpu: f64,
    dials: f64,
    master_cpu: f64,
}

impl Window {
    fn rate(&self, count: f64) -> f64 {
        count / self.seconds
    }
}

impl Seen {
    fn new(row: &Row) -> Self {
        let sentinel = Observer::new(row.sentinel_ports()[0]);
        let master = sentinel.master_port(row.master_name());
        Self {
            sentinel,
            master: Observer::new(master),
        }
    }

    fn over(&self, time: Duration) -> Window {
        let questions = || self.sentinel.calls(&QUESTIONS);
        let counts = || {
            [
                self.sentinel.calls(&["ping"]),
                self.sentinel.cpu(),
                self.master.accepted(),
                self.master.cpu(),
            ]
        };
        let (clients, _) = self.sentinel.clients();
        let (began, before) = (Instant::now(), counts());
        let first = questions();
        let mut last = first;
        let mut slices = Vec::new();
        for slice in 1.. {
            let end = SLICE * slice;
            if end > time {
                break;
            }
            thread::sleep(end.saturating_sub(began.elapsed()));
            let now = questions();
            slices.push(now - last);
            last = now;
        }
        let after = counts();
        let [pings, cpu, dials, master_cpu] = std::array::from_fn(|i| after[i] - before[i]);
        Window {
            seconds: began.elapsed().as_secs_f64(),
            questions: last - first,
            slices,
            pings,
            clients,
            cpu,
            dials,
            master_cpu,
        }
    }
}
