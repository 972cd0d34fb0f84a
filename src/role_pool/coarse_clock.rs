//! The time as of the reaper's last round.
//!
//! To ask the operating system takes 30 ns, and a checkout with its return would do so twice: a
//! quarter of what a checkout may cost. The limits on idle time are seconds and minutes. So the pools
//! read the time that the reaper leaves here. It is late by the pause between two rounds at most, which
//! is a tenth of the shortest limit. It stands still while a pool has no connection and the reaper rests.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct CoarseClock {
    origin: Instant,
    nanos: AtomicU64,
}

impl CoarseClock {
    pub(crate) fn new() -> Self {
        Self {
            origin: Instant::now(),
            nanos: AtomicU64::new(0),
        }
    }

    /// The time of the last tick.
    pub(crate) fn now(&self) -> Instant {
        self.origin + Duration::from_nanos(self.nanos.load(Relaxed))
    }

    /// Takes the time from the operating system.
    pub(crate) fn tick(&self) -> Instant {
        let now = Instant::now();
        let nanos = (now - self.origin).as_nanos();
        self.nanos
            .store(u64::try_from(nanos).unwrap_or(u64::MAX), Relaxed);
        now
    }
}

#[cfg(test)]
mod tests;
