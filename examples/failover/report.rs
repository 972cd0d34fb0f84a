//! The end of the demo: what is still there, and the table.

use std::{collections::BTreeSet, fmt::Write, time::Duration};

use redis_rw_pool::{Node, Role};
use testkit::{Reply, Server};

use crate::tally::{Counts, Phase, Tally, value};

/// Keys asked for at once.
const BATCH: usize = 500;

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
    let mut text = format!("{:<37}", "");
    for phase in Phase::ALL {
        let _ = write!(text, "{phase:>17}");
    }
    let _ = writeln!(text, "{:>10}", "total");
    let of = |pick: &dyn Fn(&Counts) -> u64| Phase::ALL.map(|phase| pick(tally.of(phase)));
    let acknowledged = Phase::ALL.map(|phase| tally.acknowledged_in(phase));
    let sum = |row: Row| row.iter().sum();
    let max = |row: Row| row.into_iter().max().unwrap_or(0);
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(0);

    let mut row = |name: &str, row: Row, total: u64| {
        let _ = write!(text, "{name:<37}");
        for cell in row {
            let _ = write!(text, "{cell:>17}");
        }
        let _ = writeln!(text, "{total:>10}");
    };
    let mut summed = |name: &str, cells| row(name, cells, sum(cells));
    summed("acknowledged writes", acknowledged);
    summed("  missing on the master afterwards", *missing);
    summed("failed writes", of(&|counts| counts.failed_writes));
    summed("successful reads", of(&|counts| counts.reads));
    for (role, node) in nodes(tally) {
        let by = (role, node);
        let cells = of(&|counts| counts.reads_by_node.get(&by).copied().unwrap_or(0));
        summed(&format!("  by {} as {}", by.1, by.0), cells);
    }
    summed("failed reads", of(&|counts| counts.failed_reads));
    summed(
        "replies to the wrong caller",
        of(&|counts| counts.wrong_values),
    );
    for (name, cells) in [
        (
            "longest write stall, ms",
            of(&|counts| millis(counts.write_stall)),
        ),
        (
            "longest read stall, ms",
            of(&|counts| millis(counts.read_stall)),
        ),
    ] {
        row(name, cells, max(cells));
    }
    text.push('\n');
    explain(&mut text, &acknowledged, missing);
    complain(&mut text, tally);
    text
}

/// Everybody who served a read, in either role.
fn nodes(tally: &Tally) -> BTreeSet<(Role, Node)> {
    Phase::ALL
        .iter()
        .flat_map(|phase| tally.of(*phase).reads_by_node.keys().cloned())
        .collect()
}

/// What the numbers mean, where they are not what one would wish.
fn explain(text: &mut String, acknowledged: &Row, missing: &Row) {
    let planned = Phase::Planned as usize;
    let kill = Phase::Kill as usize;
    let _ = writeln!(
        text,
        "Planned: {} of {} acknowledged writes are gone. The longest stall is the time from the first sign of\n\
         the failover, when the fence goes up, until the Sentinels announce the new master.",
        missing[planned], acknowledged[planned],
    );
    let _ = writeln!(
        text,
        "kill -9: {} of {} are gone. Redis replicates asynchronously: what the master has acknowledged and\n\
         not yet sent to a replica dies with it.",
        missing[kill], acknowledged[kill],
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
