//! How far the data of a node goes, and whether a read has seen a certain write. Pure.
//!
//! A node says in `INFO replication` how far its data goes: its *position*. The master's position after
//! a write, as a *token*, is what a read must have seen. Offsets compare only within one history, so every
//! failover begins another *timeline*. Which timeline came from which, and what was left behind, is in
//! [`timelines`]; [`verdict`] has the rules.

pub(crate) mod hint;
pub(crate) mod report;
pub(crate) mod samples;
pub(crate) mod timeline;
pub(crate) mod timelines;
pub(crate) mod token;
pub(crate) mod verdict;

#[cfg(test)]
mod model;
#[cfg(test)]
pub(crate) mod testing;

use crate::position::timeline::Timeline;

/// How far a history of data goes: its timeline, and the bytes of replication stream up to there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) timeline: Timeline,
    /// At most [`MAX_OFFSET`].
    pub(crate) offset: u64,
}

/// Servers count in 64 bits with a sign.
pub(crate) const MAX_OFFSET: u64 = i64::MAX.unsigned_abs();

/// So far a master does not get in an hour: its stream would need 300 GB a second. A token as far ahead of
/// where the master was within the last hour is forged.
pub(crate) const OUT_OF_REACH: u64 = 1 << 50;

impl Position {
    /// Whether it is on the same timeline, and ahead by more than this.
    pub(crate) fn is_ahead_by(self, other: Self, distance: u64) -> bool {
        self.timeline == other.timeline && self.offset.saturating_sub(other.offset) > distance
    }
}

/// A decimal number as programs write it: no sign, no leading zero, nothing around it.
fn decimal(digits: &[u8], max: u64) -> Option<u64> {
    let canonical = match digits {
        [b'0'] => true,
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
        [] => false,
    };
    let digits = std::str::from_utf8(digits).ok().filter(|_| canonical)?;
    digits.parse().ok().filter(|number| *number <= max)
}

#[cfg(test)]
mod tests;
