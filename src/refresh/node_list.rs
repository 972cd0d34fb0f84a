//! The nodes of a deployment without Sentinels, as they were configured.

use std::collections::HashSet;

use crate::{
    config::Config,
    node::{Node, announced},
    refresh::{aliases::Aliases, decide::node_report::NodeReports},
    topology::Topology,
};

/// Empty where there are Sentinels.
#[derive(Debug)]
pub(super) struct NodeList(Vec<Node>);

impl NodeList {
    pub(super) fn new(config: &Config) -> Self {
        Self(config.node_addresses())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn all(&self) -> &[Node] {
        &self.0
    }

    /// By canonical addresses, each server once.
    pub(super) fn servers(&self, aliases: &Aliases) -> Vec<Node> {
        let mut seen = HashSet::new();
        let servers = self.0.iter().map(|node| aliases.node(node));
        servers.filter(|node| seen.insert(node.clone())).collect()
    }

    /// The nodes to ask. Second names of a server are asked too: they may lead to another one by now.
    pub(super) fn unheard(&self, node_reports: &NodeReports) -> Vec<Node> {
        let unheard = self
            .0
            .iter()
            .filter(|node| !node_reports.contains_key(*node));
        unheard.cloned().collect()
    }

    /// The names over whose open connection a node must not be asked again: a name may lead to another
    /// server by now.
    ///
    /// A replica by a name is left alone while all is well. Its name may stand for several replicas, and
    /// each new connection would lead to another one.
    pub(super) fn to_redial(
        &self,
        current: &Topology,
        suspects: &HashSet<Node>,
        aliases: &Aliases,
    ) -> Vec<Node> {
        let trouble = current.fence.is_some() || current.master_error.is_some();
        let master = current.master.as_ref();
        let names = self.0.iter().filter(|node| is_name(node));
        let due = names.filter(|node| {
            let server = aliases.node(node);
            trouble
                || suspects.contains(*node)
                || server != **node
                || master.is_none_or(|m| m == *node)
        });
        due.cloned().collect()
    }
}

fn is_name(node: &Node) -> bool {
    !node.is_unix() && announced::ip(node.host()).is_none()
}
