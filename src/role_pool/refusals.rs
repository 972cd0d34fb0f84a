//! Nodes that refuse to serve for now: when a caller may try one again, and when one is reason to
//! refresh the topology.
//!
//! A master that loads its data refuses every command over every connection until it is done. So
//! callers that were refused wait together: one of them tries, and the others go on when the node has
//! served that one.

use std::{
    collections::HashMap,
    pin::pin,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    node::Node,
    util::backoff::{Policy, REFRESH_FOR_REFUSAL, RESEND},
};

/// Ever longer pauses.
#[derive(Debug)]
struct Pace {
    policy: Policy,
    /// When the current pause ends, and how long it is at most.
    until: Instant,
    pause: Duration,
}

impl Pace {
    fn new(policy: Policy, now: Instant) -> Self {
        Self::with(policy, policy.first, now)
    }

    fn with(policy: Policy, pause: Duration, now: Instant) -> Self {
        let until = now + policy.draw(pause);
        Self {
            policy,
            until,
            pause,
        }
    }

    /// If the pause is over, begins the next one, which is longer. Says whether it was over.
    fn step(&mut self, now: Instant) -> bool {
        let over = self.until <= now;
        if over {
            *self = Self::with(self.policy, self.policy.grow(self.pause), now);
        }
        over
    }

    /// Whether it ended so long ago that a refusal now has nothing to do with it.
    fn is_past(&self, now: Instant) -> bool {
        self.until + self.policy.longest <= now
    }
}

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// When each node that refused may be tried again.
    tries: Mutex<HashMap<Node, Pace>>,
    /// When each node that was reason for a refresh may be reason for another.
    refreshes: Mutex<HashMap<Node, Pace>>,
    served: Notify,
    /// Whether `tries` may hold a node. Where reads prefer some nodes, each asks.
    any: AtomicBool,
}

impl Refusals {
    /// The node has refused a command. Commands that were on their way together are refused together,
    /// and that is one refusal.
    pub(crate) fn refused(&self, node: &Node) {
        let now = Instant::now();
        let mut tries = self.tries.lock();
        // Nodes come and go: those that refused long ago are forgotten.
        tries.retain(|_, pace| !pace.is_past(now));
        tries
            .entry(node.clone())
            .or_insert_with(|| Pace::new(RESEND, now));
        self.any.store(true, Relaxed);
    }

    /// The node has executed a command that it had refused before.
    pub(crate) fn served(&self, node: &Node) {
        if self.tries.lock().remove(node).is_some() {
            self.refreshes.lock().remove(node);
            self.served.notify_waiters();
        }
    }

    /// Whether the node refused the last command that was tried.
    pub(crate) fn contains(&self, node: &Node) -> bool {
        if !self.any.load(Relaxed) {
            return false;
        }
        let now = Instant::now();
        let mut tries = self.tries.lock();
        tries.retain(|_, pace| !pace.is_past(now));
        self.any.store(!tries.is_empty(), Relaxed);
        tries.contains_key(node)
    }

    /// Waits until the caller may try a node that has refused. One caller may at a time, after ever
    /// longer pauses, and all of them when the node has served one.
    pub(crate) async fn turn(&self, node: &Node) {
        loop {
            let mut served = pin!(self.served.notified());
            // First listen, then check, so that no notice is lost in between.
            served.as_mut().enable();
            let Some(until) = self.try_again(node) else {
                return;
            };
            tokio::select! {
                () = served => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// `None` if the caller may try now, and otherwise when to ask again.
    fn try_again(&self, node: &Node) -> Option<Instant> {
        let mut tries = self.tries.lock();
        let pace = tries.get_mut(node)?;
        let turn = pace.step(Instant::now());
        (!turn).then_some(pace.until)
    }

    /// Whether a node that keeps refusing is reason to refresh the topology now.
    pub(crate) fn is_refresh_due(&self, node: &Node) -> bool {
        let now = Instant::now();
        let mut refreshes = self.refreshes.lock();
        refreshes.retain(|_, pace| !pace.is_past(now));
        match refreshes.get_mut(node) {
            Some(pace) => pace.step(now),
            None => {
                refreshes.insert(node.clone(), Pace::new(REFRESH_FOR_REFUSAL, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
