//! Who is master, by what the nodes say, while no Sentinel can be asked. Pure.

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, names_as_master},
    topology::Topology,
};

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Consensus {
    /// No failover happened: the master says that it is one, and its replicas follow it.
    Stays,
    /// A failover happened: this replica says that it is a master now, and the others confirm it.
    Moved(Node),
    Unclear,
}

/// What the master and its replicas say together.
///
/// The Sentinels may have gone while a failover was under way. If it reached the node that it
/// promotes, this node says `master`. As soon as another node follows it, the failover was
/// announced and will last. If nobody follows it, the returning Sentinels make it a replica again,
/// as long as the old master is alive.
pub(crate) fn consensus(current: &Topology, node_reports: &NodeReports) -> Consensus {
    let Some(master) = &current.master else {
        return Consensus::Unclear;
    };
    let replicas = || current.replicas.iter().filter(|replica| replica.synced);
    let confirms = node_reports.get(master) == Some(&NodeReport::Master);
    let followers = |of: &Node| {
        let nodes = replicas().map(|replica| &replica.node).chain([master]);
        nodes
            .filter(|node| names_as_master(node_reports.get(*node), of))
            .count()
    };
    let unmoved = followers(master);
    let mut promoted: Vec<(usize, &Node)> = replicas()
        .map(|replica| &replica.node)
        .filter(|node| node_reports.get(*node) == Some(&NodeReport::Master))
        .map(|node| (followers(node), node))
        .collect();
    promoted.sort_unstable();
    match (confirms, &promoted[..]) {
        (true, []) if unmoved > 0 || replicas().next().is_none() => Consensus::Stays,
        (true, [.., (most, node)]) if *most > unmoved => Consensus::Moved((*node).clone()),
        (true, [.., (most, _)]) if unmoved > *most => Consensus::Stays,
        (false, [(_, node)]) => Consensus::Moved((*node).clone()),
        (false, [.., (second, _), (most, node)]) if most > second => {
            Consensus::Moved((*node).clone())
        }
        _ => Consensus::Unclear,
    }
}

/// The replica to which the master has handed over by itself: the master says that it follows it now.
///
/// In such a failover (`FAILOVER`, and Valkey's `SENTINEL FAILOVER ... COORDINATED`) the master
/// stops taking writes and waits until the replica has all of them. Once both nodes say so, the
/// Sentinels have nothing to add. They learn of it up to half a minute later.
pub(crate) fn successor(current: &Topology, node_reports: &NodeReports) -> Option<Node> {
    let report = node_reports.get(current.master.as_ref()?);
    let in_step = current.replicas.iter().filter(|replica| replica.synced);
    let mut nodes = in_step.map(|replica| &replica.node);
    nodes.find(|node| names_as_master(report, node)).cloned()
}

#[cfg(test)]
mod tests;
