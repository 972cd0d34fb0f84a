//! Many callers on sixteen connections: operations a second, and what one of them costs in CPU.
//!
//! criterion does not count CPU, so this keeps its own clock: rounds in which every pool has its
//! turn, and of those the medians.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    time::Duration,
};

use redis_rw_pool::{Pool, redis::AsyncCommands};
use testkit::Deployment;
use tokio::{
    runtime::Runtime,
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::pools::{BareRedis, DeadpoolRedis, Lend, Ours, Raw};

const ROUNDS: usize = 5;
const WARM_UP: Duration = Duration::from_millis(200);
const MEASURED: Duration = Duration::from_millis(1200);

const WARMING: u8 = 0;
const MEASURING: u8 = 1;
const OVER: u8 = 2;

trait Get: Clone + Send + Sync + 'static {
    fn get(&self) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Through<P>(P);

impl<P: Lend> Get for Through<P> {
    async fn get(&self) {
        let value: Vec<u8> = self.0.lend().await.get("small").await.unwrap();
        assert_eq!(value.len(), crate::SMALL);
    }
}

impl Get for Raw {
    async fn get(&self) {
        Self::get(self).await;
    }
}

#[derive(Clone, Copy)]
struct Sample {
    per_second: f64,
    /// Microseconds of CPU for one operation, where the system tells.
    cpu: Option<f64>,
}

pub(crate) fn run(runtime: &Runtime, deployment: &Deployment, pool: &Pool) {
    let replica = deployment.nodes()[1].port();
    let ours = Through(Ours::Read(pool.clone()));
    let shipped = Through(DeadpoolRedis::new(replica));
    let bare = Through(BareRedis::new(replica));
    let raw = Raw::new(replica);
    const NAMES: [&str; 4] = [
        "ours",
        "deadpool-redis",
        "deadpool of redis-rs, no PING",
        "deadpool of raw sockets",
    ];
    println!(
        "\nGET 64 B on {} connections, medians of {ROUNDS} rounds",
        crate::CONNECTIONS
    );
    for tasks in [16, 64] {
        let mut samples = [const { Vec::new() }; NAMES.len()];
        for _ in 0..ROUNDS {
            samples[0].push(measure(runtime, &ours, tasks));
            samples[1].push(measure(runtime, &shipped, tasks));
            samples[2].push(measure(runtime, &bare, tasks));
            samples[3].push(measure(runtime, &raw, tasks));
        }
        println!("\n{tasks:>4} tasks                          ops/s   CPU us/op   ours is");
        let medians = samples.map(median);
        for (name, sample) in NAMES.iter().zip(medians) {
            let cpu = sample
                .cpu
                .map_or_else(|| "-".to_owned(), |cpu| format!("{cpu:.2}"));
            let ratio = medians[0].per_second / sample.per_second;
            println!(
                "  {name:<30} {:>9.0} {cpu:>11} {ratio:>8.2}x",
                sample.per_second
            );
        }
    }
}

fn measure(runtime: &Runtime, client: &impl Get, tasks: usize) -> Sample {
    runtime.block_on(async {
        let mut set = JoinSet::new();
        let stage = Arc::new(AtomicU8::new(WARMING));
        for _ in 0..tasks {
            let (client, stage) = (client.clone(), Arc::clone(&stage));
            set.spawn(async move {
                let mut count = 0_u64;
                loop {
                    client.get().await;
                    match stage.load(Relaxed) {
                        WARMING => {}
                        MEASURING => count += 1,
                        _ => return count,
                    }
                }
            });
        }
        sleep(WARM_UP).await;
        let (clock, cpu) = (Instant::now(), cpu_nanos());
        stage.store(MEASURING, Relaxed);
        sleep(MEASURED).await;
        stage.store(OVER, Relaxed);
        let (elapsed, used) = (clock.elapsed(), cpu_nanos());
        let operations = set.join_all().await.into_iter().sum::<u64>() as f64;
        let used = used.zip(cpu).map(|(after, before)| after - before);
        Sample {
            per_second: operations / elapsed.as_secs_f64(),
            cpu: used.map(|nanos| nanos as f64 / 1e3 / operations),
        }
    })
}

/// By the throughput; the CPU is that of the same round.
fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.per_second.total_cmp(&b.per_second));
    samples[samples.len() / 2]
}

/// What the threads of this process have run. In nanoseconds, unlike `/proc/self/stat`; threads
/// that have ended are not in it, and none ends while this measures.
fn cpu_nanos() -> Option<u64> {
    let threads = fs::read_dir("/proc/self/task").ok()?;
    threads
        .map(|thread| {
            let schedstat = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            schedstat.split_whitespace().next()?.parse::<u64>().ok()
        })
        .sum()
}
