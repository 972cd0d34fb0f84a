//! What reads cost that must have seen something, and how far behind each node is.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use crate::{node::Node, util::striped::Striped};

/// Reads that were to see a certain write, and how far behind the replicas are.
///
/// The counters only grow. Calls that ask for no freshness change none of them. A pipeline counts as one
/// read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FreshnessStatus {
    /// Reads that were proven to have seen what they should.
    pub proven: u64,
    /// Replies that were not handed out, because the node was behind or had no position. One read may have
    /// several.
    pub thrown_away: u64,
    /// Reads that waited for replicas to catch up.
    pub waited: u64,
    /// Reads that went to the master because no replica had caught up in time: the load that freshness
    /// puts on the master.
    pub from_master: u64,
    /// Reads that returned what there was, with [`Otherwise::Stale`](crate::Otherwise::Stale).
    pub stale: u64,
    /// Reads that failed with [`Error::Stale`](crate::Error::Stale).
    pub failed: u64,
    /// Reads whose write had been lost in a failover or a restart of the master.
    pub lost: u64,
    /// Reads whose token belonged to a history that this pool does not know. Instead they saw everything
    /// that the master had.
    pub unknown: u64,
    /// Answers of nodes that do not let our user ask for their position. It needs `+info`.
    pub refused: u64,
    /// Questions for a position that were sent apart from a read or write.
    pub questions: u64,
    /// The nodes whose positions are known, in the order of their addresses.
    pub nodes: Vec<NodeLag>,
}

/// How far one node was behind the master when it was last asked.
///
/// Nodes are asked only by calls that want to know.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct NodeLag {
    /// The node's address as the Sentinels announce it, or as it was configured.
    pub node: Node,
    /// The bytes of replication stream between the last known position of the master and that of this
    /// node. `None` where the two are not known to share a history.
    pub bytes: Option<u64>,
    /// The node had everything that the master had so long before the node was asked, or more. `None`
    /// where the master's positions of that time are not known: they are remembered while somebody reads
    /// with `within`.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::optional")
    )]
    pub time: Option<Duration>,
}

/// The counters. Only calls that ask for freshness write to them, and they share no pair of cache lines
/// (which processors fetch together) with what other calls read.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct FreshnessStats {
    /// Every proven read raises it, on every thread.
    pub(crate) proven: Striped,
    pub(crate) thrown_away: AtomicU64,
    pub(crate) waited: AtomicU64,
    pub(crate) from_master: AtomicU64,
    pub(crate) stale: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) lost: AtomicU64,
    pub(crate) unknown: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) questions: AtomicU64,
}

impl FreshnessStats {
    /// Without the nodes.
    pub(crate) fn counters(&self) -> FreshnessStatus {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        FreshnessStatus {
            proven: self.proven.sum(),
            thrown_away: count(&self.thrown_away),
            waited: count(&self.waited),
            from_master: count(&self.from_master),
            stale: count(&self.stale),
            failed: count(&self.failed),
            lost: count(&self.lost),
            unknown: count(&self.unknown),
            refused: count(&self.refused),
            questions: count(&self.questions),
            nodes: Vec::new(),
        }
    }
}

/// Raises a counter.
pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Relaxed);
}
