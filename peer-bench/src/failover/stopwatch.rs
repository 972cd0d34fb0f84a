//! Time since a round began: the one scale of everything that is recorded in it.

use std::time::Duration;

use crate::clock::Instant;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(&self) -> Duration {
        self.0.elapsed()
    }

    /// How long it is until then; zero when that is past.
    pub(crate) fn until(&self, then: Duration) -> Duration {
        then.saturating_sub(self.now())
    }
}

pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// From the one to the other, in milliseconds; negative when the other came first.
pub(crate) fn between(from: Duration, to: Duration) -> f64 {
    millis(to) - millis(from)
}
