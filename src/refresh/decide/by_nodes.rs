//! Who is master in a deployment without Sentinels, by what its nodes say of themselves. Pure.
//!
//! The node that says it is a master is the master. Nobody announces a promotion, so two nodes may say
//! so: while somebody promotes a replica by hand, or for good because somebody split one off. Then the
//! one counts that more of the others follow.

use std::{cmp::Reverse, collections::HashSet};

use crate::{
    node::Node,
    refresh::decide::{
        election::{Election, was_in_step},
        node_report::{NodeReport, NodeReports, names_as_master},
    },
    sentinel::{answer::View, flags::Flags, reply::ReplicaInfo},
    topology::Topology,
};

/// What else is known of the nodes.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    /// The configured nodes, each server once.
    pub(crate) nodes: &'a [Node],
    /// Whether no more reports are to be waited for before the first master is chosen.
    pub(crate) settled: bool,
    /// Nodes that were restarted since they said that they were replicas. One that comes back as a
    /// master may have lost its data.
    pub(crate) restarted: &'a HashSet<Node>,
    /// Masters that say that replicas are connected to them.
    pub(crate) followed: &'a HashSet<Node>,
    /// Replicas that have been masters beside our master for so long that they are no successors.
    pub(crate) dismissed: &'a HashSet<Node>,
}

/// Decides who is master.
pub(crate) fn elect(
    current: &Topology,
    node_reports: &NodeReports,
    standing: &Standing<'_>,
) -> Election {
    let unheard = |node: &&Node| !node_reports.contains_key(*node);
    let mut election = Election {
        ask: standing.nodes.iter().filter(unheard).cloned().collect(),
        ..Election::default()
    };
    let chosen = match &current.master {
        Some(master) => next(current, master, node_reports, standing),
        None if standing.settled => first(node_reports, standing),
        None => None,
    };
    // A master that is just being asked, as at every refresh, is no reason for another refresh.
    let mut master = current.master.iter();
    let asked = master.any(|master| !node_reports.contains_key(master));
    election.contested = chosen.is_none() && !asked;
    if let Some((node, unproven)) = chosen {
        election.adopt = Some((node.clone(), current.epoch));
        election.unproven = unproven;
    }
    election
}

/// The master, and what is uncertain about it.
type Choice<'a> = (&'a Node, Option<String>);

/// The first master. Every pool that has this configuration must choose the same.
fn first<'a>(node_reports: &NodeReports, standing: &Standing<'a>) -> Option<Choice<'a>> {
    let claims = |node: &Node| {
        let followers = followers(node, node_reports, standing);
        (followers, standing.followed.contains(node))
    };
    let masters = masters(node_reports, standing);
    let Some(best) = masters.iter().map(|node| claims(node)).max() else {
        // Where no node says that it is a master, one that may not tell its role may be it.
        let mut nodes = standing.nodes.iter();
        return nodes.find_map(|node| match node_reports.get(node) {
            Some(NodeReport::Unprovable(reason)) => Some((node, Some(reason.clone()))),
            _ => None,
        });
    };
    let mut best = masters.iter().filter(|node| claims(node) == best);
    let node = *best.next()?;
    let rival = best.next();
    Some((node, rival.map(|rival| tie(node, rival, "is listed first"))))
}

/// The master after `master`, which may stay the same. `None`: it stays for now, and cannot be
/// confirmed.
fn next<'a>(
    current: &Topology,
    master: &'a Node,
    node_reports: &NodeReports,
    standing: &Standing<'a>,
) -> Option<Choice<'a>> {
    let followers = |node: &Node| followers(node, node_reports, standing);
    let mut rivals = masters(node_reports, standing);
    rivals.retain(|node| *node != master);
    rivals.sort_by_key(|node| Reverse(followers(node)));
    let ours = followers(master);
    let stronger = rivals.first().filter(|node| followers(node) > ours);
    let report = node_reports.get(master);
    match report {
        None => None,
        Some(NodeReport::Master) => Some(match (stronger, rivals.first()) {
            (Some(rival), _) => (rival, None),
            (None, Some(rival)) if followers(rival) == ours => {
                (master, Some(tie(master, rival, "was the master before")))
            }
            (None, _) => (master, None),
        }),
        Some(NodeReport::Unprovable(reason)) => match stronger {
            Some(rival) => Some((rival, None)),
            None => Some((master, Some(reason.clone()))),
        },
        // A master that is gone, or that is a replica now, is followed by a node that was promoted.
        // That a node says it is a master is not enough: it may have been split off long ago.
        Some(_) => {
            let mut listed = standing.nodes.iter();
            let handed_over = listed.any(|node| names_as_master(report, node));
            let promoted = |node: &Node| {
                followers(node) > 0
                    || !handed_over
                        && was_in_step(current, node)
                        && !standing.dismissed.contains(node)
                        && !standing.restarted.contains(node)
            };
            // It follows a node by a name that only it knows, so any one of ours may be that node.
            let unclear = matches!(
                report,
                Some(NodeReport::Replica { unclear: true, .. } | NodeReport::SomeReplica)
            );
            rivals.retain(|node| promoted(node) || unclear);
            match rivals[..] {
                [node] => Some((node, None)),
                [node, second, ..] if followers(node) > followers(second) => Some((node, None)),
                _ => None,
            }
        }
    }
}

fn masters<'a>(node_reports: &NodeReports, standing: &Standing<'a>) -> Vec<&'a Node> {
    let says_so = |node: &&Node| node_reports.get(*node) == Some(&NodeReport::Master);
    standing.nodes.iter().filter(says_so).collect()
}

/// How many of the nodes say that they follow this one.
fn followers(node: &Node, node_reports: &NodeReports, standing: &Standing<'_>) -> usize {
    let follow = |other: &&Node| names_as_master(node_reports.get(*other), node);
    standing.nodes.iter().filter(follow).count()
}

fn tie(master: &Node, rival: &Node, why: &str) -> String {
    format!("{master} and {rival} both say that they are masters, and {master} {why}")
}

/// The nodes as a Sentinel would list them: all but the master are replicas, and the nodes themselves
/// say the rest.
pub(crate) fn view(master: &Node, nodes: &[Node]) -> View {
    let replicas = nodes.iter().filter(|node| *node != master);
    let replicas = replicas.map(|node| ReplicaInfo {
        node: node.clone(),
        flags: Flags::parse(b"slave"),
        link_ok: None,
        link_down_for: None,
        master: None,
        reports_master: false,
        run_id: None,
    });
    View {
        master: master.clone(),
        epoch: 0,
        replicas: replicas.collect(),
        informed: true,
        master_down: false,
    }
}

#[cfg(test)]
mod tests;
