//! How dials went.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use redis::RedisError;
use tokio::time::Instant;

use crate::{
    error::reason,
    node::Node,
    status::histogram::{Histogram, HistogramCounter},
};

/// A dial that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct FailedDial {
    /// The node's address as the Sentinels announce it, or as it was configured.
    pub node: Node,
    /// What the node, or the operating system, said.
    pub error: String,
    /// How long ago it failed.
    #[cfg_attr(
        feature = "serde",
        serde(serialize_with = "crate::util::seconds::serialize")
    )]
    pub ago: Duration,
}

/// The dials for one kind of connections.
#[derive(Debug, Default)]
pub(crate) struct DialStats {
    failures: AtomicU64,
    create: HistogramCounter,
    /// Locked when a dial fails, and to be read.
    last: Mutex<Option<(Node, String, Instant)>>,
}

impl DialStats {
    pub(crate) fn succeeded(&self, took: Duration) {
        self.create.record(took);
    }

    pub(crate) fn failed(&self, node: &Node, error: &RedisError) {
        self.failures.fetch_add(1, Relaxed);
        let last = (node.clone(), reason(error), Instant::now());
        *self.last.lock() = Some(last);
    }

    pub(crate) fn failures(&self) -> u64 {
        self.failures.load(Relaxed)
    }

    pub(crate) fn create(&self) -> Histogram {
        self.create.snapshot()
    }

    pub(crate) fn last(&self) -> Option<FailedDial> {
        let last = self.last.lock();
        let (node, error, at) = last.as_ref()?;
        Some(FailedDial {
            node: node.clone(),
            error: error.clone(),
            ago: at.elapsed(),
        })
    }
}
