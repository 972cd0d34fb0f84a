//! From 1 to 1 000 pools in one process, on one deployment.
//!
//! A thousand processes with a pool each look the same to the Sentinels.

use std::{thread, time::Duration};

use redis_rw_pool::Pool;
use testkit::Deployment;
use tokio::{runtime::Runtime, task::JoinSet, time::Instant};

use crate::{
    figure::{bytes, count, number},
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
/// A replica is silent for longer than the Sentinels wait, and comes back.
const SILENCE: Duration = Duration::from_secs(2);
/// The silence, and the polls that follow what it made the pools do.
const STIR: Duration = Duration::from_secs(9);
const SLICE: Duration = Duration::from_millis(100);
/// So many slices are the silence and what it makes the pools do.
const STIRRED: usize = 40;

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
    if rows.len() < POOLS.len() {
        let most = rows.last().map_or(0, |row| row.n);
        eprintln!("no more pools than {most}: a process may have {limit} descriptors");
    }
    vec![client(&measured), sentinel(&measured), stir(&measured)]
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
            count(row.n),
            number(row.get("connect")),
            bytes(row.each("heap")),
            bytes(row.each("resident")),
            count(row.each("descriptors")),
            count(row.each("tasks")),
            number(row.get("cpu") * 1e3),
            number(row.each("cpu") * 1e6),
        ]);
    }
    table.note(
        "In one process, each with three Sentinels to talk to and no connection lent. The first \
         pool's memory and CPU include what the process has only once.",
    );
    table
}

/// What they cost one of three Sentinels, and a replica, while nothing happens.
fn sentinel(rows: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "pools",
        "commands/s",
        "a pool",
        "most in 0.1 s",
        "connections",
        "subscribed",
        "a pool",
        "Sentinel CPU, ms/s",
        "a pool, µs/s",
        "dials/s to a replica",
        "a pool",
        "replica CPU, ms/s",
    ]);
    for row in rows {
        table.row([
            count(row.n),
            number(row.get("commands")),
            number(row.each("commands")),
            count(row.get("most")),
            count(row.get("clients")),
            count(row.get("subscribed")),
            count(row.each("subscribed")),
            told(row, row.get("sentinel cpu") * 1e3),
            told(row, row.each("sentinel cpu") * 1e6),
            number(row.get("dials")),
            number(row.each("dials")),
            told(row, row.get("replica cpu") * 1e3),
        ]);
    }
    table.note(
        "One Sentinel of three, and one replica of two, while nothing happens; `refresh_interval` is \
         the default. What the servers do among themselves is taken off.",
    );
    table
}

/// What they cost a Sentinel when something happens that all of them are told.
fn stir(rows: &[Measured]) -> Table {
    let mut table = Table::new(&[
        "pools",
        "commands",
        "a pool",
        "most in 0.1 s",
        "a pool",
        "Sentinel CPU, ms",
        "a pool, µs",
        "then, most in 0.1 s",
    ]);
    for row in rows {
        table.row([
            count(row.n),
            count(row.get("stir commands")),
            number(row.each("stir commands")),
            count(row.get("stir most")),
            number(row.each("stir most")),
            told(row, row.get("stir cpu") * 1e3),
            told(row, row.each("stir cpu") * 1e6),
            count(row.get("wave")),
        ]);
    }
    table.note(
        "The same Sentinel when a replica is silent for two seconds: the first four seconds, and the \
         polls after that, which are still near each other.",
    );
    table
}

/// The CPU of a server, where the pools' part in it stands out from what it does anyway.
fn told(row: &Measured, cpu: f64) -> String {
    if row.n < 100.0 {
        return "-".to_owned();
    }
    number(cpu)
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
    let calm = seen.over(CALM).beyond(&base);
    let cpu = (meter::cpu() - cpu).as_secs_f64() / CALM.as_secs_f64();
    let own = Own::now(runtime);
    let (clients, subscribed) = seen.sentinel.clients();
    let stir = silence_a_replica(&seen).beyond(&base);
    let (first, then) = stir.slices.split_at(STIRRED.min(stir.slices.len()));
    drop(pools);
    vec![
        ("connect", connect),
        ("heap", own.heap - before.heap),
        ("resident", own.resident - before.resident),
        ("descriptors", own.descriptors - before.descriptors),
        ("tasks", own.tasks - before.tasks),
        ("cpu", cpu),
        ("commands", calm.commands() / calm.seconds),
        ("most", most(&calm.slices)),
        // Those of the other Sentinels are not the pools', nor is the one that counts.
        ("clients", clients - base.clients),
        ("subscribed", subscribed),
        ("sentinel cpu", calm.sentinel_cpu / calm.seconds),
        ("dials", calm.dials / calm.seconds),
        ("replica cpu", calm.replica_cpu / calm.seconds),
        ("stir commands", first.iter().sum()),
        ("stir most", most(first)),
        ("stir cpu", stir.sentinel_cpu),
        ("wave", most(then)),
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
fn silence_a_replica(seen: &Seen) -> Window {
    let seconds = SILENCE.as_secs_f64().to_string();
    seen.silenced.send(&["DEBUG", "SLEEP", &seconds]);
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
    replica: Observer,
    /// Another replica: one that sleeps cannot be observed.
    silenced: Observer,
}

/// What they did in a time.
struct Window {
    seconds: f64,
    /// Commands to the Sentinel by slices of that time.
    slices: Vec<f64>,
    clients: f64,
    sentinel_cpu: f64,
    dials: f64,
    replica_cpu: f64,
}

impl Window {
    fn commands(&self) -> f64 {
        self.slices.iter().sum()
    }

    /// Without what happens anyway.
    fn beyond(mut self, base: &Self) -> Self {
        let times = self.seconds / base.seconds;
        let each = base.commands() / base.slices.len() as f64;
        for slice in &mut self.slices {
            *slice -= each;
        }
        self.sentinel_cpu -= base.sentinel_cpu * times;
        self.dials -= base.dials * times;
        self.replica_cpu -= base.replica_cpu * times;
        self
    }
}

impl Seen {
    fn new(row: &Row) -> Self {
        let sentinel = Observer::new(row.sentinel_ports()[0]);
        let replicas = sentinel.replica_ports(row.master_name());
        Self {
            sentinel,
            replica: Observer::new(replicas[0]),
            silenced: Observer::new(replicas[1]),
        }
    }

    fn over(&self, time: Duration) -> Window {
        let counts = || {
            [
                self.sentinel.cpu(),
                self.replica.accepted(),
                self.replica.cpu(),
            ]
        };
        let (clients, _) = self.sentinel.clients();
        let (began, before) = (Instant::now(), counts());
        let mut last = self.sentinel.commands();
        let mut slices = Vec::new();
        while began.elapsed() < time {
            let end = SLICE * u32::try_from(slices.len() + 1).expect("few");
            thread::sleep(end.saturating_sub(began.elapsed()));
            let now = self.sentinel.commands();
            slices.push(now - last);
            last = now;
        }
        let after = counts();
        let [sentinel_cpu, dials, replica_cpu] = std::array::from_fn(|i| after[i] - before[i]);
        Window {
            seconds: began.elapsed().as_secs_f64(),
            slices,
            clients,
            sentinel_cpu,
            dials,
            replica_cpu,
        }
    }
}
