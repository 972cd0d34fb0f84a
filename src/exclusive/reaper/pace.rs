//! How fast connections are dialled that nobody waits for, where each costs the server much.

use std::{future, time::Duration};

use tokio::time::Instant;

use crate::util::jitter;

/// So many at once: the first callers should find a connection.
const FIRST: usize = 4;
/// From then on one at a time. A handshake takes the server's only thread 1.5 ms, and after a switch all
/// clients come to the new master together: 50 of them with this pause keep it busy for three quarters of
/// the time, and without a pause it would serve nobody.
const PAUSE: Duration = Duration::from_millis(100);

/// Spreads dials over time.
#[derive(Debug, Default)]
pub(super) struct Pace {
    /// `None` while there is nothing to spread.
    next: Option<Instant>,
}

impl Pace {
    /// How many of those that are missing may be dialled now.
    pub(super) fn step(&mut self, missing: usize, now: Instant) -> usize {
        let step = match self.next {
            Some(next) if next > now => return 0,
            Some(_) => missing.min(1),
            None => missing.min(FIRST),
        };
        self.next = (step > 0).then(|| now + jitter::around(PAUSE, 50));
        step
    }

    /// Ends when the next may be dialled.
    ///
    /// # Cancel safety
    ///
    /// It holds no state.
    pub(super) async fn next(&self) {
        match self.next {
            Some(next) => tokio::time::sleep_until(next).await,
            None => future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
