//! What a handle costs that is made or cloned and dropped, with nothing sent.

use std::{
    fmt::{self, Write},
    hint::black_box,
    sync::Barrier,
    thread,
    time::Duration,
};

use anyhow::{Result, anyhow};
use redis::AsyncCommands;
use redis_rw_pool::{Multiplexed, Pool};
use serde::Serialize;
use testkit::Spread;
use tokio::runtime::Handle;

use crate::{candidates, clock::Instant, stage::Stage, workers::Workers};

const ROUNDS: usize = 9;
const WINDOW: Duration = Duration::from_millis(20);
/// The clock is looked at once in so many.
const BATCH: u32 = 1000;
const THREADS: [usize; 2] = [1, 2];

/// What one thread holds: its own clones, as each task of a backend has them.
#[derive(Clone)]
struct Held {
    pool: Pool,
    reader: Multiplexed,
}

struct Kind {
    name: &'static str,
    /// Inside, so that no call through a pointer is measured with each handle.
    batch: fn(&Held),
}

const KINDS: [Kind; 3] = [
    Kind {
        name: "pool.reader()",
        batch: |held| repeat(|| held.pool.reader()),
    },
    Kind {
        name: "Multiplexed::clone()",
        batch: |held| repeat(|| held.reader.clone()),
    },
    Kind {
        name: "Pool::clone()",
        batch: |held| repeat(|| held.pool.clone()),
    },
];

fn repeat<T>(make: impl Fn() -> T) {
    for _ in 0..BATCH {
        drop(black_box(make()));
    }
}

/// One kind, by one number of threads at once.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Cost {
    handle: &'static str,
    threads: usize,
    /// Of each round, as one thread sees it.
    nanos: Vec<f64>,
}

/// The kinds and the numbers of threads take turns, as the candidates do.
pub(crate) fn measure(stage: &Stage) -> Result<Vec<Cost>> {
    eprintln!("handles");
    let runtime = Workers::Tokio.runtime()?;
    let held = runtime.block_on(hold(stage))?;
    let cases: Vec<_> = KINDS
        .iter()
        .flat_map(|kind| THREADS.map(|threads| (kind, threads)))
        .collect();
    let none_yet = |&(kind, threads): &(&Kind, usize)| Cost {
        handle: kind.name,
        threads,
        nanos: Vec::with_capacity(ROUNDS),
    };
    let mut costs: Vec<_> = cases.iter().map(none_yet).collect();
    for _ in 0..ROUNDS {
        for (cost, &(kind, threads)) in costs.iter_mut().zip(&cases) {
            let nanos = nanos(kind.batch, threads, &held, runtime.handle())?;
            cost.nanos.push(nanos);
        }
    }
    // Its connections end in the runtime.
    drop(held);
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(costs)
}

/// The connection is there and has been used, as in a backend that runs.
async fn hold(stage: &Stage) -> Result<Held> {
    let pool = candidates::pool(stage).await?;
    let mut reader = pool.reader();
    let _: Vec<u8> = reader.get(&stage.data.keys[0]).await?;
    Ok(Held { pool, reader })
}

/// For one handle, in the mean of all threads.
fn nanos(batch: fn(&Held), threads: usize, held: &Held, runtime: &Handle) -> Result<f64> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let all: Vec<_> = (0..threads)
            .map(|_| {
                let start = &start;
                scope.spawn(move || {
                    let _inside = runtime.enter();
                    let held = held.clone();
                    start.wait();
                    // The first one warms up, and lets the other thread begin.
                    batch(&held);
                    pace(|| batch(&held))
                })
            })
            .collect();
        let mut sum = 0.0;
        for one in all {
            sum += one.join().map_err(|_| anyhow!("a thread panicked"))?;
        }
        Ok(sum / threads as f64)
    })
}

fn pace(batch: impl Fn()) -> f64 {
    let begun = Instant::now();
    let mut batches = 0.0;
    loop {
        batch();
        batches += 1.0;
        let elapsed = begun.elapsed();
        if elapsed >= WINDOW {
            return elapsed.as_secs_f64() * 1e9 / (batches * f64::from(BATCH));
        }
    }
}

/// A row for each kind, a column for each number of threads.
pub(crate) fn write_table(out: &mut String, costs: &[Cost]) -> fmt::Result {
    writeln!(
        out,
        "\n\
### Handles

Made or cloned and dropped, with nothing sent: ns, as one thread sees it, the median of {ROUNDS} rounds
of {WINDOW:?} with the least and the greatest in brackets.

| handle | 1 thread | 2 threads at once |
|---|--:|--:|"
    )?;
    for kind in &KINDS {
        write!(out, "| `{}` |", kind.name)?;
        for threads in THREADS {
            let cost = costs
                .iter()
                .find(|cost| (cost.handle, cost.threads) == (kind.name, threads));
            let spread = cost.and_then(|cost| Spread::of(cost.nanos.iter().copied()));
            match spread {
                Some(Spread { min, median, max }) => {
                    write!(out, " {median:.0} ({min:.0} to {max:.0}) |")?;
                }
                None => out.push_str(" - |"),
            }
        }
        out.push('\n');
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_a_median_for_each_number_of_threads() {
        let cost = |handle, threads, nanos: &[f64]| Cost {
            handle,
            threads,
            nanos: nanos.to_vec(),
        };
        let costs = [
            cost("pool.reader()", 1, &[184.4, 180.0, 190.0]),
            cost("pool.reader()", 2, &[1030.0, 900.0, 1200.0]),
            cost("Pool::clone()", 1, &[19.0]),
        ];
        let mut text = String::new();
        write_table(&mut text, &costs).unwrap();
        let rows: Vec<_> = text
            .lines()
            .skip_while(|line| *line != "|---|--:|--:|")
            .collect();
        assert_eq!(
            rows[1..],
            [
                "| `pool.reader()` | 184 (180 to 190) | 1030 (900 to 1200) |",
                "| `Multiplexed::clone()` | - | - |",
                "| `Pool::clone()` | 19 (19 to 19) | - |",
            ]
        );
    }
}
