//! Which of the nodes that a pool may go to its connections go to: the preferred ones, while one of them
//! is well.

use std::collections::HashSet;

use crate::{
    node::Node,
    role_pool::RolePool,
    topology::{Target, Topology},
};

/// The nodes that the next connections of a pool go to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tier {
    pub(crate) targets: Vec<Target>,
    /// There are others, which nobody prefers.
    pub(crate) is_narrow: bool,
}

impl Tier {
    fn all(targets: Vec<Target>) -> Self {
        Self {
            targets,
            is_narrow: false,
        }
    }

    /// The preferred ones of these. All of them where none is preferred, and where every preferred one is in
    /// trouble: that a node is preferred must never be the reason of a failure.
    fn of(allowed: Vec<Target>, preferred: &[Node], is_in_trouble: impl Fn(&Node) -> bool) -> Self {
        let is_preferred = |target: &&Target| preferred.contains(&target.node);
        let near: Vec<Target> = allowed.iter().filter(is_preferred).cloned().collect();
        let is_narrow =
            near.len() < allowed.len() && near.iter().any(|target| !is_in_trouble(&target.node));
        Self {
            targets: if is_narrow { near } else { allowed },
            is_narrow,
        }
    }
}

impl RolePool {
    /// The nodes that connections of this pool may go to now, preferred or not.
    pub(crate) fn allowed(&self) -> Vec<Target> {
        self.topology.snapshot().targets(self.policy())
    }

    /// Those of them that its next connections go to.
    pub(crate) fn tier(&self) -> Tier {
        self.tier_in(&self.topology.snapshot())
    }

    /// All that this snapshot allows.
    pub(crate) fn all_in(&self, snapshot: &Topology) -> Tier {
        Tier::all(snapshot.targets(self.policy()))
    }

    pub(crate) fn tier_in(&self, snapshot: &Topology) -> Tier {
        let allowed = snapshot.targets(self.policy());
        if snapshot.preferred.is_empty() {
            return Tier::all(allowed);
        }
        let troubled: HashSet<Node> = self.node_table.troubled();
        Tier::of(allowed, &snapshot.preferred, |node| {
            troubled.contains(node) || self.refusals.contains(node)
        })
    }
}

#[cfg(test)]
mod tests;
