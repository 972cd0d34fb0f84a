//! `docs/benchmarks.md` and its charts.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    cell::Workload, chart, data::ITEM_LEN, machine::Machine, options::Options, report,
    summary::Summary,
};

const THROUGHPUT: &str = "get-throughput.svg";
const CPU: &str = "get-cpu.svg";

pub(crate) fn write(summary: &Summary, machine: &Machine, options: &Options) -> Result<()> {
    let gets = summary
        .cells
        .iter()
        .any(|(cell, _)| cell.workload == Workload::Get);
    ensure!(
        gets,
        "the charts of --write-docs show GET, which was not measured"
    );
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let charts = docs.join("benchmarks");
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    let operations = "GET 64 B: operations a second";
    chart::draw(&charts.join(THROUGHPUT), operations, summary, |sample| {
        sample.ops_per_second
    })?;
    let cpu = "GET 64 B: CPU of the client, µs an operation";
    chart::draw(&charts.join(CPU), cpu, summary, |sample| sample.cpu_per_op)?;
    let page = docs.join("benchmarks.md");
    fs::write(&page, text(summary, machine, options))
        .with_context(|| format!("cannot write {}", page.display()))?;
    eprintln!("wrote {} and its charts", page.display());
    Ok(())
}

fn text(summary: &Summary, machine: &Machine, options: &Options) -> String {
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

Each candidate has the fastest configuration that its documentation describes; the files in
`peer-bench/src/candidates/` say which and why. `ours-multiplexed` keeps one handle for each task;
`ours-handle-per-op` makes one for each operation and `ours-clone-per-op` clones one, as web handlers
do. Some candidates are no clients to choose but what the others are held against: `raw-socket-pool`
exchanges bytes of known length through a bare deadpool, `raw-socket-loop` does it on a socket of its
own for each task, however many there are, and `redis-benchmark` is the C program with one connection
and as many commands in flight as there are tasks.

![GET 64 B, operations a second](benchmarks/{THROUGHPUT})

![GET 64 B, CPU for one operation](benchmarks/{CPU})

## Numbers

{report}",
        command = command(options),
        report = report::markdown(summary, machine, options),
    )
}

fn command(options: &Options) -> String {
    format!("make peer-bench ARGS='{}'", options.arguments.join(" "))
}
