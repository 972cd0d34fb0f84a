//! Which replicas there are, and which of them may be read from. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, exclusion, follows, names_as_master},
    sentinel::answer::View,
    topology::{Replica, Topology, excluded::Excluded},
};

/// How long a replica that follows our master is read from although no Sentinel lists it. A
/// Sentinel that was just reset lists a replica as soon as the master's INFO names it, and the
/// master's list is complete at once, but for replicas that are reconnecting.
const UNLISTED_GRACE: Duration = Duration::from_secs(5);

/// Every node that the Sentinels or the last snapshot call a replica of `master`, each with the
/// reason not to read from it, and the nodes whose own report is still missing.
pub(crate) fn replicas(
    current: &Topology,
    master: &Node,
    views: &[View],
    node_reports: &NodeReports,
    version: u64,
    now: Instant,
) -> (Vec<Replica>, Vec<Node>) {
    let views: Vec<_> = views.iter().filter(|view| view.master == *master).collect();
    let blind = are_blind(current, master, &views, node_reports);
    let mut ask = Vec::new();
    let mut replicas = Vec::new();
    for node in known_nodes(current, master, &views) {
        let before = current.replicas.iter().find(|r| r.node == *node);
        let report = node_reports.get(node);
        let nomination = nomination(node, master, &views);
        if nomination.is_none() && is_gone(before, report, master, &views) {
            continue;
        }
        let unlisted = nomination.is_none() && is_left_off(&views);
        let unlisted = unlisted.then(|| before.and_then(|before| before.unlisted).unwrap_or(now));
        if unlisted.is_some_and(|since| now - since >= UNLISTED_GRACE) {
            continue;
        }
        // A Sentinel that calls a healthy master down cannot sign in to the nodes, or cannot reach
        // them. So that it calls a replica down does not count.
        let objection = nomination
            .flatten()
            .filter(|objection| !(blind && *objection == Excluded::SubjectivelyDown));
        if report.is_none() && !objection.as_ref().is_some_and(is_final) {
            ask.push(node.clone());
        }
        replicas.push(Replica {
            node: node.clone(),
            excluded: excluded(objection, before, report, master),
            since: before.map_or(version, |replica| replica.since),
            synced: follows(report, master) || before.is_some_and(|replica| replica.synced),
            // Stays until the node or its master has been asked again.
            orphaned: report.is_none() && before.is_some_and(|replica| replica.orphaned),
            unlisted,
        });
    }
    keep_orphans(&mut replicas, master, node_reports, &mut ask);
    (replicas, ask)
}

/// The nodes that may be replicas, in the order of their addresses.
fn known_nodes<'a>(current: &'a Topology, master: &Node, views: &[&'a View]) -> Vec<&'a Node> {
    let listed = views.iter().flat_map(|view| &view.replicas);
    let listed = listed.map(|replica| &replica.node);
    let known = current.replicas.iter().map(|replica| &replica.node);
    // The Sentinels list the previous master as a replica only from `+switch-master` on. Knowing it
    // at once, it can be read as soon as it follows the new master.
    let nodes = listed.chain(known).chain(current.master.as_ref());
    let mut nodes: Vec<&Node> = nodes.filter(|node| *node != master).collect();
    nodes.sort_unstable();
    nodes.dedup();
    nodes
}

/// Whether a node that nobody lists is gone: it does not follow our master.
///
/// Without its own report a known replica stays, since a Sentinel that was just reset lists nobody
/// for a while. Where no Sentinel can be asked it stays as well.
fn is_gone(
    before: Option<&Replica>,
    report: Option<&NodeReport>,
    master: &Node,
    views: &[&View],
) -> bool {
    let unlisted = report.is_some() && !views.is_empty();
    !follows(report, master) && (unlisted || before.is_none())
}

/// Why a replica may not be read from, given the objection of most Sentinels and its own report.
fn excluded(
    objection: Option<Excluded>,
    before: Option<&Replica>,
    report: Option<&NodeReport>,
    master: &Node,
) -> Option<Excluded> {
    match (objection, report) {
        (Some(objection), _) if is_final(&objection) => Some(objection),
        // What Sentinel saw in its last INFO may be 10 s old, but a node that may not tell which
        // master it follows cannot refute it.
        (Some(objection), Some(NodeReport::SomeReplica | NodeReport::Unprovable(_))) => {
            Some(objection)
        }
        // Any other node knows better itself.
        (_, Some(report)) => exclusion(report, master),
        // Right after a switch no replica has reported yet; its last state stays until it has.
        (objection, None) => match before {
            Some(replica) => replica.excluded.clone(),
            None => Some(objection.unwrap_or(Excluded::NotProven)),
        },
    }
}

/// Whether most Sentinels call the master down although it is well.
fn are_blind(
    current: &Topology,
    master: &Node,
    views: &[&View],
    node_reports: &NodeReports,
) -> bool {
    let well = match node_reports.get(master) {
        // Between two refreshes its last report counts.
        None => current.master.as_ref() == Some(master) && current.master_error.is_none(),
        node_report => node_report == Some(&NodeReport::Master),
    };
    well && views.iter().filter(|view| view.master_down).count() * 2 > views.len()
}

/// Whether most Sentinels know which replicas there are. A replica that they do not list was then
/// taken off their lists (`replica-announced no`).
fn is_left_off(views: &[&View]) -> bool {
    views.iter().filter(|view| view.informed).count() * 2 > views.len()
}

/// Keeps replicas readable that only lost their link, while the master does not prove that it is
/// there.
///
/// A master that dies leaves every replica without a link at once. Until the next one is elected
/// there is nothing else to read from.
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
        // A replica in a full synchronization may have thrown its data away.
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

/// Keeps the replicas of the previous master readable while the new one is not announced.
///
/// They still follow the previous master. They have all writes that it got before writes to it ended.
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

/// Whether the node itself need not be asked. A node that Sentinel gave up is never dialled: clusters
/// leave such ghosts behind for ever.
fn is_final(objection: &Excluded) -> bool {
    matches!(objection, Excluded::IsMaster | Excluded::SubjectivelyDown)
}

/// `None` where no Sentinel lists the node; otherwise the objection of most of those that list it.
///
/// A single confused Sentinel cannot take a replica away. A final objection counts only where most
/// Sentinels make a final one.
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
