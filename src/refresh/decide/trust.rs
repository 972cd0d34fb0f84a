//! How far the word of one Sentinel has proved true.

use std::time::Duration;

use tokio::time::Instant;

/// A Sentinel gives up a failover after its `failover-timeout`, by default this. One that has been
/// stating a failover for longer, while the master stands to its role, is mistaken or lies.
pub(crate) const LONGEST_FAILOVER: Duration = Duration::from_secs(180);
/// How long it takes to make up for a false sign.
pub(crate) const FORGIVENESS: Duration = Duration::from_secs(20);
/// So many false signs without having made up for them, and its events are hints to look again: what
/// counts then is what it answers.
pub(crate) const MOST_FALSE_SIGNS: u32 = 3;
/// Time stated in vain is made up for at this part of its pace.
const SLOWER: u32 = 10;

#[derive(Debug)]
pub(crate) struct Trust {
    /// When all its false signs are made up for.
    trusted_again_at: Instant,
    /// For how long it has been stating that the master is being replaced, less what it made up for.
    stated: Duration,
    states: bool,
    at: Instant,
}

impl Trust {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            trusted_again_at: now,
            stated: Duration::ZERO,
            states: false,
            at: now,
        }
    }

    /// It gave a sign that its own answer did not bear out.
    pub(crate) fn record_false_alarm(&mut self, now: Instant) {
        self.trusted_again_at = self.trusted_again_at.max(now) + FORGIVENESS;
    }

    pub(crate) fn is_mistrusted(&self, now: Instant) -> bool {
        self.trusted_again_at.saturating_duration_since(now) > FORGIVENESS * (MOST_FALSE_SIGNS - 1)
    }

    /// It states now, or does not, that the master is being replaced.
    pub(crate) fn states(&mut self, states: bool, now: Instant) {
        let passed = now - self.at;
        self.stated = if self.states {
            (self.stated + passed).min(LONGEST_FAILOVER)
        } else {
            self.stated.saturating_sub(passed / SLOWER)
        };
        (self.states, self.at) = (states, now);
    }

    /// The master was replaced, as it said.
    pub(crate) fn clear(&mut self) {
        self.stated = Duration::ZERO;
    }

    pub(crate) fn is_discredited(&self) -> bool {
        self.stated >= LONGEST_FAILOVER
    }
}
