//! Who is master by what the nodes say among themselves, for when no Sentinel can be asked.

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports, names_as_master},
    topology::Topology,
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Consensus {
    /// The failover came to nothing: the master says that it is one, and its replicas follow it.
    Stays,
    /// It went on: this replica says that it is a master now, and the others bear it out.
    Moved(Node),
    Unclear,
}

/// What the master and its replicas say together.
///
/// A failover that was under way when the Sentinels went has either reached the node that it
/// promotes or has not. If it has, this node says `master`; as soon as another node follows it, the
/// failover was announced and will stand. One that only says so itself is taken back by the Sentinels
/// when they return, as long as the old master is alive.
pub(crate) fn consensus(current: &Topology, node_reports: &NodeReports) -> Consensus {
    let Some(master) = &current.master else {
        return Consensus::Unclear;
    };
    let replicas = || current.replicas.iter().filter(|replica| replica.synced);
    let stands = node_reports.get(master) == Some(&NodeReport::Master);
    let followers = |of: &Node| {
        let nodes = replicas().map(|replica| &replica.node).chain([master]);
        nodes
            .filter(|node| names_as_master(node_reports.get(*node), of))
            .count()
    };
    let loyal = followers(master);
    let mut promoted: Vec<(usize, &Node)> = replicas()
        .map(|replica| &replica.node)
        .filter(|node| node_reports.get(*node) == Some(&NodeReport::Master))
        .map(|node| (followers(node), node))
        .collect();
    promoted.sort_unstable();
    match (stands, &promoted[..]) {
        (true, []) if loyal > 0 || replicas().next().is_none() => Consensus::Stays,
        (true, [.., (most, node)]) if *most > loyal => Consensus::Moved((*node).clone()),
        (true, [.., (most, _)]) if loyal > *most => Consensus::Stays,
        (false, [(_, node)]) => Consensus::Moved((*node).clone()),
        (false, [.., (second, _), (most, node)]) if most > second => {
            Consensus::Moved((*node).clone())
        }
        _ => Consensus::Unclear,
    }
}

/// The replica to which the master has handed over by itself: it says that it follows this one now.
///
/// That is how a failover ends for which the master stops taking writes and waits until the replica has
/// all of them (`FAILOVER`, and Valkey's `SENTINEL FAILOVER ... COORDINATED`). Once both say so there is
/// nothing that the Sentinels could add, who learn of it up to half a minute later.
pub(crate) fn successor(current: &Topology, node_reports: &NodeReports) -> Option<Node> {
    let report = node_reports.get(current.master.as_ref()?);
    let in_step = current.replicas.iter().filter(|replica| replica.synced);
    let mut nodes = in_step.map(|replica| &replica.node);
    nodes.find(|node| names_as_master(report, node)).cloned()
}

#[cfg(test)]
mod tests;
