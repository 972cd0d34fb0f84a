//! Which addresses name the same server. Pure.
//!
//! One server may have many addresses. One Sentinel announces a name and another one an IP address.
//! A replica may know its master by yet another name, or as `127.0.1.1` on its own host. That two
//! addresses differ as text proves nothing. Two addresses name the same server when they share:
//!
//! - the run id, which a server draws anew at each start. Sentinels know it, and the server itself tells it;
//! - the IP address and port to which both resolve;
//! - the replication id (`master_replid`): a replica whose link is up has that of its master.
//!
//! Each server gets one *canonical* address. Everything that Sentinels and nodes say is renamed to
//! canonical addresses before anything is decided, so that the rules may compare addresses as text.

mod groups;

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    node::Node,
    refresh::{
        aliases::groups::{Groups, has_endpoint},
        decide::{
            node_report::{NodeReport, NodeReports},
            sentinel_report::SentinelReport,
        },
        probe::Identity,
    },
    sentinel::{
        answer::{Answer, View},
        event::Event,
        flags::Flag,
        reply::ReplicaInfo,
    },
    topology::{Replica, Topology},
};

/// What host names resolve to.
pub(super) type Addresses = HashMap<String, Vec<IpAddr>>;

/// What is known of the addresses.
#[derive(Debug)]
pub(super) struct Clues<'a> {
    pub(super) current: &'a Topology,
    /// The nodes that are configured, where there are no Sentinels. One may be a second name of a server
    /// whose report is just being renewed.
    pub(super) listed: &'a [Node],
    /// What each Sentinel said last.
    pub(super) answers: &'a [&'a Answer],
    pub(super) node_reports: &'a NodeReports,
    pub(super) identities: &'a HashMap<Node, Identity>,
    pub(super) addresses: &'a Addresses,
}

#[derive(Debug, Default)]
pub(super) struct Aliases {
    canonical: HashMap<Node, Node>,
    /// Addresses that were announced. Any other is known only because a replica names it as its
    /// master.
    known: HashSet<Node>,
    /// Addresses of which it is unknown which server they name.
    unclear: HashSet<Node>,
}

impl Aliases {
    pub(super) fn learn(clues: &Clues<'_>) -> Self {
        let mut groups = Groups::collect(clues);
        groups.unite_by_fingerprint(clues);
        groups.unite_by_timeline(clues);
        let mut aliases = Self::default();
        for group in groups.sets() {
            let known: Vec<&Node> = group.iter().filter(|node| groups.is_known(node)).collect();
            let canonical = match known[..] {
                [] => group[0].clone(),
                _ => groups.choose(&known, clues).clone(),
            };
            let unclear = known.is_empty() && !group.iter().any(|n| has_endpoint(n, clues));
            for node in group {
                if unclear {
                    aliases.unclear.insert(node.clone());
                } else if groups.is_known(&node) {
                    aliases.known.insert(node.clone());
                }
                aliases.canonical.insert(node, canonical.clone());
            }
        }
        aliases
    }

    /// Every address that was mentioned.
    pub(super) fn addresses(&self) -> impl Iterator<Item = &Node> {
        self.canonical.keys()
    }

    /// The addresses under which this server was announced, its canonical one among them.
    pub(super) fn announced<'a>(&'a self, node: &'a Node) -> impl Iterator<Item = &'a Node> {
        let others = self.known.iter();
        let others =
            others.filter(move |other| *other != node && self.canonical.get(*other) == Some(node));
        std::iter::once(node).chain(others)
    }

    /// Other addresses of servers that cannot be reached at their canonical one. Whether they can
    /// be reached at these is not known yet.
    pub(super) fn alternatives(&self, node_reports: &NodeReports) -> Vec<Node> {
        let failed = |node: &Node| matches!(node_reports.get(node), Some(NodeReport::Failed(_)));
        self.known
            .iter()
            .filter(|node| !node_reports.contains_key(*node) && failed(&self.canonical[*node]))
            .cloned()
            .collect()
    }

    pub(super) fn node(&self, node: &Node) -> Node {
        self.canonical.get(node).unwrap_or(node).clone()
    }

    pub(super) fn topology(&self, topology: &Topology) -> Topology {
        let master = topology.master.as_ref().map(|node| self.node(node));
        let mut seen: HashSet<Node> = master.iter().cloned().collect();
        let mut replicas: Vec<Replica> = topology.replicas.clone();
        for replica in &mut replicas {
            replica.node = self.node(&replica.node);
        }
        // Of two entries for one server, the readable one stays.
        replicas.sort_by_key(|replica| (replica.node.clone(), !replica.is_readable()));
        replicas.retain(|replica| seen.insert(replica.node.clone()));
        Topology {
            master,
            previous_master: topology
                .previous_master
                .as_ref()
                .map(|node| self.node(node)),
            replicas,
            ..topology.clone()
        }
    }

    /// What each Sentinel answered, in the order of the reports.
    pub(super) fn answers(&self, reports: &[SentinelReport<'_>]) -> Vec<Option<Answer>> {
        let answers = reports.iter().map(|report| report.answer);
        answers.map(|answer| Some(self.answer(answer?))).collect()
    }

    fn answer(&self, answer: &Answer) -> Answer {
        let mut answer = answer.clone();
        if let Some(view) = &mut answer.view {
            self.rename_view(view);
        }
        if let Some((node, _)) = &mut answer.failover_flag {
            *node = self.node(node);
        }
        answer
    }

    fn rename_view(&self, view: &mut View) {
        view.master = self.node(&view.master);
        for replica in &mut view.replicas {
            replica.node = self.node(&replica.node);
            replica.master = replica
                .master
                .take()
                .filter(|master| !self.unclear.contains(master))
                .map(|master| self.node(&master));
        }
        // Of two entries for one server, the one that says more stays.
        view.replicas.sort_by_key(|replica| {
            let ReplicaInfo { node, flags, .. } = replica;
            let promoted = flags.has(Flag::Promoted);
            let down = flags.has(Flag::SubjectivelyDown);
            (node.clone(), !promoted, down)
        });
        view.replicas
            .dedup_by(|second, first| second.node == first.node);
    }

    /// What the nodes say at their canonical addresses. Reports from other addresses are left out:
    /// that a server can be reached there says nothing about its canonical address.
    pub(super) fn node_reports(&self, node_reports: &NodeReports) -> NodeReports {
        let mut renamed = NodeReports::new();
        for (node, report) in node_reports {
            if self.node(node) != *node {
                continue;
            }
            let mut report = report.clone();
            if let NodeReport::Replica {
                master, unclear, ..
            } = &mut report
            {
                *unclear = self.unclear.contains(master);
                *master = self.node(master);
            }
            renamed.insert(node.clone(), report);
        }
        renamed
    }

    /// An event with canonical addresses. A Sentinel publishes events about *its* master, perhaps
    /// under an address that nobody else uses. Unless that address belongs to another known server,
    /// it stands for our master.
    pub(super) fn event(&self, event: &Event, ours: Option<&Node>) -> Event {
        let is_known = |node: &Node| self.known.contains(node);
        let master = event.master.as_ref().map(|node| match ours {
            Some(ours) if !is_known(node) => ours.clone(),
            _ => self.node(node),
        });
        Event {
            node: event.node.as_ref().map(|node| self.node(node)),
            master,
            kind: event.kind,
        }
    }
}

#[cfg(test)]
mod tests;
