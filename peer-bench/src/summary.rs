//! What the rounds come to: medians, and ratios that were taken inside a round.

use testkit::Spread;

use crate::{
    candidate::Kind,
    candidates,
    cell::{Cell, Workload},
    rounds::Record,
    sample::Sample,
    workers::Workers,
};

#[derive(Debug)]
pub(crate) struct Summary {
    /// Candidates in the order of the first round, kind by kind.
    pub(crate) cells: Vec<(Cell, Vec<Row>)>,
}

#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) candidate: &'static str,
    pub(crate) kind: Kind,
    /// Each number is the median of its own.
    pub(crate) medians: Sample,
    /// Ours divided by this one; `None` where ours did not run.
    pub(crate) ours: Option<Ratios>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Ratios {
    pub(crate) ops: Spread,
    pub(crate) cpu: Spread,
}

impl Summary {
    pub(crate) fn of(records: &[Record]) -> Self {
        let mut cells: Vec<Cell> = Vec::new();
        for record in records {
            if !cells.contains(&record.cell) {
                cells.push(record.cell);
            }
        }
        let rows_of = |cell| {
            let records: Vec<_> = records
                .iter()
                .filter(|record| record.cell == cell)
                .collect();
            rows(&records)
        };
        Self {
            cells: cells
                .into_iter()
                .map(|cell| (cell, rows_of(cell)))
                .collect(),
        }
    }

    /// The cells of one table.
    pub(crate) fn table(
        &self,
        workload: Workload,
        workers: Workers,
    ) -> impl Iterator<Item = &(Cell, Vec<Row>)> {
        let those = move |cell: &Cell| (cell.workload, cell.workers) == (workload, workers);
        self.cells.iter().filter(move |(cell, _)| those(cell))
    }

    /// By which this workload was measured, in the order in which they were.
    pub(crate) fn workers(&self, workload: Workload) -> Vec<Workers> {
        let mut all = Vec::new();
        for (cell, _) in &self.cells {
            if cell.workload == workload && !all.contains(&cell.workers) {
                all.push(cell.workers);
            }
        }
        all
    }
}

/// Of one cell.
fn rows(records: &[&Record]) -> Vec<Row> {
    let first_round = records
        .iter()
        .filter(|record| record.round == records[0].round);
    let mut rows: Vec<_> = first_round
        .map(|first| {
            let of = |name| {
                let those = records
                    .iter()
                    .filter(move |record| record.candidate == name);
                those.map(|record| (record.round, record.sample))
            };
            let own: Vec<_> = of(first.candidate).collect();
            let ours: Vec<_> = of(candidates::ours(first.kind)).collect();
            Row {
                candidate: first.candidate,
                kind: first.kind,
                medians: medians(&own),
                ours: ratios(&ours, &own),
            }
        })
        .collect();
    rows.sort_by_key(|row| row.kind);
    rows
}

fn medians(samples: &[(usize, Sample)]) -> Sample {
    let median = |number: fn(&Sample) -> f64| {
        Spread::of(samples.iter().map(|(_, sample)| number(sample)))
            .map_or(f64::NAN, |spread| spread.median)
    };
    Sample {
        ops_per_second: median(|sample| sample.ops_per_second),
        cpu_per_op: median(|sample| sample.cpu_per_op),
        p50: median(|sample| sample.p50),
        p99: median(|sample| sample.p99),
        p999: Spread::of(samples.iter().filter_map(|(_, sample)| sample.p999))
            .map(|spread| spread.median),
        max: median(|sample| sample.max),
    }
}

fn ratios(ours: &[(usize, Sample)], theirs: &[(usize, Sample)]) -> Option<Ratios> {
    let spread = |number: fn(&Sample) -> f64| {
        Spread::of(theirs.iter().filter_map(|(round, theirs)| {
            let (_, ours) = ours.iter().find(|(other, _)| other == round)?;
            Some(number(ours) / number(theirs))
        }))
    };
    Some(Ratios {
        ops: spread(|sample| sample.ops_per_second)?,
        cpu: spread(|sample| sample.cpu_per_op)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(round: usize, candidate: &'static str, ops_per_second: f64) -> Record {
        Record {
            round,
            cell: Cell {
                workload: Workload::Get,
                tasks: 1,
                workers: Workers::Tokio,
            },
            candidate,
            kind: Kind::Exclusive,
            sample: Sample {
                ops_per_second,
                cpu_per_op: 1e6 / ops_per_second,
                p50: 1.0,
                p99: 2.0,
                p999: None,
                max: 3.0,
            },
        }
    }

    #[test]
    fn ratios_are_taken_inside_a_round() {
        let ours = candidates::ours(Kind::Exclusive);
        // The machine is ten times as fast in the second round, for both.
        let records = [
            record(0, ours, 200.0),
            record(0, "peer", 100.0),
            record(1, "peer", 1000.0),
            record(1, ours, 3000.0),
            record(2, ours, 400.0),
            record(2, "peer", 100.0),
        ];
        let summary = Summary::of(&records);
        let (_, rows) = &summary.cells[0];
        let peer = rows.iter().find(|row| row.candidate == "peer").unwrap();
        let ratios = peer.ours.unwrap();
        assert_eq!(peer.medians.ops_per_second, 100.0);
        assert_eq!(
            (ratios.ops.min, ratios.ops.median, ratios.ops.max),
            (2.0, 3.0, 4.0)
        );
        assert!((ratios.cpu.median - 1.0 / 3.0).abs() < 1e-9);
        assert_eq!(rows[0].ours.unwrap().ops.median, 1.0);
    }

    #[test]
    fn each_number_of_workers_has_a_table_and_ratios_of_its_own() {
        let ours = candidates::ours(Kind::Exclusive);
        let on_one = |mut record: Record| {
            record.cell.workers = Workers::ONE;
            record
        };
        let summary = Summary::of(&[
            record(0, ours, 300.0),
            record(0, "peer", 100.0),
            on_one(record(0, ours, 200.0)),
            on_one(record(0, "peer", 100.0)),
        ]);
        let all = summary.workers(Workload::Get);
        assert_eq!(all, [Workers::Tokio, Workers::ONE]);
        assert_eq!(summary.workers(Workload::Set), []);
        let ratios = all.into_iter().map(|workers| {
            let cells: Vec<_> = summary.table(Workload::Get, workers).collect();
            assert_eq!(cells.len(), 1);
            cells[0].1[1].ours.unwrap().ops.median
        });
        assert_eq!(ratios.collect::<Vec<_>>(), [3.0, 2.0]);
    }

    #[test]
    fn without_ours_there_is_no_ratio() {
        let summary = Summary::of(&[record(0, "peer", 100.0)]);
        assert_eq!(summary.cells[0].1[0].ours, None);
    }
}
