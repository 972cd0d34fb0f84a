//! How calls failed.

use std::{
    fmt,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::error::outcome::Outcome;

/// In the order in which [`Failures`] counts them.
const OUTCOMES: [Outcome; 3] = [Outcome::NotExecuted, Outcome::Unknown, Outcome::Executed];

fn place(outcome: Outcome) -> usize {
    match outcome {
        Outcome::NotExecuted => 0,
        Outcome::Unknown => 1,
        Outcome::Executed => 2,
    }
}

/// How many calls failed, by what is known of the command: as [`outcome`](crate::outcome()) says of the
/// error that the caller got.
///
/// A call is one command, or one pipeline. A plain pipeline counts once as `executed` if any of its
/// commands had an error reply. A call that was dropped before its end is not counted.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Failures(pub(crate) [u64; OUTCOMES.len()]);

impl Failures {
    /// How many failed with this outcome.
    pub fn get(&self, outcome: Outcome) -> u64 {
        self.0[place(outcome)]
    }

    /// How many failed with any outcome.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every outcome with its count, also those that are zero.
    pub fn iter(&self) -> impl Iterator<Item = (Outcome, u64)> {
        OUTCOMES.into_iter().zip(self.0)
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().filter(|(_, count)| *count > 0))
            .finish()
    }
}

/// A map with every outcome, also those that are zero.
#[cfg(feature = "serde")]
impl serde::Serialize for Failures {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(
            self.iter()
                .map(|(outcome, count)| (outcome.as_str(), count)),
        )
    }
}

/// What went wrong with commands: the same for exclusive and for shared connections. Nothing here is
/// written for a command that goes well.
#[derive(Debug, Default)]
pub(crate) struct CommandStats {
    failures: [AtomicU64; OUTCOMES.len()],
    resent: AtomicU64,
    refused: AtomicU64,
}

impl CommandStats {
    /// A caller got an error.
    pub(crate) fn failed(&self, outcome: Outcome) {
        self.failures[place(outcome)].fetch_add(1, Relaxed);
    }

    /// A command is sent once more.
    pub(crate) fn resent(&self) {
        self.resent.fetch_add(1, Relaxed);
    }

    /// A command was refused before it was sent.
    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Relaxed);
    }

    pub(crate) fn failures(&self) -> Failures {
        Failures(std::array::from_fn(|i| self.failures[i].load(Relaxed)))
    }

    pub(crate) fn resent_count(&self) -> u64 {
        self.resent.load(Relaxed)
    }

    pub(crate) fn refused_count(&self) -> u64 {
        self.refused.load(Relaxed)
    }
}
