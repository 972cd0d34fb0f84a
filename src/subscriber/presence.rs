//! One subscriber's part in what its pool counts.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use crate::status::subscriber::SubscriberStats;

/// Uncounts the subscriber, and what it wants, when it is dropped.
#[derive(Debug)]
pub(super) struct Presence {
    pub(super) stats: Arc<SubscriberStats>,
    channels: usize,
    patterns: usize,
}

impl Presence {
    pub(super) fn new(stats: Arc<SubscriberStats>) -> Self {
        stats.subscribers.fetch_add(1, Relaxed);
        Self {
            stats,
            channels: 0,
            patterns: 0,
        }
    }

    pub(super) fn set(&mut self, (channels, patterns): (usize, usize)) {
        if (channels, patterns) == (self.channels, self.patterns) {
            return;
        }
        self.stats.channels.fetch_add(channels, Relaxed);
        self.stats.channels.fetch_sub(self.channels, Relaxed);
        self.stats.patterns.fetch_add(patterns, Relaxed);
        self.stats.patterns.fetch_sub(self.patterns, Relaxed);
        (self.channels, self.patterns) = (channels, patterns);
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.set((0, 0));
        self.stats.subscribers.fetch_sub(1, Relaxed);
    }
}
