//! What changes from one topology to the next, told once for each change, before it is published.

use crate::{
    events::{EventKind, Lifted},
    node::Node,
    refresh::decide::fence::{Raised, Tally},
    topology::{Replica, Topology, excluded::Excluded},
};

/// What the fence has to tell of itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct FenceTale<'a> {
    pub(super) raised: Option<&'a Raised>,
    /// When it was raised last.
    pub(super) before: Tally,
    pub(super) now: Tally,
}

/// What is different in `next`, the gravest first.
pub(super) fn between(before: &Topology, next: &Topology, tale: FenceTale<'_>) -> Vec<EventKind> {
    let mut changes = Vec::new();
    changes.extend(master(before, next));
    changes.extend(reachability(before, next));
    changes.extend(fence(before, next, tale));
    for replica in &next.replicas {
        let known = find(before, &replica.node);
        if known.is_none() {
            let node = replica.node.clone();
            changes.push(EventKind::ReplicaAdded { node });
        }
        changes.extend(state(known, replica));
    }
    let gone = before.replicas.iter();
    let gone = gone.filter(|replica| find(next, &replica.node).is_none());
    changes.extend(gone.map(|replica| EventKind::ReplicaRemoved {
        node: replica.node.clone(),
    }));
    changes
}

fn master(before: &Topology, next: &Topology) -> Option<EventKind> {
    let new = next.master.clone()?;
    let epoch = next.epoch;
    let old = before.master.clone();
    (old.as_ref() != Some(&new)).then_some(EventKind::MasterChanged { old, new, epoch })
}

fn reachability(before: &Topology, next: &Topology) -> Option<EventKind> {
    let node = next.master.clone()?;
    let same = before.master.as_ref() == Some(&node);
    let was_lost = same && before.master_error.is_some();
    match &next.master_error {
        Some(error) if !was_lost => {
            let error = error.clone();
            Some(EventKind::MasterLost { node, error })
        }
        None if was_lost => Some(EventKind::MasterBack { node }),
        _ => None,
    }
}

fn fence(before: &Topology, next: &Topology, tale: FenceTale<'_>) -> Option<EventKind> {
    match (&before.fence, &next.fence) {
        (None, Some(sign)) => Some(EventKind::FenceRaised {
            kind: tale.raised?.kind,
            sign: sign.clone(),
        }),
        (Some(_), None) => Some(EventKind::FenceLifted {
            held: tale.now.held - tale.before.held,
            outcome: if before.master != next.master {
                Lifted::NewMaster
            } else if tale.now.false_signs > tale.before.false_signs {
                Lifted::FalseSign
            } else {
                Lifted::OwnWord
            },
        }),
        _ => None,
    }
}

/// Details do not count: how long a link has been down differs at every refresh. That a new replica was not
/// asked yet goes without saying.
fn state(known: Option<&Replica>, replica: &Replica) -> Option<EventKind> {
    let node = replica.node.clone();
    let label = |replica: &Replica| replica.excluded.as_ref().map(Excluded::as_str);
    match (known, &replica.excluded) {
        (Some(known), _) if label(known) == label(replica) => None,
        (_, None) => Some(EventKind::ReplicaReadable { node }),
        (None, Some(Excluded::NotProven)) => None,
        (_, Some(why)) => {
            let why = why.clone();
            Some(EventKind::ReplicaExcluded { node, why })
        }
    }
}

fn find<'a>(topology: &'a Topology, node: &Node) -> Option<&'a Replica> {
    topology
        .replicas
        .iter()
        .find(|replica| replica.node == *node)
}

pub(super) fn log(change: &EventKind) {
    match change {
        EventKind::MasterChanged { old, new, epoch } => {
            tracing::info!(?new, epoch, ?old, "the master changed");
        }
        EventKind::MasterLost { node, error } => {
            tracing::warn!(master = %node, error, "the master {node} is lost; writes wait");
        }
        EventKind::MasterBack { node } => {
            tracing::info!(master = %node, "the master {node} is back");
        }
        EventKind::FenceRaised { kind, sign } => {
            let kind = kind.as_str();
            tracing::warn!(kind, sign, "the fence is up: writes wait for a new master");
        }
        EventKind::FenceLifted { held, outcome } => {
            let outcome = outcome.as_str();
            tracing::info!(?held, outcome, "the fence is down");
        }
        EventKind::ReplicaAdded { node } => tracing::info!(%node, "there is a new replica"),
        EventKind::ReplicaRemoved { node } => tracing::info!(%node, "a replica is gone"),
        EventKind::ReplicaExcluded { node, why } => {
            let reason = why.as_str();
            tracing::info!(%node, reason, "a replica is not read from: it {why}");
        }
        EventKind::ReplicaReadable { node } => tracing::info!(%node, "a replica is read from"),
        EventKind::SentinelsLost { reports } => {
            tracing::warn!(%reports, "no Sentinel answers: a failover would not be seen");
        }
        EventKind::SentinelsBack { .. } => tracing::info!("Sentinels answer again"),
        // Not of the topology.
        _ => {}
    }
}

#[cfg(test)]
mod tests;
