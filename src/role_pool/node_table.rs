//! How many connections each node has, and which of them has trouble.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use crate::{node::Node, topology::Target, util::jitter};

/// Dials to one node at a time; a server that just came up is not run over by all its clients'
/// pools at once.
const DIALS_PER_NODE: usize = 4;
const FIRST_BACKOFF: Duration = Duration::from_millis(25);
const LONGEST_BACKOFF: Duration = Duration::from_secs(1);
/// Long enough for a dial that somebody waits for to go elsewhere, too short to unbalance the nodes.
const SHUNNED: Duration = Duration::from_millis(50);

#[derive(Debug)]
struct NodeState {
    /// Connections open or being dialled.
    places: usize,
    gate: Arc<Semaphore>,
    /// No dial before this moment, and how long that pause was.
    pause: Option<(Instant, Duration)>,
    /// Until when other nodes are preferred, because a connection to this one was just lost.
    shunned: Option<Instant>,
    /// The number of its last dial; of equal nodes the one longest without gets the next.
    dialled: u64,
}

impl Default for NodeState {
    fn default() -> Self {
        Self {
            places: 0,
            gate: Arc::new(Semaphore::new(DIALS_PER_NODE)),
            pause: None,
            shunned: None,
            dialled: 0,
        }
    }
}

impl NodeState {
    fn is_avoided(&self, now: Instant) -> bool {
        let paused = self.pause.is_some_and(|(until, _)| until > now);
        paused || self.shunned.is_some_and(|until| until > now)
    }
}

#[derive(Debug, Default)]
pub(crate) struct NodeTable {
    /// Touched when a connection is made, closed or fails to be made; never by a checkout.
    members: Mutex<HashMap<Node, NodeState>>,
    /// Connections open, not counting those being dialled.
    open: AtomicUsize,
    dials: AtomicU64,
}

impl NodeTable {
    /// Counts one more connection on the target with the fewest; those that have trouble come last.
    pub(crate) fn join(&self, targets: Vec<Target>) -> Option<Target> {
        let now = Instant::now();
        let mut members = self.members.lock();
        // Addresses come and go; what is known of one that is neither used nor wanted is not worth
        // its memory.
        members.retain(|node, member| {
            member.places > 0 || targets.iter().any(|target| target.node == *node)
        });
        let target = targets.into_iter().min_by_key(|target| {
            let member = members.get(&target.node);
            let paused = member.is_some_and(|member| member.is_avoided(now));
            let member = member.map_or((0, 0), |member| (member.places, member.dialled));
            (paused, member)
        })?;
        let dials = self.dials.fetch_add(1, Relaxed) + 1;
        let member = members.entry(target.node.clone()).or_default();
        member.places += 1;
        member.dialled = dials;
        Some(target)
    }

    /// One connection less on this node.
    pub(crate) fn leave(&self, node: &Node) {
        if let Some(member) = self.members.lock().get_mut(node) {
            member.places -= 1;
        }
    }

    /// A dial succeeded.
    pub(crate) fn opened(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// An open connection was closed.
    pub(crate) fn closed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    pub(crate) fn gate(&self, node: &Node) -> Arc<Semaphore> {
        Arc::clone(&self.members.lock().entry(node.clone()).or_default().gate)
    }

    /// The moment before which this node should be left alone.
    pub(crate) fn paused_until(&self, node: &Node) -> Option<Instant> {
        self.members.lock().get(node)?.pause.map(|(until, _)| until)
    }

    /// After a failure the node is left alone for a while, longer each time and never for the same
    /// time twice, so that many clients do not come back together. Dials that were under way together
    /// fail together, and that is one failure: says whether this is the first of them.
    pub(crate) fn failed(&self, node: &Node) -> bool {
        let now = Instant::now();
        let mut members = self.members.lock();
        let member = members.entry(node.clone()).or_default();
        let pause = match member.pause {
            Some((until, _)) if until > now => return false,
            before => backoff(before.map(|(_, pause)| pause)),
        };
        member.pause = Some((now + pause, pause));
        true
    }

    /// A connection was lost while somebody waited for its reply, who needs one to another node.
    pub(crate) fn shun(&self, node: &Node) {
        let mut members = self.members.lock();
        members.entry(node.clone()).or_default().shunned = Some(Instant::now() + SHUNNED);
    }

    pub(crate) fn succeeded(&self, node: &Node) {
        if let Some(member) = self.members.lock().get_mut(node) {
            member.pause = None;
        }
    }

    /// Connections open on any node.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many connections each target has, also those that have none.
    pub(crate) fn census(&self, targets: &[Target]) -> Vec<usize> {
        let members = self.members.lock();
        let places = |target: &Target| members.get(&target.node).map_or(0, |m| m.places);
        targets.iter().map(places).collect()
    }

    pub(crate) fn places(&self, node: &Node) -> usize {
        self.members.lock().get(node).map_or(0, |m| m.places)
    }
}

/// How long to leave a node alone after a pause of this length was of no use: decorrelated jitter,
/// and within the limit, not cut to it, or all who have come there would go in step.
fn backoff(before: Option<Duration>) -> Duration {
    let longest = before.unwrap_or(FIRST_BACKOFF) * 3;
    jitter::between(FIRST_BACKOFF, longest.min(LONGEST_BACKOFF))
}

#[cfg(test)]
mod tests;
