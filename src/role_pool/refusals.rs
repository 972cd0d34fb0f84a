//! Nodes that refuse to serve for now, who may try one again, and how often one is looked at.
//!
//! A master that is loading its data says so to every command, over any connection, for as long as
//! that takes. So callers who were refused wait together: one of them tries, and the others go on
//! when the node has served that one.

use std::{collections::HashMap, pin::pin, time::Duration};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    node::Node,
    retry::attempt::{FIRST_PAUSE, LONGEST_PAUSE},
    util::jitter,
};

/// Between two looks at the Sentinels for one node that keeps saying the same: soon at first, since
/// it may just have been replaced, and in the long run as seldom as they are polled.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const LONGEST_LOOK: Duration = Duration::from_secs(5);

/// Ever longer pauses.
#[derive(Debug, Clone, Copy)]
struct Pace {
    /// When the pause ends that began last, and how long it is at most.
    until: Instant,
    pause: Duration,
}

impl Pace {
    fn new(pause: Duration, now: Instant) -> Self {
        let until = now + jitter::between(pause / 2, pause);
        Self { until, pause }
    }

    /// Where the pause has ended, the next and longer one begins.
    fn step(&mut self, longest: Duration, now: Instant) -> bool {
        let over = self.until <= now;
        if over {
            *self = Self::new((self.pause * 2).min(longest), now);
        }
        over
    }

    /// Whether it ended so long ago that what comes now is another story.
    fn is_past(&self, longest: Duration, now: Instant) -> bool {
        self.until + longest <= now
    }
}

#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// The nodes that refused, and when each may be tried again.
    tries: Mutex<HashMap<Node, Pace>>,
    /// The nodes that gave reason to ask the Sentinels, and when each is reason to ask again.
    refreshes: Mutex<HashMap<Node, Pace>>,
    served: Notify,
}

impl Refusals {
    /// The node has refused a command. Those that were on their way together are refused together,
    /// and that is one refusal.
    pub(crate) fn refused(&self, node: &Node) {
        let now = Instant::now();
        let mut tries = self.tries.lock();
        // Nodes come and go; a story that has ended is not worth its memory.
        tries.retain(|_, pace| !pace.is_past(LONGEST_PAUSE, now));
        tries
            .entry(node.clone())
            .or_insert_with(|| Pace::new(FIRST_PAUSE, now));
    }

    /// The node has executed a command that it had refused before.
    pub(crate) fn served(&self, node: &Node) {
        if self.tries.lock().remove(node).is_some() {
            self.refreshes.lock().remove(node);
            self.served.notify_waiters();
        }
    }

    /// Whether the node refused the last command that somebody tried.
    pub(crate) fn contains(&self, node: &Node) -> bool {
        let now = Instant::now();
        let tries = self.tries.lock();
        tries
            .get(node)
            .is_some_and(|pace| !pace.is_past(LONGEST_PAUSE, now))
    }

    /// Waits until the caller may try a node that has refused: one at a time, after ever longer
    /// pauses, and everybody when it has served one.
    pub(crate) async fn turn(&self, node: &Node) {
        loop {
            let mut served = pin!(self.served.notified());
            // First listen, then look, so that the moment cannot pass in between.
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

    /// `None` where it is the caller's turn, and otherwise when it may be.
    fn try_again(&self, node: &Node) -> Option<Instant> {
        let mut tries = self.tries.lock();
        let pace = tries.get_mut(node)?;
        let turn = pace.step(LONGEST_PAUSE, Instant::now());
        (!turn).then_some(pace.until)
    }

    /// Whether what the node keeps saying is worth a look at the Sentinels now.
    pub(crate) fn is_look_due(&self, node: &Node) -> bool {
        let now = Instant::now();
        let mut refreshes = self.refreshes.lock();
        refreshes.retain(|_, pace| !pace.is_past(LONGEST_LOOK, now));
        match refreshes.get_mut(node) {
            Some(pace) => pace.step(LONGEST_LOOK, now),
            None => {
                refreshes.insert(node.clone(), Pace::new(FIRST_LOOK, now));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests;
