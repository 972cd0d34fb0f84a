//! Time in ticks, so that no call pays for a clock reading of its own.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Ticks {
    /// A call that has waited this long is overdue.
    timeout: Option<Duration>,
    now: u32,
    /// When the past ticks ended, from the tick `overdue` on.
    ends: VecDeque<Instant>,
    /// A call that came before this tick is overdue. Whether a call came early or late in its own
    /// tick is not known, so it counts as having come when that tick ended.
    overdue: u32,
    /// Nothing is known of the time before this tick.
    forgotten: u32,
}

impl Ticks {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            now: 0,
            ends: VecDeque::new(),
            overdue: 0,
            forgotten: 0,
        }
    }

    /// The current tick.
    #[inline]
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    pub(crate) fn advance(&mut self, now: Instant) {
        self.now = self.now.wrapping_add(1);
        let Some(timeout) = self.timeout else {
            return;
        };
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|end| now - *end >= timeout) {
            self.ends.pop_front();
            self.overdue = self.overdue.wrapping_add(1);
        }
    }

    /// Whether a call that came in the tick `since` has waited too long.
    pub(crate) fn is_overdue(&self, since: u32) -> bool {
        self.now.wrapping_sub(since) > self.now.wrapping_sub(self.overdue)
    }

    /// Forgets past ticks, because no call is left that came in one of them.
    pub(crate) fn forget(&mut self) {
        self.ends = VecDeque::new();
        self.overdue = self.now;
        self.forgotten = self.now;
    }

    /// This tick, or the earliest that is not forgotten. A pipeline comes from before if its caller has
    /// let all others finish before it handed in the next portion. It gets more time then, never less.
    #[inline]
    pub(crate) fn known(&self, since: u32) -> u32 {
        if self.now.wrapping_sub(since) > self.now.wrapping_sub(self.forgotten) {
            return self.forgotten;
        }
        since
    }
}
