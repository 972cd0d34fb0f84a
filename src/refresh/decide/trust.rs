//! How far the events and flags of one Sentinel can be trusted. Pure.

use std::time::Duration;

use tokio::time::Instant;

/// A Sentinel gives up a failover after its `failover-timeout`, by default this. One that reports a
/// failover for longer, while the master confirms its role, is mistaken or lies.
pub(crate) const LONGEST_FAILOVER: Duration = Duration::from_secs(180);
/// How long it takes until one false sign is forgiven.
pub(crate) const FORGIVENESS: Duration = Duration::from_secs(20);
/// After this many false signs that are not yet forgiven, a Sentinel's events only trigger a refresh.
/// They no longer raise the fence; its answers still do.
pub(crate) const MOST_FALSE_SIGNS: u32 = 3;
/// Time spent reporting a failover that never happened is forgiven at 1/10 of real time.
const SLOWER: u32 = 10;

/// What one Sentinel did so far.
#[derive(Debug)]
pub(crate) struct Trust {
    /// When all its false signs are forgiven.
    trusted_again_at: Instant,
    /// For how long it has reported that the master is being replaced, less what was forgiven.
    reported: Duration,
    /// Whether it reported that when it was last heard, and when that was.
    reports: bool,
    heard_at: Instant,
}

impl Trust {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            trusted_again_at: now,
            reported: Duration::ZERO,
            reports: false,
            heard_at: now,
        }
    }

    /// It gave a sign that its own answer did not confirm.
    pub(crate) fn record_false_alarm(&mut self, now: Instant) {
        self.trusted_again_at = self.trusted_again_at.max(now) + FORGIVENESS;
    }

    /// Whether its events no longer raise the fence by themselves.
    pub(crate) fn is_mistrusted(&self, now: Instant) -> bool {
        self.trusted_again_at.saturating_duration_since(now) > FORGIVENESS * (MOST_FALSE_SIGNS - 1)
    }

    /// Records whether it reports now that the master is being replaced.
    pub(crate) fn record_report(&mut self, reports: bool, now: Instant) {
        let passed = now - self.heard_at;
        self.reported = if self.reports {
            (self.reported + passed).min(LONGEST_FAILOVER)
        } else {
            self.reported.saturating_sub(passed / SLOWER)
        };
        (self.reports, self.heard_at) = (reports, now);
    }

    /// The master was replaced, as it reported.
    pub(crate) fn clear(&mut self) {
        self.reported = Duration::ZERO;
    }

    /// Whether it has reported a failover that never happened for so long that its reports no
    /// longer count.
    pub(crate) fn is_discredited(&self) -> bool {
        self.reported >= LONGEST_FAILOVER
    }
}
