//! What the subscribers of a pool count.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use crate::status::dials::{DialStats, FailedDial};

/// The [`Subscriber`](crate::Subscriber)s of a pool, all together, at one moment.
///
/// `messages`, `gaps`, `resubscribes` and `dial_failures` only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SubscriberStatus {
    /// Subscribers that there are now.
    pub subscribers: usize,
    /// Channels that they want now. One that two of them want counts twice.
    pub channels: usize,
    /// Patterns that they want now.
    pub patterns: usize,
    /// Messages that were received.
    pub messages: u64,
    /// Gaps that were told.
    pub gaps: u64,
    /// How often a connection took the place of another one.
    pub resubscribes: u64,
    /// Dials for subscribers that failed.
    pub dial_failures: u64,
    /// The last of them.
    pub last_dial_error: Option<FailedDial>,
}

/// What [`SubscriberStatus`] shows.
#[derive(Debug, Default)]
pub(crate) struct SubscriberStats {
    pub(crate) subscribers: AtomicUsize,
    pub(crate) channels: AtomicUsize,
    pub(crate) patterns: AtomicUsize,
    pub(crate) messages: AtomicU64,
    pub(crate) gaps: AtomicU64,
    pub(crate) resubscribes: AtomicU64,
    pub(crate) dials: DialStats,
}

impl SubscriberStats {
    pub(crate) fn status(&self) -> SubscriberStatus {
        SubscriberStatus {
            subscribers: self.subscribers.load(Relaxed),
            channels: self.channels.load(Relaxed),
            patterns: self.patterns.load(Relaxed),
            messages: self.messages.load(Relaxed),
            gaps: self.gaps.load(Relaxed),
            resubscribes: self.resubscribes.load(Relaxed),
            dial_failures: self.dials.failures(),
            last_dial_error: self.dials.last(),
        }
    }
}
