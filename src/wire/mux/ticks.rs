//! Time in ticks: no call at the queue pays for a clock reading of its own.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Ticks {
    /// What has waited so long is overdue.
    timeout: Option<Duration>,
    now: u32,
    /// When the ticks before this one ended, from `overdue` on.
    ends: VecDeque<Instant>,
    /// What came before this tick is overdue. Whether it came early or late in its own tick is not
    /// known, so it counts as having come when that ended.
    overdue: u32,
}

impl Ticks {
    pub(crate) fn new(timeout: Option<Duration>) -> Self {
        Self {
            timeout,
            now: 0,
            ends: VecDeque::new(),
            overdue: 0,
        }
    }

    /// The tick in which something comes now.
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

    /// Whether what came in that tick has waited too long.
    pub(crate) fn is_overdue(&self, since: u32) -> bool {
        self.now.wrapping_sub(since) > self.now.wrapping_sub(self.overdue)
    }

    /// Nobody is there whose time would have to be known.
    pub(crate) fn forget(&mut self) {
        self.ends = VecDeque::new();
        self.overdue = self.now;
    }
}
