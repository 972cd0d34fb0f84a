//! What a pool has to tell of itself, as far as its counters say so. Pure.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use crate::{
    error::PoolName,
    events::EventKind,
    status::{discard::Discard, stats::Stats},
};

/// That callers wait is told once for each time that they begin to.
const QUIET: Duration = Duration::from_secs(60);

/// Those of which nobody but the pool would know.
const RETIREMENTS: [Discard; 2] = [Discard::Credentials, Discard::Certificates];

/// Looks at the counters once in a while, so that telling costs their writers nothing.
#[derive(Debug, Default)]
pub(super) struct News {
    waits: u64,
    /// When callers were seen waiting last.
    waited_at: Option<Instant>,
    retired: [u64; RETIREMENTS.len()],
}

impl News {
    /// What is new since the last call.
    pub(super) fn gather(&mut self, pool: PoolName, stats: &Stats, now: Instant) -> Vec<EventKind> {
        let mut news = Vec::new();
        let waiting = stats.waiting.load(Relaxed);
        if self.begin_to_wait(stats.wait_count.load(Relaxed), waiting, now) {
            news.push(EventKind::Saturated { pool, waiting });
        }
        let discards = stats.discards();
        for (seen, reason) in self.retired.iter_mut().zip(RETIREMENTS) {
            let total = discards.get(reason);
            let count = total - *seen;
            *seen = total;
            if count > 0 {
                news.push(EventKind::Retired {
                    pool,
                    reason,
                    count,
                });
            }
        }
        news
    }

    /// Whether callers have begun to wait after a while in which nobody did.
    fn begin_to_wait(&mut self, waits: u64, waiting: usize, now: Instant) -> bool {
        if waits == self.waits && waiting == 0 {
            return false;
        }
        self.waits = waits;
        let before = self.waited_at.replace(now);
        before.is_none_or(|before| now - before >= QUIET)
    }
}

#[cfg(test)]
mod tests;
