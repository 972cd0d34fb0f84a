//! Which addresses name the same server. Pure.
//!
//! A server goes by many addresses: the name that one Sentinel announces and the IP address that
//! another one does, the name by which a replica knows its master, `127.0.1.1` on its own host. Two
//! texts that differ prove nothing. What proves that two are one:
//!
//! - the run id, drawn anew at each start of a server, which Sentinels know and the server itself tells;
//! - the IP address and port that both resolve to;
//! - the replication id (`master_replid`): a replica whose link is up has that of its master.
//!
//! Each server gets one address here, and whatever Sentinels and nodes say is put in terms of it before
//! anything is decided, so that the rules may compare addresses as text.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    node::{Node, announced},
    refresh::{
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
#[derive(Debug, Clone, Copy)]
pub(super) struct Clues<'a> {
    pub(super) current: &'a Topology,
    /// What each Sentinel said last.
    pub(super) answers: &'a [&'a Answer],
    pub(super) node_reports: &'a NodeReports,
    pub(super) identities: &'a HashMap<Node, Identity>,
    pub(super) addresses: &'a Addresses,
}

/// What two addresses of one server have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Trait {
    RunId(String),
    Endpoint(IpAddr, u16),
    Name(String, u16),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Aliases {
    canonical: HashMap<Node, Node>,
    /// Addresses of servers that somebody announced, as opposed to those that only occur as the
    /// master of a replica.
    known: HashSet<Node>,
    /// Addresses of which nothing tells which server they name.
    unclear: HashSet<Node>,
}

impl Aliases {
    pub(super) fn learn(clues: &Clues<'_>) -> Self {
        let mut groups = Groups::collect(clues);
        groups.unite_by_traits(clues);
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

    /// Other addresses of servers that cannot be reached by the one they go by here, where it is not
    /// known whether they can be reached by these.
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
        // Of two entries for one server the one that is read from stays.
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

    /// What each Sentinel answered, in the order of the words.
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
        // Of two entries for one server, the one that tells more.
        view.replicas.sort_by_key(|replica| {
            let ReplicaInfo { node, flags, .. } = replica;
            let promoted = flags.has(Flag::Promoted);
            let down = flags.has(Flag::SubjectivelyDown);
            (node.clone(), !promoted, down)
        });
        view.replicas
            .dedup_by(|second, first| second.node == first.node);
    }

    /// What the nodes say, each by the address it goes by: that another of its addresses can be
    /// reached says nothing about this one.
    pub(super) fn node_reports(&self, node_reports: &NodeReports) -> NodeReports {
        let canonical = node_reports
            .iter()
            .filter(|(node, _)| self.node(node) == **node);
        canonical
            .map(|(node, node_report)| {
                let mut node_report = node_report.clone();
                if let NodeReport::Replica {
                    master, unclear, ..
                } = &mut node_report
                {
                    *unclear = self.unclear.contains(master);
                    *master = self.node(master);
                }
                (node.clone(), node_report)
            })
            .collect()
    }

    /// An event with its nodes as they go by here. A Sentinel publishes about *its* master, so where
    /// nothing tells that this is another server than ours it is ours, whatever it is called.
    pub(super) fn event(&self, event: &Event, ours: Option<&Node>) -> Event {
        let is_known = |node: &Node| self.known.contains(node);
        let master = event.master.as_ref().map(|node| match ours {
            Some(ours) if !is_known(node) => ours.clone(),
            _ => self.node(node),
        });
        Event {
            node: event.node.as_ref().map(|node| self.node(node)),
            master,
            ..event.clone()
        }
    }
}

/// Sets of addresses that name the same server.
#[derive(Debug, Default)]
struct Groups {
    /// Each address with the index of its set in `parents`.
    nodes: BTreeMap<Node, usize>,
    parents: Vec<usize>,
    /// How many Sentinels announce it.
    votes: HashMap<Node, usize>,
    known: HashSet<Node>,
}

impl Groups {
    fn collect(clues: &Clues<'_>) -> Self {
        let mut groups = Self::default();
        let current = clues.current;
        let replicas = current.replicas.iter().map(|replica| &replica.node);
        for node in replicas
            .chain(&current.master)
            .chain(&current.previous_master)
        {
            groups.add(node);
            groups.known.insert(node.clone());
        }
        for view in clues
            .answers
            .iter()
            .filter_map(|answer| answer.view.as_ref())
        {
            let announced = view.replicas.iter().map(|replica| &replica.node);
            for node in announced.chain([&view.master]) {
                groups.add(node);
                groups.known.insert(node.clone());
                *groups.votes.entry(node.clone()).or_default() += 1;
            }
            for master in view.replicas.iter().filter_map(|r| r.master.as_ref()) {
                groups.add(master);
            }
        }
        for answer in clues.answers {
            let failover_flag = answer.failover_flag.as_ref().map(|(node, _)| node);
            let listed = answer.master_run_id.as_ref().map(|(node, _)| node);
            for node in failover_flag.into_iter().chain(listed) {
                groups.add(node);
                groups.known.insert(node.clone());
            }
        }
        for (node, node_report) in clues.node_reports {
            groups.add(node);
            groups.known.insert(node.clone());
            if let NodeReport::Replica { master, .. } = node_report {
                groups.add(master);
            }
        }
        groups
    }

    fn add(&mut self, node: &Node) {
        if !self.nodes.contains_key(node) {
            self.nodes.insert(node.clone(), self.parents.len());
            self.parents.push(self.parents.len());
        }
    }

    fn is_known(&self, node: &Node) -> bool {
        self.known.contains(node)
    }

    fn set_of(&self, node: &Node) -> usize {
        let mut set = self.nodes[node];
        while self.parents[set] != set {
            set = self.parents[set];
        }
        set
    }

    fn unite(&mut self, one: &Node, other: &Node) {
        let (one, other) = (self.set_of(one), self.set_of(other));
        self.parents[other] = one;
    }

    fn unite_by_traits(&mut self, clues: &Clues<'_>) {
        let mut traits: Vec<(Trait, Node)> = Vec::new();
        for node in self.nodes.keys() {
            traits.extend(
                endpoints(node, clues).map(|ip| (Trait::Endpoint(ip, node.port()), node.clone())),
            );
            // DNS knows no case, and a name may end in a dot.
            let name = node.host().trim_end_matches('.').to_ascii_lowercase();
            traits.push((Trait::Name(name, node.port()), node.clone()));
        }
        let run_ids = clues.answers.iter().flat_map(|answer| {
            let replicas = answer.view.iter().flat_map(|view| &view.replicas);
            let replicas =
                replicas.filter_map(|replica| Some((&replica.node, replica.run_id.as_ref()?)));
            let master = answer.master_run_id.as_ref().map(|(node, id)| (node, id));
            replicas.chain(master)
        });
        let own = clues.identities.iter();
        let own = own.filter_map(|(node, identity)| Some((node, identity.run_id.as_ref()?)));
        traits.extend(
            run_ids
                .chain(own)
                .map(|(node, id)| (Trait::RunId(id.clone()), node.clone())),
        );
        let mut first: HashMap<Trait, Node> = HashMap::new();
        for (shared, node) in traits {
            if !self.nodes.contains_key(&node) {
                continue;
            }
            if let Some(first) = first.get(&shared) {
                self.unite(&first.clone(), &node);
            } else {
                first.insert(shared, node);
            }
        }
    }

    /// A replica has the replication id of its master. Where it knows it by an address that nobody
    /// announces, that is how the two are brought together; a master that somebody announces is a
    /// node in its own right, also where that one is itself a replica with the same id.
    fn unite_by_timeline(&mut self, clues: &Clues<'_>) {
        let timeline = |node: &Node| clues.identities.get(node)?.timeline.as_ref();
        let proven = clues.node_reports.iter();
        let proven = proven.filter(|(_, node_report)| **node_report == NodeReport::Master);
        // Between two looks it has not said so lately, and is the master all the same.
        let ours = clues.current.master.iter();
        let ours = ours.filter(|master| !clues.node_reports.contains_key(*master));
        let masters: HashMap<&String, &Node> = proven
            .map(|(node, _)| node)
            .chain(ours)
            .filter_map(|node| Some((timeline(node)?, node)))
            .collect();
        for (node, node_report) in clues.node_reports {
            let NodeReport::Replica {
                master, link: None, ..
            } = node_report
            else {
                continue;
            };
            let set = self.set_of(master);
            let announced = self.known.iter().any(|node| self.set_of(node) == set);
            if let Some(ours) = timeline(node).and_then(|id| masters.get(id))
                && !announced
            {
                self.unite(ours, master);
            }
        }
    }

    fn sets(&self) -> Vec<Vec<Node>> {
        let mut groups: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
        for node in self.nodes.keys() {
            groups
                .entry(self.set_of(node))
                .or_default()
                .push(node.clone());
        }
        groups.into_values().collect()
    }

    /// The address by which a server goes: the one it has, as long as it can be reached by it or by
    /// no other; at first one that it can be reached by, then the one most Sentinels announce.
    fn choose<'a>(&self, group: &[&'a Node], clues: &Clues<'_>) -> &'a Node {
        let current = clues.current;
        let rank = |node: &Node| {
            let mut replicas = current.replicas.iter();
            let replica = replicas.find(|replica| replica.node == *node);
            match replica {
                _ if current.master.as_ref() == Some(node) => Some(0),
                Some(replica) => Some(if replica.is_readable() { 1 } else { 2 }),
                None => (current.previous_master.as_ref() == Some(node)).then_some(3),
            }
        };
        let had = group.iter().filter(|node| rank(node).is_some());
        let had = had.min_by_key(|node| rank(node));
        let failed =
            |node: &Node| matches!(clues.node_reports.get(node), Some(NodeReport::Failed(_)));
        let good = |node: &Node| clues.node_reports.contains_key(node) && !failed(node);
        match had {
            Some(node) if !failed(node) || !group.iter().any(|other| good(other)) => node,
            _ => {
                let votes = |node: &Node| self.votes.get(node).copied().unwrap_or(0);
                let order = |node: &&&Node| {
                    (
                        good(node),
                        !failed(node),
                        votes(node),
                        Reverse(node.to_string()),
                    )
                };
                group
                    .iter()
                    .max_by_key(order)
                    .expect("BUG: a group without a node")
            }
        }
    }
}

/// The IP addresses of a node, where they are those of one host: a name with several addresses of a
/// family stands for several servers, as a headless Kubernetes service does.
fn endpoints<'a>(node: &Node, clues: &Clues<'a>) -> impl Iterator<Item = IpAddr> + use<'a> {
    let literal = announced::ip(node.host()).map(|ip| vec![ip]);
    let resolved = || {
        clues
            .addresses
            .get(node.host())
            .cloned()
            .unwrap_or_default()
    };
    let mut addresses: Vec<IpAddr> = literal.unwrap_or_else(resolved);
    for address in &mut addresses {
        *address = address.to_canonical();
    }
    addresses.sort_unstable();
    addresses.dedup();
    let of_one_host = !addresses
        .windows(2)
        .any(|pair| pair[0].is_ipv4() == pair[1].is_ipv4());
    addresses.into_iter().filter(move |_| of_one_host)
}

fn has_endpoint(node: &Node, clues: &Clues<'_>) -> bool {
    endpoints(node, clues).next().is_some()
}

#[cfg(test)]
mod tests;
