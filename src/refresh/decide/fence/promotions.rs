//! Replicas that say they are masters while the Sentinels name another.
//!
//! Either a failover has promoted the replica and no event of it arrived, or somebody made it a
//! master by hand.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::{Evidence, node_report::NodeReport},
    topology::Topology,
};

#[derive(Debug)]
pub(super) struct Promotion {
    pub(super) since: Instant,
    /// The first refresh whose answers can tell whether it is part of a failover.
    pub(super) round: u64,
    /// Whether no Sentinel knew of a failover when it was asked.
    dismissed: bool,
}

impl Promotion {
    pub(super) fn is_dismissed(&self) -> bool {
        self.dismissed
    }
}

#[derive(Debug, Default)]
pub(super) struct Promotions(BTreeMap<Node, Promotion>);

impl Promotions {
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Records which replicas say that they are masters, and forgets those that say otherwise.
    pub(super) fn observe(&mut self, current: &Topology, evidence: &Evidence<'_>, now: Instant) {
        let in_step = |node: &Node| {
            let mut replicas = current.replicas.iter();
            replicas.any(|replica| replica.node == *node && replica.synced)
        };
        self.0.retain(|node, _| {
            let may_be_master = matches!(
                evidence.node_reports.get(node),
                None | Some(NodeReport::Master | NodeReport::Failed(_))
            );
            in_step(node) && may_be_master
        });
        for (node, report) in evidence.node_reports {
            // One that was restarted as a master has not been promoted: Sentinels will make it a
            // replica again.
            let restarted = evidence.restarted.contains(node);
            if *report == NodeReport::Master && in_step(node) && !restarted {
                self.0.entry(node.clone()).or_insert(Promotion {
                    since: now,
                    round: evidence.round + 1,
                    dismissed: false,
                });
            }
        }
    }

    /// The first one that may be part of a failover.
    pub(super) fn open(&self) -> Option<&Node> {
        let mut open = self.0.iter().filter(|(_, promotion)| !promotion.dismissed);
        open.next().map(|(node, _)| node)
    }

    pub(super) fn is_dismissed(&self, node: &Node) -> bool {
        self.0
            .get(node)
            .is_some_and(|promotion| promotion.dismissed)
    }

    /// The nodes whose promotion fits.
    pub(super) fn nodes_where(&self, fits: impl Fn(&Promotion) -> bool) -> Vec<Node> {
        let fitting = self.0.iter().filter(|(_, promotion)| fits(promotion));
        fitting.map(|(node, _)| node.clone()).collect()
    }

    pub(super) fn dismiss(&mut self, nodes: &[Node]) {
        for (node, promotion) in &mut self.0 {
            promotion.dismissed |= nodes.contains(node);
        }
    }
}
