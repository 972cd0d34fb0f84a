//! The rounds, and the order inside them.

use anyhow::{Context, Result};
use serde::Serialize;

use crate::{
    candidate::{Candidate, Kind},
    cell::Cell,
    options::Options,
    sample::Sample,
    stage::Stage,
};

#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Record {
    pub(crate) round: usize,
    #[serde(flatten)]
    pub(crate) cell: Cell,
    pub(crate) candidate: &'static str,
    pub(crate) kind: Kind,
    #[serde(flatten)]
    pub(crate) sample: Sample,
}

/// Ends with the first failure: a candidate must not win by failing.
pub(crate) fn run(stage: &Stage, options: &Options) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    for round in 0..options.rounds {
        for (index, &cell) in options.cells.iter().enumerate() {
            eprintln!(
                "round {}/{}, cell {:>2}/{}: {cell}",
                round + 1,
                options.rounds,
                index + 1,
                options.cells.len()
            );
            for candidate in in_turn(&options.candidates, round) {
                if !candidate.takes(cell.workload) {
                    continue;
                }
                let sample = (candidate.measure)(stage, cell, options.timing)
                    .with_context(|| format!("{}, {cell}", candidate.name))?;
                records.push(Record {
                    round,
                    cell,
                    candidate: candidate.name,
                    kind: candidate.kind,
                    sample,
                });
            }
        }
    }
    Ok(records)
}

/// All of them, another one first each round.
fn in_turn(candidates: &[Candidate], round: usize) -> impl Iterator<Item = &Candidate> {
    let first = round % candidates.len().max(1);
    candidates[first..].iter().chain(&candidates[..first])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::candidates;

    #[test]
    fn every_round_has_everyone_once_and_another_one_first() {
        let mut firsts = Vec::new();
        for round in 0..candidates::ALL.len() {
            let mut names: Vec<_> = in_turn(&candidates::ALL, round).map(|c| c.name).collect();
            firsts.push(names[0]);
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), candidates::ALL.len());
        }
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), candidates::ALL.len());
    }
}
