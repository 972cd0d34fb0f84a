//! What the writers and readers count.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use redis_rw_pool::{Node, Role};
use tokio::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Quiet,
    Planned,
    Kill,
}

impl Phase {
    pub(crate) const ALL: [Self; 3] = [Self::Quiet, Self::Planned, Self::Kill];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Quiet => "before",
            Self::Planned => "planned failover",
            Self::Kill => "kill -9",
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Call {
    Write,
    Read,
    Publish,
    /// A user's write, or one of its reads.
    Own,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Publish => "publish",
            Self::Own => "call of a user",
        })
    }
}

/// One acknowledged write: its key is `key:<writer>:<number>`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledged {
    pub(crate) writer: usize,
    pub(crate) number: u64,
    pub(crate) phase: Phase,
}

impl Acknowledged {
    pub(crate) fn key(&self) -> String {
        key(self.writer, self.number)
    }
}

pub(crate) fn key(writer: usize, number: u64) -> String {
    format!("key:{writer}:{number}")
}

/// A value that tells which key it belongs to, so that a reply to somebody else is recognised.
pub(crate) fn value(key: &str) -> String {
    format!("the value of {key}")
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) reads: u64,
    pub(crate) failed: BTreeMap<Call, u64>,
    /// Values that belong to another key than the one asked for.
    pub(crate) wrong_values: u64,
    /// The longest that one writer, or one reader, had to go without a success.
    pub(crate) write_stall: Duration,
    pub(crate) read_stall: Duration,
    pub(crate) reads_by_node: BTreeMap<(Role, Node), u64>,
    /// The longest that the subscriber went without a message.
    pub(crate) silence: Duration,
    /// Reads of what the same user had written just before, without a session.
    pub(crate) plain_reads: u64,
    /// Those that did not find it.
    pub(crate) stale_by_node: BTreeMap<(Role, Node), u64>,
    /// The same with a session.
    pub(crate) fresh_reads: u64,
    pub(crate) fresh_and_stale: u64,
    /// The write was lost, and the session said so.
    pub(crate) lost_and_told: u64,
    /// Replies that the pool did not let through, because the replica was behind.
    pub(crate) thrown_away: u64,
    /// Fresh reads that went to the master, because no replica had caught up in time.
    pub(crate) from_master: u64,
}

impl Counts {
    pub(crate) fn failed(&self, call: Call) -> u64 {
        self.failed.get(&call).copied().unwrap_or(0)
    }
}

/// A message that was published between these two.
#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) phase: Phase,
    pub(crate) began: Instant,
    pub(crate) acknowledged: Instant,
}

/// What was published between these two may be missing: the subscriber was told.
#[derive(Debug)]
pub(crate) struct Gap {
    pub(crate) phase: Phase,
    pub(crate) from: Instant,
    pub(crate) until: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [Counts; Phase::ALL.len()],
    pub(crate) acknowledged: Vec<Acknowledged>,
    /// Messages by their number.
    pub(crate) published: BTreeMap<u64, Published>,
    pub(crate) received: BTreeSet<u64>,
    pub(crate) gaps: Vec<Gap>,
    /// What failed calls said, with how many said it.
    pub(crate) complaints: BTreeMap<(String, String), u64>,
}

impl Tally {
    pub(crate) fn of(&self, phase: Phase) -> &Counts {
        &self.counts[phase as usize]
    }

    pub(crate) fn of_mut(&mut self, phase: Phase) -> &mut Counts {
        &mut self.counts[phase as usize]
    }

    pub(crate) fn acknowledged_in(&self, phase: Phase) -> u64 {
        let writes = self.acknowledged.iter();
        writes.filter(|write| write.phase == phase).count() as u64
    }

    pub(crate) fn published_in(&self, phase: Phase) -> u64 {
        let published = self.published.values();
        published.filter(|message| message.phase == phase).count() as u64
    }

    pub(crate) fn gaps_in(&self, phase: Phase) -> u64 {
        self.gaps.iter().filter(|gap| gap.phase == phase).count() as u64
    }

    /// Messages of this phase that did not come: those that a gap covers, or the others.
    pub(crate) fn missed_in(&self, phase: Phase, in_gap: bool) -> u64 {
        let covers = |message: &Published| {
            let mut gaps = self.gaps.iter();
            gaps.any(|gap| gap.from <= message.acknowledged && message.began <= gap.until)
        };
        let missed = self.published.iter().filter(|(number, message)| {
            message.phase == phase && !self.received.contains(number) && covers(message) == in_gap
        });
        missed.count() as u64
    }
}
