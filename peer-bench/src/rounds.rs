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
                let sample = match known(&records, round, cell, candidate) {
                    Some(sample) => sample,
                    None => (candidate.measure)(stage, cell, options.timing)
                        .with_context(|| format!("{}, {cell}", candidate.name))?,
                };
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

/// Who has no workers is measured once for all numbers of them, and stands in every table.
fn known(records: &[Record], round: usize, cell: Cell, candidate: &Candidate) -> Option<Sample> {
    let same = |record: &&Record| {
        let workers = record.cell.workers;
        record.round == round
            && record.candidate == candidate.name
            && record.cell == Cell { workers, ..cell }
    };
    if candidate.has_workers {
        return None;
    }
    Some(records.iter().find(same)?.sample)
}

/// All of them, another one first each round.
fn in_turn(candidates: &[Candidate], round: usize) -> impl Iterator<Item = &Candidate> {
    let first = round % candidates.len().max(1);
    candidates[first..].iter().chain(&candidates[..first])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{candidates, cell::Workload, workers::Workers};

    fn named(name: &str) -> Candidate {
        let mut all = candidates::ALL.into_iter();
        all.find(|one| one.name == name).unwrap()
    }

    #[test]
    fn who_has_no_workers_is_measured_once_for_all_of_them() {
        let cell = Cell {
            workload: Workload::Get,
            tasks: 64,
            workers: Workers::Tokio,
        };
        let record = |candidate| Record {
            round: 1,
            cell,
            candidate,
            kind: Kind::Shared,
            sample: Sample {
                ops_per_second: 7.0,
                cpu_per_op: 1.0,
                p50: 1.0,
                p99: 2.0,
                p999: None,
                max: 3.0,
            },
        };
        let records = ["fred", "redis-benchmark"].map(record);
        let (fred, program) = (named("fred"), named("redis-benchmark"));
        let workers = Workers::ONE;
        let one = Cell { workers, ..cell };
        let sample = known(&records, 1, one, &program);
        assert_eq!(sample, Some(records[1].sample));
        assert_eq!(known(&records, 1, one, &fred), None);
        assert_eq!(known(&records, 0, one, &program), None);
        let other = Cell { tasks: 16, ..one };
        assert_eq!(known(&records, 1, other, &program), None);
    }

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
