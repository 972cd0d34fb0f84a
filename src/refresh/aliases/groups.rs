//! Sets of addresses that name the same server.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    net::IpAddr,
};

use crate::{
    node::{Node, announced},
    refresh::{aliases::Clues, decide::node_report::NodeReport},
};

/// What two addresses of one server have in common.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Fingerprint {
    RunId(String),
    Endpoint(IpAddr, u16),
    Name(String, u16),
}

#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Each address with the index of its set in `parents`.
    nodes: BTreeMap<Node, usize>,
    parents: Vec<usize>,
    /// How many Sentinels announce each address.
    votes: HashMap<Node, usize>,
    known: HashSet<Node>,
}

impl Groups {
    pub(super) fn collect(clues: &Clues<'_>) -> Self {
        let mut groups = Self::default();
        let current = clues.current;
        let replicas = current.replicas.iter().map(|replica| &replica.node);
        for node in replicas
            .chain(&current.master)
            .chain(&current.previous_master)
            .chain(clues.listed)
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

    pub(super) fn is_known(&self, node: &Node) -> bool {
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

    pub(super) fn unite_by_fingerprint(&mut self, clues: &Clues<'_>) {
        let mut prints: Vec<(Fingerprint, Node)> = Vec::new();
        for node in self.nodes.keys() {
            prints.extend(
                endpoints(node, clues)
                    .map(|ip| (Fingerprint::Endpoint(ip, node.port()), node.clone())),
            );
            // DNS knows no case, and a name may end in a dot.
            let name = node.host().trim_end_matches('.').to_ascii_lowercase();
            prints.push((Fingerprint::Name(name, node.port()), node.clone()));
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
        prints.extend(
            run_ids
                .chain(own)
                .map(|(node, id)| (Fingerprint::RunId(id.clone()), node.clone())),
        );
        let mut first: HashMap<Fingerprint, Node> = HashMap::new();
        for (shared, node) in prints {
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

    /// A replica has the replication id of its master. Where a replica knows its master by an
    /// address that nobody announces, the id tells which node that is. An announced address is a
    /// node of its own, even if it has the same id: it may itself be a replica.
    pub(super) fn unite_by_timeline(&mut self, clues: &Clues<'_>) {
        let timeline = |node: &Node| clues.identities.get(node)?.timeline.as_ref();
        let proven = clues.node_reports.iter();
        let proven = proven.filter(|(_, node_report)| **node_report == NodeReport::Master);
        // Between two refreshes there may be no report of the master. The current master counts as
        // one even so.
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

    pub(super) fn sets(&self) -> Vec<Vec<Node>> {
        let mut groups: BTreeMap<usize, Vec<Node>> = BTreeMap::new();
        for node in self.nodes.keys() {
            groups
                .entry(self.set_of(node))
                .or_default()
                .push(node.clone());
        }
        groups.into_values().collect()
    }

    /// The canonical address of a server. The server keeps its current address as long as it
    /// answers there, or answers nowhere else. Otherwise it gets an address at which it answers; of
    /// several, the one that most Sentinels announce.
    pub(super) fn choose<'a>(&self, group: &[&'a Node], clues: &Clues<'_>) -> &'a Node {
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

/// The IP addresses of a node, if they are those of one host. A name with several addresses of one
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

pub(super) fn has_endpoint(node: &Node, clues: &Clues<'_>) -> bool {
    endpoints(node, clues).next().is_some()
}
