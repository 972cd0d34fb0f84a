//! The tables, in Markdown.

use std::fmt::{self, Write};

use testkit::Spread;

use crate::{
    candidate::Kind,
    cell::{Cell, Workload},
    handles::{self, Cost},
    machine::Machine,
    options::Options,
    summary::{Row, Summary},
    workers::Workers,
};

pub(crate) fn markdown(
    summary: &Summary,
    handles: &[Cost],
    machine: &Machine,
    options: &Options,
) -> String {
    let mut text = String::new();
    write_all(&mut text, summary, handles, machine, options)
        .expect("writing to a String cannot fail");
    text
}

fn write_all(
    out: &mut String,
    summary: &Summary,
    handles: &[Cost],
    machine: &Machine,
    options: &Options,
) -> fmt::Result {
    write_circumstances(out, machine, options)?;
    if options.tls {
        out.push_str(TLS);
    }
    for kind in [Kind::Exclusive, Kind::Shared] {
        for workload in Workload::ALL {
            for workers in summary.workers(workload) {
                write_table(out, summary, kind, workload, workers)?;
            }
        }
    }
    if handles.is_empty() {
        return Ok(());
    }
    handles::write_table(out, handles)
}

const TLS: &str = "\
- over TLS 1.3, with rustls and its provider `ring` in every candidate, which verifies the server's
  certificate; those whose names end in `-plain` are ours without TLS, on the same server
";

fn write_circumstances(out: &mut String, machine: &Machine, options: &Options) -> fmt::Result {
    let crates = machine.crates.iter();
    let crates: Vec<_> = crates
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    writeln!(
        out,
        "\
- {date}, {cpu}, {cores} cores, {system}
- {rustc}, {server} on the same machine
- {crates}
- rounds: {rounds}, of {window:?} each after a warm-up of {warm_up:?}; all numbers are medians
- {workers}, unless a heading names another",
        date = machine.date,
        cpu = machine.cpu,
        cores = machine.cores,
        system = machine.system,
        rustc = machine.rustc,
        server = machine.server,
        crates = crates.join(", "),
        rounds = options.rounds,
        window = options.timing.window,
        warm_up = options.timing.warm_up,
        workers = Workers::Tokio,
    )
}

fn write_table(
    out: &mut String,
    summary: &Summary,
    kind: Kind,
    workload: Workload,
    workers: Workers,
) -> fmt::Result {
    let rows: Vec<_> = summary
        .table(workload, workers)
        .flat_map(|(cell, rows)| rows.iter().map(move |row| (cell, row)))
        .filter(|(_, row)| row.kind == kind)
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    writeln!(out, "\n### {workload}, {kind}{}\n", workers.suffix())?;
    out.push_str(
        "| tasks | candidate | ops/s | CPU µs/op | p50 µs | p99 µs | p99.9 µs | max µs | ops/s, ours by it | CPU, ours by it |\n\
         |--:|---|--:|--:|--:|--:|--:|--:|---|---|\n",
    );
    for (cell, row) in rows {
        write_row(out, *cell, row)?;
    }
    Ok(())
}

fn write_row(out: &mut String, cell: Cell, row: &Row) -> fmt::Result {
    let sample = row.medians;
    let ratio = |spread: Option<Spread>| spread.map_or_else(|| "-".to_owned(), times);
    writeln!(
        out,
        "| {tasks} | {name} | {ops} | {cpu} | {p50} | {p99} | {p999} | {max} | {by_ops} | {by_cpu} |",
        tasks = cell.tasks,
        name = row.candidate,
        ops = grouped(sample.ops_per_second),
        cpu = three_digits(sample.cpu_per_op),
        p50 = three_digits(sample.p50),
        p99 = three_digits(sample.p99),
        p999 = sample.p999.map_or_else(|| "-".to_owned(), three_digits),
        max = three_digits(sample.max),
        by_ops = ratio(row.ours.map(|ours| ours.ops)),
        by_cpu = ratio(row.ours.map(|ours| ours.cpu)),
    )
}

fn times(spread: Spread) -> String {
    let Spread { min, median, max } = spread;
    format!("{median:.2}x ({min:.2} to {max:.2})")
}

fn three_digits(number: f64) -> String {
    match number {
        ..10.0 => format!("{number:.2}"),
        10.0..100.0 => format!("{number:.1}"),
        _ => grouped(number),
    }
}

/// In thousands.
fn grouped(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{sample::Sample, summary::Ratios};

    #[test]
    fn numbers_are_as_exact_as_they_are_worth() {
        for (number, text) in [
            (0.0, "0.00"),
            (1.234, "1.23"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.0, "1 234"),
            (999_999.6, "1 000 000"),
        ] {
            assert_eq!(three_digits(number), text);
        }
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let cell = Cell {
            workload: Workload::Get,
            tasks: 64,
            workers: Workers::Tokio,
        };
        let spread = Spread {
            min: 1.5,
            median: 2.0,
            max: 2.25,
        };
        let row = Row {
            candidate: "fred",
            kind: Kind::Shared,
            medians: Sample {
                ops_per_second: 275_123.4,
                cpu_per_op: 3.814,
                p50: 210.0,
                p99: 412.5,
                p999: None,
                max: 12_345.0,
            },
            ours: Some(Ratios {
                ops: spread,
                cpu: spread,
            }),
        };
        let mut text = String::new();
        write_row(&mut text, cell, &row).unwrap();
        assert_eq!(
            text,
            "| 64 | fred | 275 123 | 3.81 | 210 | 412 | - | 12 345 | \
             2.00x (1.50 to 2.25) | 2.00x (1.50 to 2.25) |\n"
        );
    }
}
