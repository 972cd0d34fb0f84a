//! `redis-benchmark` with one connection and as many commands in flight as there are tasks: the
//! practical limit for a shared connection. It does not look at the values and has no callers to
//! wake.

use std::{collections::HashMap, process::Command};

use anyhow::{Context, Result, bail, ensure};

use crate::{
    candidate::{Candidate, Kind, Transport},
    cell::{Cell, Workload},
    clock::cpu_of_children,
    driver::Timing,
    sample::Sample,
    stage::Stage,
};

pub(super) const CANDIDATE: Candidate = Candidate {
    name: "redis-benchmark",
    kind: Kind::Shared,
    only: Some(&[Workload::Get]),
    transport: Transport::Plain,
    has_workers: false,
    measure,
};

/// Under a tenth of a second even one at a time, and enough to guess the pace from.
const FEWEST: f64 = 2000.0;

/// It takes a number of requests instead of a time, so shorter runs say how many to ask for.
fn measure(stage: &Stage, cell: Cell, timing: Timing) -> Result<Sample> {
    let run_for = |requests| run(stage, cell.tasks, in_full_batches(requests, cell.tasks));
    let pace = run_for(FEWEST)?.ops_per_second;
    let pace = run_for(pace * timing.warm_up.as_secs_f64())?.ops_per_second;
    run_for(pace * timing.window.as_secs_f64())
}

/// Where the last batch is not full, it counts to the end of it, finds that this is not what it was
/// asked for, and now and then, when a timer fires just then, says that all clients disconnected.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a number of requests in a second or so"
)]
fn in_full_batches(requests: f64, in_flight: usize) -> usize {
    (requests.max(FEWEST) as usize).next_multiple_of(in_flight)
}

fn run(stage: &Stage, in_flight: usize, requests: usize) -> Result<Sample> {
    let master = stage.master();
    let key = &stage.data.keys[0];
    let cpu_before = cpu_of_children()?;
    let output = Command::new(testkit::program().companion("benchmark"))
        .args([
            "-h",
            &master.ip().to_string(),
            "-p",
            &master.port().to_string(),
        ])
        .args(["-c", "1", "-P", &in_flight.to_string()])
        .args(["-n", &requests.to_string(), "--csv", "GET", key])
        .output()
        .context("redis-benchmark cannot be run")?;
    let cpu = cpu_of_children()? - cpu_before;
    ensure!(
        output.status.success(),
        "redis-benchmark failed: {output:?}"
    );
    let text = String::from_utf8_lossy(&output.stdout);
    let Some(columns) = parse(&text) else {
        bail!("redis-benchmark said {text:?}");
    };
    Ok(Sample {
        cpu_per_op: cpu.as_secs_f64() * 1e6 / requests as f64,
        ..columns
    })
}

/// Two lines: names of columns, values. Times are in milliseconds.
fn parse(csv: &str) -> Option<Sample> {
    let mut lines = csv.lines().filter(|line| line.starts_with('"'));
    let names = lines.next()?.split(',').map(unquoted);
    let values = lines.next()?.split(',').map(unquoted);
    let columns: HashMap<_, _> = names.zip(values).collect();
    let column = |name: &str| columns.get(name)?.parse::<f64>().ok();
    Some(Sample {
        ops_per_second: column("rps")?,
        cpu_per_op: 0.0,
        p50: column("p50_latency_ms")? * 1e3,
        p99: column("p99_latency_ms")? * 1e3,
        p999: None,
        max: column("max_latency_ms")? * 1e3,
    })
}

fn unquoted(field: &str) -> &str {
    field.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_batch_is_full() {
        assert_eq!(in_full_batches(100_000.0, 1024), 98 * 1024);
        assert_eq!(in_full_batches(0.0, 256), 8 * 256);
        assert_eq!(in_full_batches(12_345.6, 1), 12_345);
    }

    #[test]
    fn reads_what_redis_benchmark_prints() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\",\"min_latency_ms\",\"p50_latency_ms\",\"p95_latency_ms\",\"p99_latency_ms\",\"max_latency_ms\"\n\
                   \"GET key:00\",\"100000.00\",\"0.1\",\"0.05\",\"0.2\",\"0.3\",\"0.4\",\"0.5\"\n";
        let sample = parse(csv).unwrap();
        let times = (sample.p50, sample.p99, sample.p999, sample.max);
        assert_eq!(sample.ops_per_second, 100_000.0);
        assert_eq!(times, (200.0, 400.0, None, 500.0));
        assert_eq!(parse("WARNING: no server\n"), None);
    }
}
