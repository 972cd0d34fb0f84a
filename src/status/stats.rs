//! The counters of one pool's exclusive connections.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::time::Instant;

use crate::{
    error::Error,
    status::{
        dials::DialStats,
        discard::{Discard, Discards},
        failures::CommandStats,
        histogram::{Histogram, HistogramCounter, nanos},
    },
};

/// Connections that share a stripe may be in use at once, and then their callers meet there. A power of two,
/// so that none is looked for.
const STRIPES: usize = 16;

/// The counters of one pool.
///
/// Callers who wait write to them from several threads. They share no pair of cache lines (which processors
/// fetch together) with what every checkout reads.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Stats {
    pub(crate) waiting: AtomicUsize,
    pub(crate) wait_count: AtomicU64,
    pub(crate) wait_nanos: AtomicU64,
    pub(crate) created: AtomicU64,
    /// Checkouts that were lent a connection after a wait: in line, or for a test or a dial.
    lent_after_wait: AtomicU64,
    wait_timeouts: AtomicU64,
    exhausted: AtomicU64,
    no_master: AtomicU64,
    no_replica: AtomicU64,
    no_connection: AtomicU64,
    discards: [AtomicU64; Discard::ALL.len()],
    pub(crate) commands: CommandStats,
    pub(crate) dials: DialStats,
    /// The waits that are over. Those in line have their time in `wait_nanos`, and only the rest of it here.
    wait: HistogramCounter,
    pub(crate) held: HistogramCounter,
    stripes: [Stripe; STRIPES],
    last_stripe: AtomicUsize,
}

/// What every checkout and every command counts. A connection has one of them for its life, so it is mostly
/// at hand where the connection is used.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe {
    lent_at_once: AtomicU64,
    answered: AtomicU64,
}

impl Stats {
    pub(crate) fn discarded(&self, reason: Discard) {
        self.discards[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn discards(&self) -> Discards {
        Discards(std::array::from_fn(|i| self.discards[i].load(Relaxed)))
    }

    /// The stripe of one more connection.
    pub(crate) fn next_stripe(&self) -> usize {
        self.last_stripe.fetch_add(1, Relaxed)
    }

    /// A checkout found a connection without a wait.
    #[inline]
    pub(crate) fn lent_at_once(&self, stripe: usize) {
        self.stripes[stripe % STRIPES]
            .lent_at_once
            .fetch_add(1, Relaxed);
    }

    pub(crate) fn lent_after_wait(&self) {
        self.lent_after_wait.fetch_add(1, Relaxed);
    }

    /// So many replies came over a connection of this stripe.
    #[inline]
    pub(crate) fn answered(&self, stripe: usize, replies: u64) {
        self.stripes[stripe % STRIPES]
            .answered
            .fetch_add(replies, Relaxed);
    }

    /// A checkout failed.
    #[cold]
    pub(crate) fn failed(&self, error: &Error) {
        let counter = match error {
            Error::WaitTimeout { .. } => &self.wait_timeouts,
            Error::Exhausted { .. } => &self.exhausted,
            Error::NoMaster { .. } | Error::NoSentinel { .. } | Error::UnknownMaster { .. } => {
                &self.no_master
            }
            Error::NoReplica { .. } => &self.no_replica,
            Error::Connect { .. } => &self.no_connection,
            // The pool ends, and nobody is to look at a number of that.
            _ => return,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub(crate) fn checkouts(&self) -> u64 {
        self.lent_at_once_count() + self.lent_after_wait.load(Relaxed)
    }

    fn lent_at_once_count(&self) -> u64 {
        let stripes = self.stripes.iter();
        stripes
            .map(|stripe| stripe.lent_at_once.load(Relaxed))
            .sum()
    }

    pub(crate) fn answered_count(&self) -> u64 {
        let stripes = self.stripes.iter();
        stripes.map(|stripe| stripe.answered.load(Relaxed)).sum()
    }

    /// The waits of all checkouts. Those that found a connection at once have waited no time: so they need
    /// no clock.
    pub(crate) fn waits(&self) -> Histogram {
        self.wait
            .snapshot()
            .with_instant(self.lent_at_once_count())
            .with_time(self.wait_nanos.load(Relaxed))
    }

    pub(crate) fn failed_checkouts(&self) -> FailedCheckouts {
        FailedCheckouts {
            wait_timeouts: self.wait_timeouts.load(Relaxed),
            exhausted: self.exhausted.load(Relaxed),
            no_master: self.no_master.load(Relaxed),
            no_replica: self.no_replica.load(Relaxed),
            no_connection: self.no_connection.load(Relaxed),
        }
    }

    /// Counts a caller as waiting in line until the guard is dropped, also when its future is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        self.wait_count.fetch_add(1, Relaxed);
        Waiting {
            stats: self,
            since: Instant::now(),
            goes_on: false,
        }
    }

    /// Counts the wait of a caller that is tested or dialled a connection for, when the guard is dropped.
    /// The wait began at `since`, and has been counted up to `from`.
    pub(crate) fn obtain(&self, since: Instant, from: Instant) -> Obtaining<'_> {
        Obtaining {
            stats: self,
            since,
            from,
        }
    }
}

/// Why checkouts failed, and how many.
#[derive(Debug)]
pub(crate) struct FailedCheckouts {
    pub(crate) wait_timeouts: u64,
    pub(crate) exhausted: u64,
    pub(crate) no_master: u64,
    pub(crate) no_replica: u64,
    pub(crate) no_connection: u64,
}

/// Counts one caller as waiting in line for as long as it lives.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    stats: &'a Stats,
    pub(crate) since: Instant,
    /// Its time in line is over, and it waits on for a test or a dial.
    pub(crate) goes_on: bool,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Relaxed);
        let nanos = nanos(self.since.elapsed());
        self.stats.wait_nanos.fetch_add(nanos, Relaxed);
        if !self.goes_on {
            self.stats.wait.count(nanos);
        }
    }
}

/// A caller for which a connection is tested or dialled.
#[derive(Debug)]
pub(crate) struct Obtaining<'a> {
    stats: &'a Stats,
    since: Instant,
    from: Instant,
}

impl Drop for Obtaining<'_> {
    fn drop(&mut self) {
        let now = Instant::now();
        self.stats.wait.count(nanos(now - self.since));
        self.stats.wait.add_time(nanos(now - self.from));
    }
}

#[cfg(test)]
mod tests;
