//! The page of this machine, `docs/benchmarks/<processor>.md`, and its charts. Pages of other
//! processors stay as they are.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};

use crate::{
    cell::Workload, chart, handles::Cost, machine::Machine, options::Options, report,
    sample::Sample, summary::Summary, workers::Workers,
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
    let name = file_name(&machine.cpu, options.tls);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/benchmarks");
    let charts = folder.join(&name);
    fs::create_dir_all(&charts).with_context(|| format!("cannot make {}", charts.display()))?;
    for &workers in &workers {
        for chart in &CHARTS {
            let title = format!("{}{}", chart.title, workers.suffix());
            let path = charts.join(chart.file(workers));
            chart::draw(&path, &title, summary, workers, chart.number)?;
        }
    }
    let page = folder.join(format!("{name}.md"));
    fs::write(&page, text(&name, summary, handles, machine, options))
        .with_context(|| format!("cannot write {}", page.display()))?;
    eprintln!("wrote {} and its charts", page.display());
    Ok(())
}

/// `Intel(R) Xeon(R) CPU @ 2.20GHz` is `intel-r-xeon-r-cpu-2-20ghz`, and over TLS
/// `intel-r-xeon-r-cpu-2-20ghz-tls`.
fn file_name(processor: &str, tls: bool) -> String {
    let lower = processor.to_ascii_lowercase();
    lower
        .split(|char: char| !char.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .chain(tls.then_some("tls"))
        .collect::<Vec<_>>()
        .join("-")
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
fn links(folder: &str, workers: &[Workers]) -> String {
    let mut links = Vec::new();
    for &workers in workers {
        for chart in &CHARTS {
            let file = chart.file(workers);
            links.push(format!(
                "![{}{}]({folder}/{file})",
                chart.title,
                workers.suffix()
            ));
        }
    }
    links.join("\n\n")
}

fn text(
    folder: &str,
    summary: &Summary,
    handles: &[Cost],
    machine: &Machine,
    options: &Options,
) -> String {
    format!(
        "\
# Benchmarks{over} on {cpu}

Written by the command below; [the page before](../benchmarks.md) says how it measures.

```text
{command}
```

{links}

## Numbers

{report}",
        over = if options.tls { " over TLS" } else { "" },
        cpu = machine.cpu,
        command = command(options),
        links = links(folder, &summary.workers(Workload::Get)),
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
    fn a_processor_has_a_page_named_after_it() {
        assert_eq!(file_name("AMD EPYC", false), "amd-epyc");
        assert_eq!(file_name("AMD EPYC", true), "amd-epyc-tls");
        assert_eq!(
            file_name("Intel(R) Xeon(R) CPU @ 2.20GHz", false),
            "intel-r-xeon-r-cpu-2-20ghz"
        );
    }

    #[test]
    fn each_number_of_workers_has_charts_of_its_own() {
        let links = links("amd-epyc", &[Workers::Tokio, Workers::ONE]);
        let files: Vec<_> = links
            .split("(amd-epyc/")
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
