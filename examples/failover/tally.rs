//! What the writers and readers count.

use std::{collections::BTreeMap, fmt, time::Duration};

use redis_rw_pool::{Node, Role};

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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Write,
    Read,
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
    pub(crate) failed_writes: u64,
    pub(crate) failed_reads: u64,
    /// Values that belong to another key than the one asked for.
    pub(crate) wrong_values: u64,
    /// The longest that one writer, or one reader, had to go without a success.
    pub(crate) write_stall: Duration,
    pub(crate) read_stall: Duration,
    pub(crate) reads_by_node: BTreeMap<(Role, Node), u64>,
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    counts: [Counts; Phase::ALL.len()],
    pub(crate) acknowledged: Vec<Acknowledged>,
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
}
