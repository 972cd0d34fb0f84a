//! What a pool counts.

pub(crate) mod discard;
pub(crate) mod freshness;

use std::{
    fmt,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    error::Reports,
    status::{
        discard::{Discard, Discards},
        freshness::FreshnessStatus,
    },
};

/// The whole pool at one moment.
///
/// With the feature `serde` it can be serialized, with all that is in it and the
/// [`Topology`](crate::Topology): durations as seconds, reasons and kinds by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The pool of connections to the master.
    pub write: PoolStatus,
    /// The pool of connections for reads.
    pub read: PoolStatus,
    /// The connections behind [`Pool::writer`](crate::Pool::writer).
    pub writer: MultiplexedStatus,
    /// The connections behind [`Pool::reader`](crate::Pool::reader).
    pub reader: MultiplexedStatus,
    /// Which Sentinels answer, and what they say.
    pub sentinel: SentinelStatus,
    /// Whether writes are held back because the master is being replaced.
    pub fence: FenceStatus,
    /// Reads that were to see a certain write, and how far behind the replicas are.
    pub freshness: FreshnessStatus,
    /// Why the master could not be reached when it was last asked for its role. `None` when all is
    /// well.
    pub master_error: Option<String>,
    /// The certificates for connections to the nodes, and for those to the Sentinels unless these have
    /// their own. `None` without TLS.
    pub tls: Option<TlsStatus>,
    /// The certificates for connections to the Sentinels, if these have their own.
    pub sentinel_tls: Option<TlsStatus>,
}

/// How the certificates were reloaded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TlsStatus {
    /// How often files had changed and came into use, since they were read first.
    pub reloads: u64,
    /// Why the last reload failed, so that what was read before is still in use. `None` when all is
    /// well.
    pub error: Option<String>,
}

/// One of the two pools at one moment.
///
/// The counters only grow. `active`, `idle` and `waiting` are read one after another while the pool
/// is at work, so under load they may be off by the checkouts that happened in between.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStatus {
    /// The limit: connections open at once.
    pub max_active: usize,
    /// Connections open now: idle and in use.
    pub active: usize,
    /// Connections open and not lent.
    pub idle: usize,
    /// Callers waiting in line now for a connection to come free.
    pub waiting: usize,
    /// Checkouts that had to wait for a connection to come free, since the pool was made.
    pub wait_count: u64,
    /// The time those checkouts waited, together.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::serialize")
    )]
    pub wait_duration: Duration,
    /// Connections made since the pool was made.
    pub created: u64,
    /// Dials that failed since the pool was made.
    pub dial_failures: u64,
    /// Connections closed, by reason.
    pub discards: Discards,
}

/// The connections that multiplexed handles share, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MultiplexedStatus {
    /// Connections open now, to all nodes together.
    pub connections: usize,
    /// Commands on their way now: handed in and not answered. Each command of a pipeline counts.
    pub in_flight: usize,
    /// Callers waiting in line now because too much is on its way.
    pub waiting: usize,
    /// Connections made since the pool was made.
    pub created: u64,
}

/// Which Sentinels answer, and what they say.
///
/// A Sentinel is counted once, by its id, however many addresses it has. Where its id is not known it is
/// counted by its address.
///
/// Without Sentinels all of this is about the nodes that are asked instead, and `known`, `reachable` and
/// `listening` are 0: nothing is listened to, and no failover is promised to lose nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SentinelStatus {
    /// Sentinels known: those configured and those learned.
    pub known: usize,
    /// Sentinels that answered when last asked.
    pub reachable: usize,
    /// Sentinels whose events are heard.
    ///
    /// A planned failover is promised to lose no acknowledged write only where this equals
    /// [`known`](Self::known), since any Sentinel may lead it. A failover led by a Sentinel that is not
    /// heard loses the writes of a few milliseconds.
    pub listening: usize,
    /// Why the others are not listened to, by address.
    pub unheard: Reports,
    /// The commands and channels that Sentinels refuse us, and what is lost without each, by address.
    ///
    /// `docs/permissions.md` lists what the Sentinel user needs.
    pub refused: Reports,
    /// How long ago a Sentinel, or without Sentinels a node, last answered; `None` before the first answer.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::optional")
    )]
    pub last_answer: Option<Duration>,
    /// How many times all Sentinels have been asked so far.
    pub refreshes: u64,
    /// Answers that were ignored because they came with an older epoch.
    pub stale_answers: u64,
    /// Events about this master that the Sentinels published.
    pub events: u64,
    /// What Sentinels report against a master that is still written to, because the master itself
    /// reports that it is well: that they cannot see it, or a failover that does not count any
    /// more. `None` when all is well.
    ///
    /// A wrong `auth-pass` of the Sentinels does this. They cannot replace the master when it dies.
    pub claim: Option<String>,
    /// What each Sentinel said last, and what nodes say that keeps them from being used, for a human
    /// reader.
    pub reports: Reports,
}

/// Whether writes are held back because the master is being replaced, and how that went so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FenceStatus {
    /// What kind of sign [`sign`](Self::sign) is; `None` when all is well.
    pub kind: Option<SignKind>,
    /// The first sign of this failover, because of which writes are held back now. `None` when all
    /// is well.
    pub sign: Option<String>,
    /// For how long they have been held back; `None` when they are not.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::optional")
    )]
    pub up_for: Option<Duration>,
    /// How many times writes were held back, since the pool was made.
    pub raised: u64,
    /// Signs that were not confirmed by the Sentinel that gave them, when it was asked.
    ///
    /// After several of them within a minute that Sentinel's events raise no fence for a while; its answers
    /// still do.
    pub false_signs: u64,
    /// The total time for which writes were held back.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::serialize")
    )]
    pub held: Duration,
}

/// The kind of evidence that the master is being replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SignKind {
    /// A Sentinel published an event of a failover.
    Event,
    /// A Sentinel that was asked says that a failover is under way.
    Answer,
    /// A Sentinel names another master under a higher epoch.
    OtherMaster,
    /// A replica says that it is a master.
    Promotion,
    /// The master says that it is a replica.
    Demotion,
}

impl SignKind {
    /// Its name in lower snake case, for a metric's label or a log: `event`, `other_master`, …
    ///
    /// Names are stable: a minor release adds names for new kinds and changes none.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Event => "event",
            Self::Answer => "answer",
            Self::OtherMaster => "other_master",
            Self::Promotion => "promotion",
            Self::Demotion => "demotion",
        }
    }
}

impl fmt::Display for SignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The counters of one pool. A checkout that finds an idle connection changes none of them.
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
    pub(crate) dial_failures: AtomicU64,
    discards: [AtomicU64; Discard::ALL.len()],
}

impl Stats {
    pub(crate) fn discarded(&self, reason: Discard) {
        self.discards[reason as usize].fetch_add(1, Relaxed);
    }

    pub(crate) fn discards(&self) -> Discards {
        Discards(std::array::from_fn(|i| self.discards[i].load(Relaxed)))
    }

    /// Counts a caller as waiting until the guard is dropped, also when its future is dropped.
    pub(crate) fn wait(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        self.wait_count.fetch_add(1, Relaxed);
        Waiting {
            stats: self,
            since: Instant::now(),
        }
    }
}

/// Counts one caller as waiting for as long as it lives.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    stats: &'a Stats,
    pub(crate) since: Instant,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.stats.waiting.fetch_sub(1, Relaxed);
        let nanos = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.stats.wait_nanos.fetch_add(nanos, Relaxed);
    }
}

/// By its name, see [`as_str`](Self::as_str).
#[cfg(feature = "serde")]
impl serde::Serialize for SignKind {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
