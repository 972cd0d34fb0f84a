//! How many connections each node has, and which node is in trouble.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Semaphore, time::Instant};

use crate::{
    node::Node,
    topology::Target,
    util::{backoff::DIAL, jitter},
};

/// Dials to one node at a time. The pools of all clients together must not overload a server that
/// just came up.
const DIALS_PER_NODE: usize = 4;
/// Long enough for a dial that somebody waits for to go to another node, too short to make shares
/// uneven.
const SHUNNED: Duration = Duration::from_millis(50);

/// The longest pause between two connections to one node that are closed because of their certificates,
/// and the time in which all of them are. The handshake of each that takes its place costs the server's
/// only thread 1.5 ms, and all clients may read the same new file in the same minute.
const RETIREMENT: Duration = Duration::from_secs(1);
const RETIREMENT_OF_ALL: Duration = Duration::from_secs(60);

#[derive(Debug)]
struct NodeState {
    /// Connections open or being dialled.
    slots: usize,
    /// Limits the dials under way.
    gate: Arc<Semaphore>,
    /// After a failed dial: no dial before this moment, and how long that pause is.
    pause: Option<(Instant, Duration)>,
    /// Until when other nodes are preferred, because a connection to this one was lost.
    shunned: Option<Instant>,
    /// When the next connection with old certificates may be closed.
    retires_at: Option<Instant>,
    /// The number of its last dial. Of nodes with equally many slots, the one that was dialled longest
    /// ago gets the next.
    dialled: u64,
}

impl Default for NodeState {
    fn default() -> Self {
        Self {
            slots: 0,
            gate: Arc::new(Semaphore::new(DIALS_PER_NODE)),
            pause: None,
            shunned: None,
            retires_at: None,
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
    /// Locked when a dial begins or ends, when a connection is closed, when a node is shunned, and
    /// by the reaper in each of its rounds. A return locks it only while shares are uneven or
    /// certificates are new, a checkout never.
    nodes: Mutex<HashMap<Node, NodeState>>,
    /// Connections open, not counting those being dialled.
    open: AtomicUsize,
    dials: AtomicU64,
}

impl NodeTable {
    /// Takes a slot on the target with the fewest. Nodes in trouble come last.
    pub(crate) fn join(&self, targets: Vec<Target>) -> Option<Target> {
        let now = Instant::now();
        let mut nodes = self.nodes.lock();
        // Addresses come and go. Those that are neither used nor wanted are forgotten.
        nodes.retain(|node, state| {
            let wanted = || targets.iter().any(|target| target.node == *node);
            state.slots > 0 || state.is_avoided(now) || wanted()
        });
        let target = targets.into_iter().min_by_key(|target| {
            let state = nodes.get(&target.node);
            let paused = state.is_some_and(|state| state.is_avoided(now));
            let state = state.map_or((0, 0), |state| (state.slots, state.dialled));
            (paused, state)
        })?;
        let dials = self.dials.fetch_add(1, Relaxed) + 1;
        let state = nodes.entry(target.node.clone()).or_default();
        state.slots += 1;
        state.dialled = dials;
        Some(target)
    }

    /// Gives a slot of this node back.
    pub(crate) fn leave(&self, node: &Node) {
        if let Some(state) = self.nodes.lock().get_mut(node) {
            state.slots -= 1;
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
        Arc::clone(&self.nodes.lock().entry(node.clone()).or_default().gate)
    }

    /// The moment before which this node must not be dialled.
    pub(crate) fn paused_until(&self, node: &Node) -> Option<Instant> {
        self.nodes.lock().get(node)?.pause.map(|(until, _)| until)
    }

    /// A dial has failed: the node is not dialled for a while, longer each time. The times are
    /// random, so that many clients do not come back together. Dials that were under way together
    /// fail together and count as one failure. Returns whether this is the first of them.
    pub(crate) fn failed(&self, node: &Node) -> bool {
        let now = Instant::now();
        let mut nodes = self.nodes.lock();
        let state = nodes.entry(node.clone()).or_default();
        let pause = match state.pause {
            Some((until, _)) if until > now => return false,
            before => backoff(before.map(|(_, pause)| pause)),
        };
        state.pause = Some((now + pause, pause));
        true
    }

    /// A connection was lost while a caller waited for its reply. The caller needs one to another node.
    pub(crate) fn shun(&self, node: &Node) {
        let mut nodes = self.nodes.lock();
        nodes.entry(node.clone()).or_default().shunned = Some(Instant::now() + SHUNNED);
    }

    /// Whether one more of the node's connections may be closed because of its certificates. They are
    /// closed one by one, and after a minute all of them are.
    pub(crate) fn may_retire(&self, node: &Node) -> bool {
        let now = Instant::now();
        let mut nodes = self.nodes.lock();
        let Some(state) = nodes.get_mut(node) else {
            return true;
        };
        if state.retires_at.is_some_and(|at| at > now) {
            return false;
        }
        let slots = u32::try_from(state.slots.max(1)).unwrap_or(u32::MAX);
        let pause = RETIREMENT.min(RETIREMENT_OF_ALL / slots);
        state.retires_at = Some(now + jitter::around(pause, 50));
        true
    }

    pub(crate) fn succeeded(&self, node: &Node) {
        if let Some(state) = self.nodes.lock().get_mut(node) {
            state.pause = None;
        }
    }

    /// Connections open on any node.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many slots each target has, in their order.
    pub(crate) fn shares(&self, targets: &[Target]) -> Vec<usize> {
        let nodes = self.nodes.lock();
        let places = |target: &Target| nodes.get(&target.node).map_or(0, |state| state.slots);
        targets.iter().map(places).collect()
    }

    /// How many slots are taken on any node.
    pub(crate) fn slots_of_all(&self) -> usize {
        self.nodes.lock().values().map(|state| state.slots).sum()
    }

    /// The nodes whose last dial has failed, also if that is long ago, and those that lost a connection just
    /// now.
    pub(crate) fn troubled(&self) -> HashSet<Node> {
        let now = Instant::now();
        let nodes = self.nodes.lock();
        let troubled = nodes
            .iter()
            .filter(|(_, state)| state.pause.is_some() || state.is_avoided(now));
        troubled.map(|(node, _)| node.clone()).collect()
    }

    pub(crate) fn slots(&self, node: &Node) -> usize {
        self.nodes.lock().get(node).map_or(0, |state| state.slots)
    }
}

/// The pause after one of this length that did not help.
fn backoff(before: Option<Duration>) -> Duration {
    DIAL.draw(DIAL.grow(before.unwrap_or(DIAL.first)))
}

#[cfg(test)]
mod tests;
