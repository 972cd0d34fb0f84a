//! What changes from one topology to the next, told once for each change, before it is published.

use crate::{
    node::Node,
    refresh::decide::fence::Raised,
    topology::{Replica, Topology, excluded::Excluded},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Change {
    MasterChanged {
        old: Option<Node>,
        new: Node,
        epoch: u64,
    },
    /// It cannot be reached.
    MasterLost {
        node: Node,
        error: String,
    },
    MasterBack {
        node: Node,
    },
    FenceRaised {
        sign: String,
    },
    FenceLifted,
    ReplicaAdded {
        node: Node,
    },
    ReplicaRemoved {
        node: Node,
    },
    ReplicaExcluded {
        node: Node,
        why: Excluded,
    },
    ReplicaReadable {
        node: Node,
    },
}

/// What is different in `next`, the gravest first.
pub(super) fn between(before: &Topology, next: &Topology) -> Vec<Change> {
    let mut changes = Vec::new();
    changes.extend(master(before, next));
    changes.extend(reachability(before, next));
    changes.extend(fence(before, next));
    for replica in &next.replicas {
        let known = find(before, &replica.node);
        if known.is_none() {
            let node = replica.node.clone();
            changes.push(Change::ReplicaAdded { node });
        }
        changes.extend(state(known, replica));
    }
    let gone = before.replicas.iter();
    let gone = gone.filter(|replica| find(next, &replica.node).is_none());
    changes.extend(gone.map(|replica| Change::ReplicaRemoved {
        node: replica.node.clone(),
    }));
    changes
}

fn master(before: &Topology, next: &Topology) -> Option<Change> {
    let new = next.master.clone()?;
    let epoch = next.epoch;
    let old = before.master.clone();
    (old.as_ref() != Some(&new)).then_some(Change::MasterChanged { old, new, epoch })
}

fn reachability(before: &Topology, next: &Topology) -> Option<Change> {
    let node = next.master.clone()?;
    let same = before.master.as_ref() == Some(&node);
    let was_lost = same && before.master_error.is_some();
    match &next.master_error {
        Some(error) if !was_lost => {
            let error = error.clone();
            Some(Change::MasterLost { node, error })
        }
        None if was_lost => Some(Change::MasterBack { node }),
        _ => None,
    }
}

fn fence(before: &Topology, next: &Topology) -> Option<Change> {
    match (&before.fence, &next.fence) {
        (None, Some(sign)) => Some(Change::FenceRaised { sign: sign.clone() }),
        (Some(_), None) => Some(Change::FenceLifted),
        _ => None,
    }
}

/// Details do not count: how long a link has been down differs at every refresh. That a new replica was not
/// asked yet goes without saying.
fn state(known: Option<&Replica>, replica: &Replica) -> Option<Change> {
    let node = replica.node.clone();
    let label = |replica: &Replica| replica.excluded.as_ref().map(Excluded::as_str);
    match (known, &replica.excluded) {
        (Some(known), _) if label(known) == label(replica) => None,
        (_, None) => Some(Change::ReplicaReadable { node }),
        (None, Some(Excluded::NotProven)) => None,
        (_, Some(why)) => {
            let why = why.clone();
            Some(Change::ReplicaExcluded { node, why })
        }
    }
}

fn find<'a>(topology: &'a Topology, node: &Node) -> Option<&'a Replica> {
    topology
        .replicas
        .iter()
        .find(|replica| replica.node == *node)
}

pub(super) fn log(change: &Change, raised: Option<&Raised>) {
    match change {
        Change::MasterChanged { old, new, epoch } => {
            tracing::info!(?new, epoch, ?old, "the master changed");
        }
        Change::MasterLost { node, error } => {
            tracing::warn!(master = %node, error, "the master {node} is lost; writes wait");
        }
        Change::MasterBack { node } => {
            tracing::info!(master = %node, "the master {node} is back");
        }
        Change::FenceRaised { sign } => {
            let kind = raised.map(|raised| raised.kind.as_str());
            tracing::warn!(kind, sign, "the fence is up: writes wait for a new master");
        }
        Change::FenceLifted => tracing::info!("the fence is down"),
        Change::ReplicaAdded { node } => tracing::info!(%node, "there is a new replica"),
        Change::ReplicaRemoved { node } => tracing::info!(%node, "a replica is gone"),
        Change::ReplicaExcluded { node, why } => {
            let reason = why.as_str();
            tracing::info!(%node, reason, "a replica is not read from: it {why}");
        }
        Change::ReplicaReadable { node } => tracing::info!(%node, "a replica is read from"),
    }
}

#[cfg(test)]
mod tests;
