//! When connections with old certificates are to be replaced, after a replacement has failed.

use std::{collections::HashMap, future, time::Duration};

use tokio::time::Instant;

use crate::{error::Error, node::Node, util::backoff::REPLACEMENT};

/// The nodes that do not take the newest certificates yet.
#[derive(Debug, Default)]
pub(super) struct Replacements {
    /// When each may be tried again, and the pause before that without its jitter.
    later: HashMap<Node, (Instant, Duration)>,
}

impl Replacements {
    pub(super) fn is_due(&self, node: &Node, now: Instant) -> bool {
        self.later.get(node).is_none_or(|(at, _)| *at <= now)
    }

    pub(super) fn failed(&mut self, node: &Node, error: &Error) {
        let now = Instant::now();
        // Nodes come and go. What was not tried again for long is not there any more.
        self.later
            .retain(|_, (at, _)| *at + REPLACEMENT.longest > now);
        let before = self.later.get(node).map(|(_, pause)| *pause);
        let pause = before.map_or(REPLACEMENT.first, |pause| REPLACEMENT.grow(pause));
        let at = now + REPLACEMENT.draw(pause);
        self.later.insert(node.clone(), (at, pause));
        if before.is_none() {
            tracing::warn!(
                %error,
                "new certificates are not good for a node, its old connections are used on"
            );
        }
    }

    /// There are newer certificates.
    pub(super) fn begin_anew(&mut self) {
        self.later.clear();
    }

    /// Ends when the next node may be tried again.
    ///
    /// # Cancel safety
    ///
    /// It holds no state.
    pub(super) async fn due(&self) {
        let now = Instant::now();
        let times = self.later.values().map(|(at, _)| *at);
        match times.filter(|at| *at > now).min() {
            Some(at) => tokio::time::sleep_until(at).await,
            None => future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
