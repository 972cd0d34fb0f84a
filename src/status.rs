//! What a pool counts.

pub(crate) mod dials;
pub(crate) mod discard;
pub(crate) mod failures;
pub(crate) mod families;
pub(crate) mod freshness;
pub(crate) mod histogram;
mod openmetrics;
#[cfg(feature = "metrics")]
pub(crate) mod push;
pub(crate) mod stats;
pub(crate) mod subscriber;
#[cfg(test)]
pub(crate) mod testing;

use std::{fmt, sync::Arc, time::Duration};

use crate::{
    error::Reports,
    node::Node,
    status::{
        dials::FailedDial, discard::Discards, failures::Failures, freshness::FreshnessStatus,
        histogram::Histogram, subscriber::SubscriberStatus,
    },
    topology::Topology,
};

/// The whole pool at one moment.
///
/// With the feature `serde` it can be serialized, with all that is in it and the
/// [`Topology`](crate::Topology): durations as seconds, reasons and kinds by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Status {
    /// The name of the pool in metrics: [`Config::name`](crate::Config::name), or what stands for it.
    pub name: String,
    /// The name by which the Sentinels know the master; empty where there are none.
    pub master_name: String,
    /// Whether the master can be reached, and since when.
    pub master: MasterStatus,
    /// How many times another master was adopted. The first one does not count.
    pub master_changes: u64,
    /// Who is master and who is replica, as in [`Pool::topology`](crate::Pool::topology).
    #[cfg_attr(feature = "serde", serde(serialize_with = "shared"))]
    pub topology: Arc<Topology>,
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
    /// How long calls took. `None` unless [`Config::measure`](crate::Config::measure) is
    /// [`Measure::Commands`](crate::Measure::Commands).
    pub durations: Option<Durations>,
    /// What [`Pool::subscriber`](crate::Pool::subscriber) has made.
    pub subscriber: SubscriberStatus,
    /// Why the master could not be reached when it was last asked for its role. `None` when all is
    /// well.
    pub master_error: Option<String>,
    /// The certificates for connections to the nodes, and for those to the Sentinels unless these have
    /// their own. `None` without TLS.
    pub tls: Option<TlsStatus>,
    /// The certificates for connections to the Sentinels, if these have their own.
    pub sentinel_tls: Option<TlsStatus>,
}

#[cfg(feature = "serde")]
fn shared<S: serde::Serializer>(topology: &Arc<Topology>, to: S) -> Result<S::Ok, S::Error> {
    serde::Serialize::serialize(&**topology, to)
}

/// Whether the master can be reached, and since when.
///
/// The pool keeps a connection of its own to every node. When the master dies or closes it, that is known at
/// once, whether or not anybody uses the pool. A master that is frozen is asked when a command has timed out, or
/// at the next [`refresh_interval`](crate::Config::refresh_interval), and is lost if it does not answer within
/// [`connect_timeout`](crate::Config::connect_timeout). The pool logs it at `warn`, and at `info` that the master
/// is back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MasterStatus {
    /// Who is the master; `None` before the first one was found.
    pub node: Option<Node>,
    /// Whether it could be reached when it was tried last. A master to which writes are held back by the
    /// [fence](FenceStatus) may well be reachable.
    pub reachable: bool,
    /// For how long that has been so: since this node was adopted, lost or found again. While there is no
    /// master, since the pool was made.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::serialize")
    )]
    pub since: Duration,
    /// Why it cannot be reached; `None` when it can.
    pub error: Option<String>,
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
/// is at work, so under load they may be off by the checkouts that happened in between. Once the pool is at
/// rest all numbers add up: each call of [`Pool::write`](crate::Pool::write) or
/// [`Pool::read`](crate::Pool::read) that came to its end is in one of `checkouts`, `wait_timeouts`,
/// `exhausted`, `no_master`, `no_replica` and `no_connection`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PoolStatus {
    /// The limit: connections open at once.
    pub max_active: usize,
    /// The limit: connections that stay open while nobody uses them.
    pub max_idle: usize,
    /// Connections that are kept ready.
    pub min_idle: usize,
    /// Connections open now: idle and in use.
    pub active: usize,
    /// Connections open and not lent.
    pub idle: usize,
    /// Callers waiting in line now for a connection to come free.
    pub waiting: usize,
    /// Connections lent since the pool was made.
    pub checkouts: u64,
    /// Checkouts that had to wait for a connection to come free, since the pool was made.
    pub wait_count: u64,
    /// The time those checkouts waited, together.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::serialize")
    )]
    pub wait_duration: Duration,
    /// How long each caller waited: in line, and then for the test or the dial of a connection. Whoever
    /// found an idle connection waited no time. Those that got none, or gave up, are in it as well.
    pub wait: Histogram,
    /// Checkouts that failed with [`Error::WaitTimeout`](crate::Error::WaitTimeout).
    pub wait_timeouts: u64,
    /// Checkouts that failed with [`Error::Exhausted`](crate::Error::Exhausted).
    pub exhausted: u64,
    /// Checkouts that failed because there was no master:
    /// [`Error::NoMaster`](crate::Error::NoMaster) and, of a pool that has not found any yet,
    /// [`NoSentinel`](crate::Error::NoSentinel) and [`UnknownMaster`](crate::Error::UnknownMaster).
    pub no_master: u64,
    /// Checkouts that failed with [`Error::NoReplica`](crate::Error::NoReplica).
    pub no_replica: u64,
    /// Checkouts that failed with [`Error::Connect`](crate::Error::Connect).
    pub no_connection: u64,
    /// How long connections were lent: a sample, the first use of each connection and then every
    /// sixteenth.
    pub held: Histogram,
    /// Connections made since the pool was made.
    pub created: u64,
    /// How long it took to make each connection: the dial and the handshake.
    pub create: Histogram,
    /// Dials that failed since the pool was made.
    pub dial_failures: u64,
    /// The dial that failed last; `None` if none did.
    pub last_dial_error: Option<FailedDial>,
    /// Connections closed, by reason.
    pub discards: Discards,
    /// Commands answered since the pool was made. Each command of a pipeline counts, and an error reply
    /// is an answer. A command that was sent again counts once for each reply.
    pub commands: u64,
    /// Calls on these connections that failed, by outcome.
    pub failures: Failures,
    /// Commands and pipelines that the pool sent again by itself. Each time counts.
    pub resent: u64,
    /// Commands and pipelines that were refused before they were sent: over this kind of connection they
    /// cannot do what they should.
    pub refused: u64,
}

/// The connections that multiplexed handles share, at one moment.
///
/// The counters only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct MultiplexedStatus {
    /// The limit: commands on their way over one connection.
    pub max_in_flight: usize,
    /// Connections open now, to all nodes together.
    pub connections: usize,
    /// Commands on their way now: handed in and not answered. Each command of a pipeline counts.
    pub in_flight: usize,
    /// Callers waiting in line now because too much is on its way.
    pub waiting: usize,
    /// Connections made since the pool was made.
    pub created: u64,
    /// How long it took to make each connection: the dial and the handshake.
    pub create: Histogram,
    /// Dials that failed since the pool was made.
    pub dial_failures: u64,
    /// The dial that failed last; `None` if none did.
    pub last_dial_error: Option<FailedDial>,
    /// Connections closed, by reason. [`Discard::Broken`](crate::Discard::Broken) are those that were lost.
    pub discards: Discards,
    /// Commands answered since the pool was made. Each command of a pipeline counts, and an error reply
    /// is an answer. A command that was sent again counts once for each reply.
    pub commands: u64,
    /// Calls that failed, by outcome. Those that got no connection in time are among them, as not
    /// executed.
    pub failures: Failures,
    /// Commands and pipelines that the pool sent again by itself. Each time counts.
    pub resent: u64,
    /// Commands and pipelines that were refused before they were sent, because they need a connection of
    /// their own or the master.
    pub refused: u64,
}

/// How long calls took, from the first look for a connection to the reply. A call is one command, or one
/// pipeline.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Durations {
    /// Over connections of [`Pool::write`](crate::Pool::write) and [`Pool::writer`](crate::Pool::writer).
    pub write: Histogram,
    /// Over connections of [`Pool::read`](crate::Pool::read) and [`Pool::reader`](crate::Pool::reader).
    pub read: Histogram,
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

/// By its name, see [`as_str`](Self::as_str).
#[cfg(feature = "serde")]
impl serde::Serialize for SignKind {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
