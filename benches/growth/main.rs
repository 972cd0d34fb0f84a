//! How cost grows: with callers, connections, replicas, the size of a reply, and pools.
//!
//! Every row is measured by a process of its own, this program started again with the row as its
//! arguments, so that no row inherits what an earlier one left in memory. Rows are interleaved over
//! several rounds and their medians printed as Markdown tables, in which a column *a ...* that
//! stays level from row to row means that the cost is linear. With `--write-docs` the tables of
//! `docs/growth.md` are replaced, and the words around them stay. Names of subjects
//! (`callers`, `connections`, `replicas`, `replies`, `pools`) measure only those.
//!
//! Every allocation is counted, for which an operation pays one or two tenths of a microsecond:
//! these are numbers to compare with each other, not with those of another program.

mod callers;
mod connections;
mod docs;
mod figure;
mod handle;
mod load;
mod meter;
mod observer;
mod pools;
mod replicas;
mod replies;
mod row;
mod table;

use std::env;

use testkit::machine::Machine;
use tokio::{runtime::Runtime, time::Instant};

use crate::{
    row::{Row, Sample},
    table::Table,
};

/// What may grow, and what measures the tables that show it.
type Subject = (&'static str, fn() -> Vec<Table>);

const SUBJECTS: [Subject; 5] = [
    (callers::NAME, callers::tables),
    (connections::NAME, connections::tables),
    (replicas::NAME, replicas::tables),
    (replies::NAME, replies::tables),
    (pools::NAME, pools::tables),
];

fn main() {
    let descriptors = meter::raise_descriptor_limit();
    match Row::asked_for() {
        Some(row) => row::report(&measure(row)),
        None => print_tables(descriptors),
    }
}

/// What a process does that was started for one row.
fn measure(row: Row) -> Sample {
    let runtime = runtime();
    match row.subject.as_str() {
        callers::NAME => on_a_worker(&runtime, callers::measure(row)),
        connections::NAME => on_a_worker(&runtime, connections::measure(row)),
        replicas::NAME => on_a_worker(&runtime, replicas::measure(row)),
        replies::NAME => on_a_worker(&runtime, replies::measure(row)),
        pools::NAME => pools::measure(&runtime, &row),
        other => panic!("there is no subject `{other}`"),
    }
}

/// As a handler would run: the thread of `block_on` is not one of the workers.
fn on_a_worker(
    runtime: &Runtime,
    measurement: impl Future<Output = Sample> + Send + 'static,
) -> Sample {
    let measured = runtime.block_on(runtime.spawn(measurement));
    measured.expect("the measurement does not panic")
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime can be built")
}

/// Where the numbers come from, in one line.
fn where_measured(descriptors: u64) -> String {
    let Machine {
        cpu,
        cores,
        system,
        rustc,
        server,
    } = Machine::look();
    format!(
        "{cores} cores of {cpu}, servers on the same machine; {system}, {server}, {rustc}; at most \
         {descriptors} descriptors a process."
    )
}

fn print_tables(descriptors: u64) {
    // `--bench` comes from cargo.
    let (options, names): (Vec<String>, Vec<String>) = env::args()
        .skip(1)
        .filter(|argument| argument != "--bench")
        .partition(|argument| argument.starts_with("--"));
    let write_docs = options.iter().any(|option| option == "--write-docs");
    let known = |name: &String| SUBJECTS.iter().any(|(subject, _)| subject == name);
    assert!(
        names.iter().all(known) && options.iter().all(|option| option == "--write-docs"),
        "expected --write-docs and names of subjects, got {options:?} {names:?}"
    );
    let machine = where_measured(descriptors);
    println!("{machine}\n");
    let mut parts = vec![("machine", machine)];
    for (name, tables) in SUBJECTS {
        if names.is_empty() || names.iter().any(|wanted| wanted == name) {
            let began = Instant::now();
            let tables: Vec<String> = tables().iter().map(Table::to_string).collect();
            let seconds = began.elapsed().as_secs_f64();
            let text = tables.join("\n");
            println!("## {name} (measured in {seconds:.0} s)\n\n{text}");
            parts.push((name, text));
        }
    }
    if write_docs {
        docs::write(&parts);
    }
}
