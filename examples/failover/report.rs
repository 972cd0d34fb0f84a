//! The end of the demo: what is still there, and the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    time::Duration,
};

use redis_rw_pool::{Node, Role};
use testkit::{Reply, Server};

use crate::tally::{Call, Counts, Phase, Tally, value};

/// Keys asked for at once.
const BATCH: usize = 500;
/// The width of the first column.
const NAME: usize = 38;

/// One number for each phase.
pub(crate) type Row = [u64; Phase::ALL.len()];

/// How many acknowledged writes of each phase this server does not have.
pub(crate) fn missing(master: &Server, tally: &Tally) -> Row {
    let mut missing = [0; Phase::ALL.len()];
    let mut client = master.connect().expect("the master answers");
    for batch in tally.acknowledged.chunks(BATCH) {
        let mut command = vec!["MGET".to_owned()];
        command.extend(batch.iter().map(|write| write.key()));
        let reply = client.call(&command).expect("the master answers");
        for (write, found) in batch.iter().zip(reply.array()) {
            if *found != Reply::Bulk(value(&write.key()).into_bytes()) {
                missing[write.phase as usize] += 1;
            }
        }
    }
    missing
}

pub(crate) fn table(tally: &Tally, missing: &Row) -> String {
    let mut table = Table::new(tally);
    table.writes_and_reads(missing);
    table.messages();
    table.own_writes();
    let mut text = table.text;
    text.push('\n');
    explain(&mut text, tally, missing);
    complain(&mut text, tally);
    text
}

struct Table<'a> {
    tally: &'a Tally,
    text: String,
}

impl<'a> Table<'a> {
    fn new(tally: &'a Tally) -> Self {
        let mut text = format!("{:<NAME$}", "");
        for phase in Phase::ALL {
            let _ = write!(text, "{phase:>17}");
        }
        let _ = writeln!(text, "{:>10}", "total");
        Self { tally, text }
    }

    fn writes_and_reads(&mut self, missing: &Row) {
        let tally = self.tally;
        self.summed("acknowledged writes", |phase| tally.acknowledged_in(phase));
        self.summed("  missing on the master afterwards", |phase| {
            missing[phase as usize]
        });
        self.counted("failed writes", |counts| counts.failed(Call::Write));
        self.longest("longest write stall, ms", |counts| counts.write_stall);
        self.counted("successful reads", |counts| counts.reads);
        self.by_node(|counts| &counts.reads_by_node);
        self.counted("failed reads", |counts| counts.failed(Call::Read));
        self.counted("replies to the wrong caller", |counts| counts.wrong_values);
        self.longest("longest read stall, ms", |counts| counts.read_stall);
    }

    fn messages(&mut self) {
        let tally = self.tally;
        self.text.push('\n');
        self.summed("published messages", |phase| tally.published_in(phase));
        self.summed("  not received, and told so by a gap", |phase| {
            tally.missed_in(phase, true)
        });
        self.summed("  not received, and not told", |phase| {
            tally.missed_in(phase, false)
        });
        self.counted("failed publishes", |counts| counts.failed(Call::Publish));
        self.summed("gaps", |phase| tally.gaps_in(phase));
        self.longest("longest silence, ms", |counts| counts.silence);
    }

    fn own_writes(&mut self) {
        self.text.push('\n');
        self.counted("plain reads of one's own write", |counts| {
            counts.plain_reads
        });
        self.counted("  stale", |counts| counts.stale_by_node.values().sum());
        self.by_node(|counts| &counts.stale_by_node);
        self.counted("fresh reads of one's own write", |counts| {
            counts.fresh_reads
        });
        self.counted("  stale", |counts| counts.fresh_and_stale);
        self.counted("  the write is lost, and told so", |counts| {
            counts.lost_and_told
        });
        self.counted("  stale replies thrown away", |counts| counts.thrown_away);
        self.counted("  sent to the master instead", |counts| counts.from_master);
        self.counted("failed calls of these users", |counts| {
            counts.failed(Call::Own)
        });
    }

    fn counted(&mut self, name: &str, number: impl Fn(&Counts) -> u64) {
        let tally = self.tally;
        self.summed(name, |phase| number(tally.of(phase)));
    }

    /// A row for each node that occurs.
    fn by_node(&mut self, numbers: impl Fn(&Counts) -> &BTreeMap<(Role, Node), u64>) {
        let tally = self.tally;
        let phases = Phase::ALL.iter();
        let nodes: BTreeSet<_> = phases
            .flat_map(|phase| numbers(tally.of(*phase)).keys())
            .collect();
        for by in nodes {
            let (role, node) = by;
            self.counted(&format!("    by {node} as {role}"), |counts| {
                numbers(counts).get(by).copied().unwrap_or(0)
            });
        }
    }

    fn summed(&mut self, name: &str, number: impl Fn(Phase) -> u64) {
        let row = Phase::ALL.map(number);
        self.row(name, row, row.iter().sum());
    }

    fn longest(&mut self, name: &str, time: impl Fn(&Counts) -> Duration) {
        let millis = |phase| u64::try_from(time(self.tally.of(phase)).as_millis()).unwrap_or(0);
        let row = Phase::ALL.map(millis);
        self.row(name, row, row.into_iter().max().unwrap_or(0));
    }

    fn row(&mut self, name: &str, row: Row, total: u64) {
        let _ = write!(self.text, "{name:<NAME$}");
        for cell in row {
            let _ = write!(self.text, "{cell:>17}");
        }
        let _ = writeln!(self.text, "{total:>10}");
    }
}

/// What the numbers mean, where they are not what one would wish.
fn explain(text: &mut String, tally: &Tally, missing: &Row) {
    let [planned, kill] = [Phase::Planned, Phase::Kill];
    let acknowledged = |phase| tally.acknowledged_in(phase);
    let _ = writeln!(
        text,
        "Planned: {} of {} acknowledged writes are gone. The longest stall is the time from the first sign of\n\
         the failover, when the fence goes up, until the Sentinels announce the new master.",
        missing[planned as usize],
        acknowledged(planned),
    );
    let _ = writeln!(
        text,
        "kill -9: {} of {} are gone. Redis replicates asynchronously: what the master has acknowledged and\n\
         not yet sent to a replica dies with it.",
        missing[kill as usize],
        acknowledged(kill),
    );
    let _ = writeln!(
        text,
        "Messages: Redis keeps none. The subscriber is told where some may be missing, and whoever reads anew\n\
         then misses nothing. It is silent while nothing is published: publishing waits behind the fence, too.",
    );
    let _ = writeln!(
        text,
        "One's own write: a replica is a moment behind. A fresh read is proven to have seen the write, on a\n\
         replica where that has caught up, and otherwise on the master.",
    );
}

fn complain(text: &mut String, tally: &Tally) {
    if tally.complaints.is_empty() {
        return;
    }
    text.push_str("\nThe failed calls said:\n");
    for ((call, error), count) in &tally.complaints {
        let _ = writeln!(text, "{count:6} x {call}: {error}");
    }
}
