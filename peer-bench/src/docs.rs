//! `docs/benchmarks.md` and its charts.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    cell::Workload, chart, data::ITEM_LEN, handles::Cost, machine::Machine, options::Options,
    report, sample::Sample, summary::Summary, workers::Workers,
};

pub(crate) fn write(
    summary: &Summary,
    handles: &[Cost],
    machine: &Machine,
    options: &Options,
) -> Result<()> {
    let workers = summary.workers(Workload::Get);
    ensure!(
        !workers.is_empty(),
        "the charts of --write-docs show GET, which was not measured"
    );
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    for &workers in &workers {
        for chart in &CHARTS {
            let title = format!("{}{}", chart.title, workers.suffix());
            let path = charts.join(chart.file(workers));
            chart::draw(&path, &title, summary, workers, chart.number)?;
        }
    }
    let page = docs.join("benchmarks.md");
    fs::write(&page, text(summary, handles, machine, options))
        .with_context(|| format!("cannot write {}", page.display()))?;
    eprintln!("wrote {} and its charts", page.display());
    Ok(())
}

struct Chart {
    stem: &'static str,
    title: &'static str,
    number: fn(&Sample) -> f64,
}

const CHARTS: [Chart; 2] = [
    Chart {
        stem: "get-throughput",
        title: "GET 64 B: operations a second",
        number: |sample| sample.ops_per_second,
    },
    Chart {
        stem: "get-cpu",
        title: "GET 64 B: CPU of the client, µs an operation",
        number: |sample| sample.cpu_per_op,
    },
];

impl Chart {
    fn file(&self, workers: Workers) -> String {
        match workers {
            Workers::Tokio => format!("{}.svg", self.stem),
            Workers::Exactly(number) => format!("{}-workers-{number}.svg", self.stem),
        }
    }
}

/// Where the page shows the charts.
fn links(workers: &[Workers]) -> String {
    let mut links = Vec::new();
    for &workers in workers {
        for chart in &CHARTS {
            let file = chart.file(workers);
            links.push(format!(
                "![{}{}](benchmarks/{file})",
                chart.title,
                workers.suffix()
            ));
        }
    }
    links.join("\n\n")
}

fn text(summary: &Summary, handles: &[Cost], machine: &Machine, options: &Options) -> String {
    format!(
        "\
# Benchmarks

```text
{command}
```

measures everything again, on servers that it starts itself, and writes this page. Without
`--write-docs` it prints the tables; `ARGS=--help` lists the rest.

Each task waits for its reply before it asks again. Every reply is checked, and a failure ends the
run. In each round every candidate has its turn in every cell, in an order that moves on with the
round; ratios are taken inside a round, with the least and the greatest in brackets. Exclusive
candidates stand beside `ours-exclusive`, shared ones beside `ours-multiplexed`. CPU is user and
system time of the process, latencies are those of a task, waiting for a connection included. An
operation is one reply, one array or one whole pipeline; list items have {ITEM_LEN} bytes.

GET is measured with one worker thread too: what more of them add, and what it costs that threads
meet. `redis-benchmark` has no workers; the same numbers of it stand in both tables.

Each candidate has the fastest configuration that its documentation describes; the files in
`peer-bench/src/candidates/` say which and why. `ours-multiplexed` keeps one handle for each task;
`ours-handle-per-op` makes one for each operation and `ours-clone-per-op` clones one, as web handlers
do. Some candidates are no clients to choose but what the others are held against: `raw-socket-pool`
exchanges bytes of known length through a bare deadpool, `raw-socket-loop` does it on a socket of its
own for each task, however many there are, and `redis-benchmark` is the C program with one connection
and as many commands in flight as there are tasks.

{links}

## Numbers

{report}",
        command = command(options),
        links = links(&summary.workers(Workload::Get)),
        report = report::markdown(summary, handles, machine, options),
    )
}

fn command(options: &Options) -> String {
    format!("make peer-bench ARGS='{}'", options.arguments.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_number_of_workers_has_charts_of_its_own() {
        let links = links(&[Workers::Tokio, Workers::ONE]);
        let files: Vec<_> = links
            .split("(benchmarks/")
            .filter_map(|part| Some(part.split_once(')')?.0))
            .filter(|file| file.ends_with(".svg"))
            .collect();
        assert_eq!(
            files,
            [
                "get-throughput.svg",
                "get-cpu.svg",
                "get-throughput-workers-1.svg",
                "get-cpu-workers-1.svg",
            ]
        );
    }
}
