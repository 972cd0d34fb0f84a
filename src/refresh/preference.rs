//! Which of the known nodes are preferred. Pure.
//!
//! It does not say which of them are read from: `Topology::targets` and `role_pool::tier` do.

use std::{collections::HashMap, time::Duration};

use crate::{
    config::{Config, HostPattern, Prefer},
    node::Node,
    refresh::{
        aliases::{Addresses, Aliases},
        probe::Identity,
        round_trips::RoundTrips,
    },
    topology::Topology,
};

/// What is known of the nodes.
#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) config: &'a Config,
    pub(super) aliases: &'a Aliases,
    /// What host names resolve to.
    pub(super) addresses: &'a Addresses,
    pub(super) identities: &'a HashMap<Node, Identity>,
    pub(super) round_trips: &'a HashMap<Node, RoundTrips>,
}

impl Facts<'_> {
    /// The preferred nodes of this topology, in the order of their addresses. `before` were preferred until
    /// now.
    pub(super) fn preferred(&self, topology: &Topology, before: &[Node]) -> Vec<Node> {
        let replicas = topology.replicas.iter().map(|replica| &replica.node);
        let known = replicas.chain(&topology.master);
        let mut preferred: Vec<Node> = match &self.config.prefer {
            Prefer::Nobody => return Vec::new(),
            Prefer::Hosts(patterns) => known
                .filter(|node| self.is_meant(node, patterns))
                .cloned()
                .collect(),
            Prefer::Zone(zone) => known
                .filter(|node| self.is_in(node, zone))
                .cloned()
                .collect(),
            Prefer::Nearest { within } => self.nearest(topology, before, *within),
        };
        preferred.sort();
        preferred.dedup();
        preferred
    }

    /// Whether one of the patterns fits one of the addresses of the node.
    fn is_meant(&self, node: &Node, patterns: &[HostPattern]) -> bool {
        let dialled = self.config.address_of(node);
        self.aliases.announced(node).chain(&dialled).any(|name| {
            let resolved = self.addresses.get(name.host());
            let resolved = resolved.map_or(&[][..], Vec::as_slice);
            patterns.iter().any(|pattern| pattern.fits(name, resolved))
        })
    }

    fn is_in(&self, node: &Node, zone: &str) -> bool {
        let identity = self.identities.get(node);
        identity.is_some_and(|identity| identity.zone.as_deref() == Some(zone))
    }

    /// Those that reads may go to and that answer nearly as fast as the fastest of them. Who is in stays in
    /// for half as much more, so that nobody comes and goes.
    fn nearest(&self, topology: &Topology, before: &[Node], within: Duration) -> Vec<Node> {
        let targets = topology.targets(Some(self.config.read_from));
        let measured = targets.into_iter().filter_map(|target| {
            let took = self.round_trips.get(&target.node)?.usual()?;
            Some((target.node, took))
        });
        let measured: Vec<(Node, Duration)> = measured.collect();
        let Some(fastest) = measured.iter().map(|(_, took)| *took).min() else {
            return Vec::new();
        };
        let nearest = measured.into_iter().filter(|(node, took)| {
            let within = if before.contains(node) {
                within.saturating_add(within / 2)
            } else {
                within
            };
            *took <= fastest.saturating_add(within)
        });
        nearest.map(|(node, _)| node).collect()
    }
}

#[cfg(test)]
mod tests;
