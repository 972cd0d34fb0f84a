//! Publishes the snapshots, and takes what callers report about nodes.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::{
    node::Node,
    topology::{Topology, excluded::Excluded},
};

#[cfg(test)]
use crate::util::schedule_model::step;

/// A point at which the models let another thread run first.
#[cfg(not(test))]
#[inline(always)]
fn step() {}

/// Publishes snapshots, and takes the suspicions that ask for a refresh.
#[derive(Debug)]
pub(crate) struct Handle {
    /// The version of the newest snapshot, which is read before every command without a lock.
    version: AtomicU64,
    /// The epoch of the newest snapshot, which every token has.
    epoch: AtomicU64,
    sender: watch::Sender<Arc<Topology>>,
    suspects: Mutex<HashSet<Node>>,
    /// Replicas that were excluded because they missed a deadline, and that the refresh task has
    /// not taken yet. Locked while `sender` is locked, never the other way round.
    silent: Mutex<HashSet<Node>>,
    suspicion: Notify,
}

impl Handle {
    pub(crate) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            epoch: AtomicU64::new(0),
            sender: watch::Sender::new(Arc::default()),
            suspects: Mutex::default(),
            silent: Mutex::default(),
            suspicion: Notify::new(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        let version = self.version.load(Ordering::Acquire);
        step();
        version
    }

    /// [`Topology::epoch`] of the newest snapshot, which many may ask for at once.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Relaxed)
    }

    pub(crate) fn snapshot(&self) -> Arc<Topology> {
        Arc::clone(&self.sender.borrow())
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<Topology>> {
        self.sender.subscribe()
    }

    /// Publishes a snapshot under the next version. Only the refresh task calls this. Replicas that
    /// were excluded since the last [`take_silent`](Self::take_silent) stay excluded: the new
    /// snapshot was made without knowing of them.
    pub(crate) fn publish(&self, mut topology: Topology) {
        self.replace(|current| {
            let silent = self.silent.lock();
            for replica in &mut topology.replicas {
                if replica.is_readable() && silent.contains(&replica.node) {
                    let known = current.replicas.iter().find(|r| r.node == replica.node);
                    replica.excluded = known.and_then(|known| known.excluded.clone());
                }
            }
            Some(topology)
        });
    }

    /// Publishes the same again, so that every connection is judged anew: what else it depends on has
    /// changed.
    pub(crate) fn republish(&self) {
        self.replace(|current| Some(current.clone()));
    }

    /// Excludes a replica from reads at once because it did not answer within this time, and asks
    /// for a refresh. Any other node is only suspected: if it is the master, there is no other one
    /// to go to.
    pub(crate) fn exclude_silent(&self, node: &Node, within: Duration) {
        let excluded = self.replace(|current| {
            let mut replicas = current.replicas.iter();
            let place = replicas.position(|r| r.node == *node && r.is_readable())?;
            self.silent.lock().insert(node.clone());
            let mut topology = current.clone();
            topology.replicas[place].excluded = Some(Excluded::Silent { within });
            Some(topology)
        });
        if excluded {
            self.suspicion.notify_one();
        }
        self.suspect(node);
    }

    /// The replicas that were excluded since the last call. Call it before taking the snapshot from
    /// which the next one is made. They are excluded in that snapshot.
    pub(crate) fn take_silent(&self) -> HashSet<Node> {
        std::mem::take(&mut *self.silent.lock())
    }

    /// The version is raised after the snapshot is in place. So a thread that sees the new version
    /// finds a snapshot that is at least as new.
    fn replace(&self, next: impl FnOnce(&Topology) -> Option<Topology>) -> bool {
        let mut version = 0;
        let replaced = self.sender.send_if_modified(|current| {
            let Some(mut next) = next(current) else {
                return false;
            };
            version = current.version + 1;
            next.version = version;
            self.epoch.store(next.epoch, Ordering::Relaxed);
            *current = Arc::new(next);
            true
        });
        step();
        self.version.fetch_max(version, Ordering::Release);
        replaced
    }

    /// Asks for a refresh because this node misbehaved. All suspicions that arrive before the
    /// refresh begins share it.
    pub(crate) fn suspect(&self, node: &Node) {
        let first = self.suspects.lock().insert(node.clone());
        if first {
            self.suspicion.notify_one();
        }
    }

    /// Asks for a refresh without a suspicion.
    pub(crate) fn request_refresh(&self) {
        self.suspicion.notify_one();
    }

    /// Waits until a refresh is asked for.
    pub(crate) async fn refresh_requested(&self) {
        self.suspicion.notified().await;
    }

    /// Takes the nodes under suspicion, which ends it.
    pub(crate) fn take_suspects(&self) -> HashSet<Node> {
        std::mem::take(&mut *self.suspects.lock())
    }
}

#[cfg(test)]
mod tests;
