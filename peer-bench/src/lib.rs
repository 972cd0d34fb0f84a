//! Measures redis-rw-pool and its peers side by side, in one run on one server.
//!
//! Two programs: `peer-bench` for what commands cost, `failover-bench` for what callers notice of a
//! failover. Of the former:
//!
//! A round measures every candidate once in every cell, a cell being a workload, a number of tasks
//! and a number of worker threads; the candidates take turns inside the cell, in an order that moves
//! on with each round. What drifts on the machine meets all of them, and a ratio is one of two
//! neighbours in time. What a handle costs by itself is measured before all of it.
#![forbid(unsafe_code)]

mod candidate;
mod candidates;
mod cell;
mod chart;
mod clock;
mod data;
mod docs;
mod driver;
mod encryption;
mod failover;
mod handles;
mod machine;
mod options;
mod raw_results;
mod redis_commands;
mod redis_rs;
mod report;
mod rounds;
mod sample;
mod stage;
mod summary;
mod workers;

use std::process::ExitCode;

use anyhow::Result;

use crate::{machine::Machine, options::Options, stage::Stage, summary::Summary};

/// The program `peer-bench`: operations a second, CPU and latency of every candidate.
#[must_use]
pub fn throughput() -> ExitCode {
    match options::parse(std::env::args_os().skip(1)) {
        Ok(None) => {
            print!("{}", options::HELP);
            ExitCode::SUCCESS
        }
        Ok(Some(options)) => exit_code("peer-bench", run(&options)),
        Err(error) => exit_code("peer-bench", Err(error)),
    }
}

/// The program `failover-bench`: what is lost, what fails and what stalls while the master goes.
#[must_use]
pub fn failover() -> ExitCode {
    exit_code("failover-bench", failover::run())
}

fn exit_code(program: &str, result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{program}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let stage = Stage::start(options.tls);
    let machine = Machine::look();
    let handles = if options.tls {
        Vec::new()
    } else {
        handles::measure(&stage)?
    };
    let records = rounds::run(&stage, options)?;
    drop(stage);
    let summary = Summary::of(&records);
    println!(
        "{}",
        report::markdown(&summary, &handles, &machine, options)
    );
    if let Some(path) = &options.json {
        raw_results::write(path, &machine, options, &handles, &records)?;
    }
    if options.write_docs {
        docs::write(&summary, &handles, &machine, options)?;
    }
    Ok(())
}
