//! Who is master, by what the Sentinels announce and the nodes say. Pure.
//!
//! Sentinels nominate, the node itself proves. An address comes from `GET-MASTER-ADDR-BY-NAME`, its
//! epoch from `SENTINEL MASTER`; the highest epoch whose node proves to be master wins.

use std::{cmp::Reverse, collections::BTreeSet};

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, names_as_master},
    sentinel::{answer::View, flags::Flag},
    topology::Topology,
};

/// A node that Sentinels name as the master.
#[derive(Debug)]
struct Nominee<'a> {
    node: &'a Node,
    epoch: u64,
    votes: usize,
}

/// The master to go on with, and what must be asked before more can be said.
#[derive(Debug, Default)]
pub(crate) struct Election {
    /// The master to adopt, with its epoch; `None` if the current one stays.
    pub(crate) adopt: Option<(Node, u64)>,
    /// What is uncertain about the adopted master; `None` if nothing is.
    pub(crate) unproven: Option<String>,
    /// Whether it is adopted before the Sentinels have announced it.
    pub(crate) ahead: bool,
    /// Nodes whose own report is needed.
    pub(crate) ask: Vec<Node>,
    /// The node that would be adopted if it said that it is a master.
    pub(crate) awaited: Option<Node>,
    /// Whether a nominee could be neither adopted nor rejected, so that the next refresh should come
    /// soon.
    pub(crate) contested: bool,
}

/// Decides who is master, from the latest answer of each Sentinel. `promoted` is the replica that
/// is known to take the master's place before it is announced. `electors` is the number of
/// Sentinels of which the first master needs a majority.
///
/// A promoted node is adopted under the old epoch. A nominee with a higher epoch still wins. The
/// previous master is then treated as if its epoch were lower.
pub(crate) fn elect(
    current: &Topology,
    views: &[View],
    node_reports: &NodeReports,
    promoted: Option<&Node>,
    electors: usize,
) -> Election {
    let mut election = announced(current, views, node_reports, electors);
    if current.master.is_none() && election.adopt.is_none() && electors == views.len() {
        choose_among_strangers(views, node_reports, &mut election);
    }
    let adopt = election.adopt.as_ref();
    let newer = adopt.is_some_and(|(_, epoch)| *epoch > current.epoch);
    match promoted {
        Some(node) if !newer && node_reports.get(node) == Some(&NodeReport::Master) => Election {
            adopt: Some((node.clone(), current.epoch)),
            ahead: true,
            unproven: None,
            ..election
        },
        _ => election,
    }
}

/// Decides by what the Sentinels announce.
fn announced(
    current: &Topology,
    views: &[View],
    node_reports: &NodeReports,
    electors: usize,
) -> Election {
    let mut election = Election::default();
    let mut floor = current.epoch;
    // A later master does not wait for Sentinels that are gone: those that answer decide.
    let voters = if current.master.is_none() {
        electors
    } else {
        views.len()
    };
    for nominee in nominees(views) {
        let Nominee { node, epoch, votes } = nominee;
        let majority = votes * 2 > voters;
        if !is_eligible(current, floor, &nominee, majority)
            || !is_vouched_for(current, node, views.iter(), voters)
        {
            continue;
        }
        let report = node_reports.get(node);
        if may_be_master(report, majority)
            && replaces(current, floor, &nominee, node_reports, &mut election.ask)
        {
            election.unproven = uncertainty(node, report, views, voters);
            election.adopt = Some((node.clone(), epoch));
            return election;
        }
        // A master that is still named and cannot be reached for a moment keeps its place. It loses
        // it only to a node that proves to be master, and then a lone Sentinel that still names it
        // does not count.
        let incumbent = current.master.as_ref() == Some(node);
        if report.is_none() && (!incumbent || epoch != current.epoch) {
            election.ask.push(node.clone());
        }
        if incumbent {
            floor = floor.max(epoch);
            continue;
        }
        election.contested = true;
        if epoch > floor && report != Some(&NodeReport::Master) {
            election.awaited.get_or_insert_with(|| node.clone());
        }
    }
    election
}

/// What is uncertain about a node that becomes the master; `None` if nothing is.
fn uncertainty(
    node: &Node,
    report: Option<&NodeReport>,
    views: &[View],
    voters: usize,
) -> Option<String> {
    match report {
        Some(NodeReport::Unprovable(reason)) => Some(reason.clone()),
        _ => disagreement(node, views, voters),
    }
}

/// Whether a node is a master by its own report. Where it may not tell, most Sentinels must say so.
fn may_be_master(report: Option<&NodeReport>, majority: bool) -> bool {
    match report {
        Some(NodeReport::Master) => true,
        Some(NodeReport::Unprovable(_)) => majority,
        _ => false,
    }
}

/// The nodes that are named as the master, most credible first: by epoch, then by the number of
/// Sentinels that name it.
fn nominees(views: &[View]) -> Vec<Nominee<'_>> {
    let mut nominees: Vec<Nominee<'_>> = Vec::new();
    for view in views {
        let mut known = nominees.iter_mut();
        match known.find(|nominee| *nominee.node == view.master) {
            Some(nominee) => {
                nominee.votes += 1;
                nominee.epoch = nominee.epoch.max(view.epoch);
            }
            None => nominees.push(Nominee {
                node: &view.master,
                epoch: view.epoch,
                votes: 1,
            }),
        }
    }
    nominees.sort_by_key(|nominee| Reverse((nominee.epoch, nominee.votes)));
    nominees
}

/// Whether a nominee is considered at all.
///
/// A restarted or partitioned Sentinel names a lower epoch, so a single one never counts. But
/// `SENTINEL REMOVE` and `MONITOR` start epochs anew. When most agree on a lower epoch, the
/// deployment has changed.
fn is_eligible(current: &Topology, floor: u64, nominee: &Nominee<'_>, majority: bool) -> bool {
    nominee.epoch > floor
        || majority
        || (nominee.epoch == floor && current.master.as_ref() == Some(nominee.node))
}

/// Whether a node belongs to our deployment, so that it may become the master.
///
/// A node that was seen in step with our master has its data. Any other node may be the master of
/// another deployment, and a single Sentinel that is confused or lies must not lead us there. So
/// most of those that answered must know it, as the master or as a replica. That way a deployment
/// can be restored under another address.
pub(crate) fn is_vouched_for<'a>(
    current: &Topology,
    node: &Node,
    views: impl Iterator<Item = &'a View>,
    voters: usize,
) -> bool {
    if current.master.as_ref() == Some(node) || was_in_step(current, node) {
        return true;
    }
    is_known_to_most(node, views, voters)
}

fn is_known_to_most<'a>(node: &Node, views: impl Iterator<Item = &'a View>, voters: usize) -> bool {
    let knows = |view: &&View| {
        view.master == *node || view.replicas.iter().any(|replica| replica.node == *node)
    };
    views.filter(knows).count() * 2 > voters
}

/// The text for `unproven` if most Sentinels do not know the master.
fn disagreement(master: &Node, views: &[View], voters: usize) -> Option<String> {
    let named: BTreeSet<&Node> = views.iter().map(|view| &view.master).collect();
    let agreed = is_known_to_most(master, views.iter(), voters);
    (!agreed).then(|| {
        let count = named.len();
        format!("the Sentinels name {count} masters, and most of them do not know {master}")
    })
}

/// Chooses the first master if all Sentinels that can answer have answered, and no node is known to
/// most of them: the nominee that most replicas follow. Every pool that asks these Sentinels must
/// choose the same node, so the choice waits until each node that is named has been asked.
fn choose_among_strangers(views: &[View], node_reports: &NodeReports, election: &mut Election) {
    let nominees = nominees(views);
    election.contested = !nominees.is_empty();
    let listed = views.iter().flat_map(|view| &view.replicas);
    let listed = listed.filter(|replica| !replica.flags.has(Flag::SubjectivelyDown));
    let listed: BTreeSet<&Node> = listed.map(|replica| &replica.node).collect();
    let named = nominees
        .iter()
        .map(|nominee| nominee.node)
        .chain(listed.iter().copied());
    let unasked: BTreeSet<&Node> = named
        .filter(|node| !node_reports.contains_key(*node))
        .collect();
    if !unasked.is_empty() {
        election.ask = unasked.into_iter().cloned().collect();
        return;
    }
    let followers = |node: &Node| {
        let follow = |replica: &&&Node| names_as_master(node_reports.get(*replica), node);
        listed.iter().filter(follow).count()
    };
    let chosen = nominees
        .iter()
        .filter(|nominee| node_reports.get(nominee.node) == Some(&NodeReport::Master))
        .max_by_key(|nominee| {
            let last = Reverse(nominee.node);
            (followers(nominee.node), nominee.epoch, nominee.votes, last)
        });
    if let Some(nominee) = chosen {
        election.contested = false;
        election.adopt = Some((nominee.node.clone(), nominee.epoch));
        election.unproven = disagreement(nominee.node, views, views.len());
    }
}

/// Whether this node was seen as a replica of our master that has its data.
pub(crate) fn was_in_step(current: &Topology, node: &Node) -> bool {
    let mut replicas = current.replicas.iter();
    replicas.any(|replica| replica.node == *node && replica.synced)
        || current.previous_master.as_ref() == Some(node)
}

/// Whether a node that proved to be master, or may not prove anything, takes the place of the
/// current one, whose epoch is `floor`.
fn replaces(
    current: &Topology,
    floor: u64,
    nominee: &Nominee<'_>,
    node_reports: &NodeReports,
    ask: &mut Vec<Node>,
) -> bool {
    let Some(old) = current.master.as_ref().filter(|old| *old != nominee.node) else {
        return true;
    };
    // A master that was adopted before it was announced: the Sentinels still announce the previous
    // one.
    let outranked = nominee.epoch == floor && current.previous_master.is_some();
    if nominee.epoch >= floor && !outranked {
        return true;
    }
    match node_reports.get(old) {
        Some(NodeReport::Master) => false,
        // Where neither may tell its role, only the majority of the Sentinels is left to decide.
        Some(NodeReport::Unprovable(_)) => {
            !matches!(node_reports.get(nominee.node), Some(NodeReport::Master))
        }
        Some(_) => true,
        None => {
            ask.push(old.clone());
            false
        }
    }
}

#[cfg(test)]
mod disorder;
#[cfg(test)]
mod tests;
