//! Which replicas there are, and which of them may be read from. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, exclusion, follows, names_as_master},
    sentinel::answer::View,
    topology::{Replica, Topology, excluded::Excluded},
};

/// How long a replica that follows our master is read from although no Sentinel lists it: one that was
/// just reset lists a replica as soon as the master's INFO names it, and that one is up to date at once
/// but for replicas that are connecting anew.
const UNLISTED_GRACE: Duration = Duration::from_secs(5);

/// Every node the Sentinels, or the last snapshot, call a replica of `master`, each with the reason
/// that keeps it from being read, and the nodes whose own word is still missing.
pub(crate) fn replicas(
    current: &Topology,
    master: &Node,
    views: &[View],
    node_reports: &NodeReports,
    version: u64,
    now: Instant,
) -> (Vec<Replica>, Vec<Node>) {
    let views: Vec<_> = views.iter().filter(|view| view.master == *master).collect();
    let mut nodes: Vec<&Node> = views
        .iter()
        .flat_map(|view| view.replicas.iter().map(|replica| &replica.node))
        .chain(current.replicas.iter().map(|replica| &replica.node))
        // The deposed master is listed as a replica only from `+switch-master` on; knowing it at
        // once lets it be read as soon as it follows the new one.
        .chain(current.master.as_ref())
        .filter(|node| *node != master)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();

    let blind = are_blind(current, master, &views, node_reports);
    let mut ask = Vec::new();
    let mut replicas = Vec::with_capacity(nodes.len());
    for node in nodes {
        let before = current.replicas.iter().find(|r| r.node == *node);
        let nomination = nomination(node, master, &views);
        if nomination.is_none() && !follows(node_reports.get(node), master) {
            // Nobody lists it any more and it does not follow our master: it is gone. Without its
            // own word it stays, since a Sentinel that was just reset lists nobody for a while, and
            // where no Sentinel can be asked, that it is not listed means nothing.
            let unlisted = node_reports.contains_key(node) && !views.is_empty();
            if unlisted || before.is_none() {
                continue;
            }
        }
        let unlisted = nomination.is_none() && is_left_off(&views);
        let unlisted = unlisted.then(|| before.and_then(|before| before.unlisted).unwrap_or(now));
        if unlisted.is_some_and(|since| now - since >= UNLISTED_GRACE) {
            continue;
        }
        // A Sentinel that calls a master down which is well cannot sign in, or cannot reach this side.
        let objection = nomination
            .flatten()
            .filter(|objection| !(blind && *objection == Excluded::SubjectivelyDown));
        let excluded = match (objection, node_reports.get(node)) {
            // Never dial what Sentinel gave up: clusters leave such ghosts behind for ever.
            (Some(objection), _) if is_final(&objection) => Some(objection),
            // What Sentinel saw in its last INFO may be 10 s old, but a node that may not tell whom it
            // follows cannot refute it.
            (Some(objection), Some(NodeReport::SomeReplica | NodeReport::Unprovable(_))) => {
                Some(objection)
            }
            // Any other node knows better itself.
            (_, Some(node_report)) => exclusion(node_report, master),
            (objection, None) => {
                ask.push(node.clone());
                // Right after a switch every replica is unproven; the last good word stands until
                // the node itself has spoken.
                before.map_or_else(
                    || Some(objection.unwrap_or(Excluded::NotProven)),
                    |replica| replica.excluded.clone(),
                )
            }
        };
        let in_step = follows(node_reports.get(node), master);
        replicas.push(Replica {
            node: node.clone(),
            excluded,
            since: before.map_or(version, |replica| replica.since),
            synced: in_step || before.is_some_and(|replica| replica.synced),
            // Until the node or its master has spoken again, what was keeps.
            orphaned: !node_reports.contains_key(node)
                && before.is_some_and(|replica| replica.orphaned),
            unlisted,
        });
    }
    keep_orphans(&mut replicas, master, node_reports, &mut ask);
    (replicas, ask)
}

/// Whether most Sentinels call the master down, and it is well.
fn are_blind(
    current: &Topology,
    master: &Node,
    views: &[&View],
    node_reports: &NodeReports,
) -> bool {
    let well = match node_reports.get(master) {
        // Between two looks what it said last stands.
        None => current.master.as_ref() == Some(master) && current.master_error.is_none(),
        node_report => node_report == Some(&NodeReport::Master),
    };
    well && views.iter().filter(|view| view.master_down).count() * 2 > views.len()
}

/// Whether most Sentinels know which replicas there are, so that one that they do not list was taken
/// off their lists (`replica-announced no`).
fn is_left_off(views: &[&View]) -> bool {
    views.iter().filter(|view| view.informed).count() * 2 > views.len()
}

/// A master that dies leaves every replica without a link at once. They are all there is to read
/// from until the next one is elected, so as long as the master does not prove that it is there, a
/// replica that has its data and only lost its link stays readable.
fn keep_orphans(
    replicas: &mut [Replica],
    master: &Node,
    node_reports: &NodeReports,
    ask: &mut Vec<Node>,
) {
    if node_reports.get(master) == Some(&NodeReport::Master) {
        return;
    }
    for replica in replicas.iter_mut().filter(|replica| replica.synced) {
        // One that copies its master's data anew may have thrown its own away.
        let lost_its_link = match &replica.excluded {
            Some(Excluded::Syncing { state }) => state != "sync",
            Some(Excluded::LinkDown { .. }) => true,
            _ => false,
        };
        if lost_its_link {
            replica.excluded = None;
            replica.orphaned = true;
        }
    }
    if replicas.iter().any(|replica| replica.orphaned) && !node_reports.contains_key(master) {
        ask.push(master.clone());
    }
}

/// As long as a new master is not announced, the other replicas follow the old one. They have all that
/// it was sent before writes to it ended, so they stay readable.
pub(crate) fn keep_followers(
    replicas: &mut [Replica],
    previous_master: &Node,
    node_reports: &NodeReports,
) {
    for replica in replicas.iter_mut().filter(|replica| replica.synced) {
        let node_report = node_reports.get(&replica.node);
        let Some(NodeReport::Replica { link, .. }) =
            node_report.filter(|_| names_as_master(node_report, previous_master))
        else {
            continue;
        };
        if link.as_deref() != Some("sync") {
            replica.excluded = None;
            replica.orphaned = link.is_some();
        }
    }
}

/// Whether the node itself need not be asked.
fn is_final(objection: &Excluded) -> bool {
    matches!(objection, Excluded::IsMaster | Excluded::SubjectivelyDown)
}

/// `None` where no Sentinel lists the node; else whether most of those that do give a reason
/// against it, so that one confused Sentinel cannot take a replica away. A reason that the node
/// may not answer must itself be that of most.
fn nomination(node: &Node, master: &Node, views: &[&View]) -> Option<Option<Excluded>> {
    let listed: Vec<_> = views
        .iter()
        .filter_map(|view| view.replicas.iter().find(|replica| replica.node == *node))
        .map(|replica| replica.excluded(master))
        .collect();
    if listed.is_empty() {
        return None;
    }
    let most = |count: usize| count * 2 > listed.len();
    let (last, soft): (Vec<_>, Vec<_>) = listed.iter().flatten().partition(|o| is_final(o));
    Some(if most(last.len()) {
        last.first().copied().cloned()
    } else if most(last.len() + soft.len()) {
        soft.first().copied().cloned()
    } else {
        None
    })
}

#[cfg(test)]
mod tests;
