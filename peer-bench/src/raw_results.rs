//! The file with every sample.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{handles::Cost, machine::Machine, options::Options, rounds::Record};

#[derive(Serialize)]
struct Results<'a> {
    machine: &'a Machine,
    arguments: &'a [String],
    rounds: usize,
    warm_up_seconds: f64,
    window_seconds: f64,
    handles: &'a [Cost],
    /// Times are in microseconds. What has no workers was measured once for all numbers of them,
    /// and is here for each.
    samples: &'a [Record],
}

pub(crate) fn write(
    path: &Path,
    machine: &Machine,
    options: &Options,
    handles: &[Cost],
    records: &[Record],
) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let results = Results {
        machine,
        arguments: &options.arguments,
        rounds: options.rounds,
        warm_up_seconds: options.timing.warm_up.as_secs_f64(),
        window_seconds: options.timing.window.as_secs_f64(),
        handles,
        samples: records,
    };
    let mut file = BufWriter::new(file);
    serde_json::to_writer(&mut file, &results)?;
    file.flush()?;
    Ok(())
}
