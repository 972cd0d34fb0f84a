//! Who is master, by what the Sentinels announce and the nodes say. Pure.
//!
//! Sentinels nominate, the node itself proves. An address comes from `GET-MASTER-ADDR-BY-NAME`, its
//! epoch from `SENTINEL MASTER`; the highest epoch whose node proves to be master wins.

use std::collections::BTreeSet;

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, names_as_master},
    sentinel::{answer::View, flags::Flag},
    topology::Topology,
};

/// A node that Sentinels say is the master.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim<'a> {
    node: &'a Node,
    epoch: u64,
    votes: usize,
}

/// The master to go on with, and what is still to be asked before more can be said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Election {
    /// The master with its epoch; `None` keeps what is.
    pub(crate) adopt: Option<(Node, u64)>,
    /// Why the adopted master has not proven its role itself, where it has not.
    pub(crate) unproven: Option<String>,
    /// Whether it is adopted before the Sentinels have announced it.
    pub(crate) ahead: bool,
    /// Nodes whose own word is needed.
    pub(crate) ask: Vec<Node>,
    /// The node that would be adopted if it said that it is a master.
    pub(crate) awaited: Option<Node>,
    /// Whether a claim stands that could be neither adopted nor put aside, so that it is worth
    /// looking again soon.
    pub(crate) contested: bool,
}

/// Decides who is master, from the latest word of each Sentinel that answered. `promoted` is the
/// replica that is known to take the master's place before it is announced. `electors` are the
/// Sentinels of which the first master needs most: those that are known, and once all of them have
/// answered or failed to those that answered.
///
/// It keeps the epoch of its predecessor, as the elder of the two: what the Sentinels announce under
/// a higher epoch counts before it, and the predecessor only as somebody under a lower epoch would.
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
    // A later one does not wait for Sentinels that are gone: those that answer decide.
    let voters = if current.master.is_none() {
        electors
    } else {
        views.len()
    };
    for claim in claims(views) {
        let majority = claim.votes * 2 > voters;
        if !is_candidate(current, floor, &claim, majority)
            || !is_vouched_for(current, claim.node, views.iter(), voters)
        {
            continue;
        }
        let incumbent = current.master.as_ref() == Some(claim.node);
        let ask = &mut election.ask;
        match node_reports.get(claim.node) {
            Some(NodeReport::Master) if replaces(current, floor, &claim, node_reports, ask) => {}
            Some(NodeReport::Unprovable(reason))
                if majority && replaces(current, floor, &claim, node_reports, ask) =>
            {
                election.unproven = Some(reason.clone());
            }
            // Known before and still named by the Sentinels: being unreachable for a moment does
            // not cost a master its place, only another node's proof does. A lone Sentinel that
            // still names it must not stand in the way of that either.
            node_report if incumbent => {
                if node_report.is_none() && claim.epoch != current.epoch {
                    ask.push(claim.node.clone());
                }
                floor = floor.max(claim.epoch);
                continue;
            }
            node_report => {
                election.contested = true;
                if node_report.is_none() {
                    election.ask.push(claim.node.clone());
                }
                if claim.epoch > floor && node_report != Some(&NodeReport::Master) {
                    let awaited = &mut election.awaited;
                    awaited.get_or_insert_with(|| claim.node.clone());
                }
                continue;
            }
        }
        election.unproven = election
            .unproven
            .or_else(|| disagreement(claim.node, views, voters));
        election.adopt = Some((claim.node.clone(), claim.epoch));
        return election;
    }
    election
}

/// The claims, most credible first: by epoch, then by how many Sentinels make them.
fn claims(views: &[View]) -> Vec<Claim<'_>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for view in views {
        match claims.iter_mut().find(|claim| *claim.node == view.master) {
            Some(claim) => {
                claim.votes += 1;
                claim.epoch = claim.epoch.max(view.epoch);
            }
            None => claims.push(Claim {
                node: &view.master,
                epoch: view.epoch,
                votes: 1,
            }),
        }
    }
    claims.sort_by_key(|claim| std::cmp::Reverse((claim.epoch, claim.votes)));
    claims
}

/// Whether a claim is worth a look at its node at all.
///
/// A lower epoch is what a restarted or partitioned Sentinel says, so a single one never counts.
/// But `SENTINEL REMOVE` and `MONITOR` start epochs anew: when most agree, it is the deployment
/// that changed and not one Sentinel that lags.
fn is_candidate(current: &Topology, floor: u64, claim: &Claim<'_>, majority: bool) -> bool {
    claim.epoch > floor
        || majority
        || (claim.epoch == floor && current.master.as_ref() == Some(claim.node))
}

/// Whether a node belongs to our deployment, so that it may become the master.
///
/// One that was seen in step with our master has its data. Any other may be the master of somebody
/// else, where a single Sentinel that is confused or lies must not lead us: most of those that
/// answered must know it, as the master or as a replica. So a deployment can be restored under
/// another address.
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

/// What is to be stated of a master that not even most of the Sentinels know.
fn disagreement(master: &Node, views: &[View], voters: usize) -> Option<String> {
    let named: BTreeSet<&Node> = views.iter().map(|view| &view.master).collect();
    let agreed = is_known_to_most(master, views.iter(), voters);
    (!agreed).then(|| {
        let count = named.len();
        format!("the Sentinels name {count} masters, and most of them do not know {master}")
    })
}

/// The first master, where all Sentinels that can answer have, and no node is known to most of them:
/// the one that most replicas follow. Every pool that meets these Sentinels must choose the same one,
/// so it waits until each node that is named has been asked.
fn choose_among_strangers(views: &[View], node_reports: &NodeReports, election: &mut Election) {
    let claims = claims(views);
    election.contested = !claims.is_empty();
    let listed = views.iter().flat_map(|view| &view.replicas);
    let listed = listed.filter(|replica| !replica.flags.has(Flag::SubjectivelyDown));
    let listed: BTreeSet<&Node> = listed.map(|replica| &replica.node).collect();
    let named = claims
        .iter()
        .map(|claim| claim.node)
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
    let chosen = claims
        .iter()
        .filter(|claim| node_reports.get(claim.node) == Some(&NodeReport::Master))
        .max_by_key(|claim| {
            let last = std::cmp::Reverse(claim.node);
            (followers(claim.node), claim.epoch, claim.votes, last)
        });
    if let Some(claim) = chosen {
        election.contested = false;
        election.adopt = Some((claim.node.clone(), claim.epoch));
        election.unproven = disagreement(claim.node, views, views.len());
    }
}

/// Whether this node was seen to follow our master, and to have its data.
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
    claim: &Claim<'_>,
    node_reports: &NodeReports,
    ask: &mut Vec<Node>,
) -> bool {
    let Some(old) = current.master.as_ref().filter(|old| *old != claim.node) else {
        return true;
    };
    // The predecessor of one that was adopted before it was announced is still announced.
    let outranked = claim.epoch == floor && current.previous_master.is_some();
    if claim.epoch >= floor && !outranked {
        return true;
    }
    match node_reports.get(old) {
        Some(NodeReport::Master) => false,
        // Where neither may tell its role, most Sentinels are all there is to go by.
        Some(NodeReport::Unprovable(_)) => {
            !matches!(node_reports.get(claim.node), Some(NodeReport::Master))
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
