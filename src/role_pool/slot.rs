//! The slot of one connection on its node.

use std::sync::Arc;

use crate::{node::Node, role_pool::RolePool, topology::Target, util::runtime::Presence};

/// Counts one connection on its node, from before the dial until it is closed.
#[derive(Debug)]
pub(crate) struct NodeSlot {
    role_pool: Arc<RolePool>,
    node: Node,
    open: bool,
    _presence: Presence,
}

impl NodeSlot {
    /// Takes a slot on the target with the fewest. Nodes in trouble come last.
    pub(crate) fn take(role_pool: &Arc<RolePool>, targets: Vec<Target>) -> Option<(Target, Self)> {
        let target = role_pool.node_table.join(targets)?;
        let slot = Self {
            role_pool: Arc::clone(role_pool),
            node: target.node.clone(),
            open: false,
            _presence: role_pool.runtime.presence(),
        };
        Some((target, slot))
    }

    /// The dial has succeeded: from now on the connection counts as open.
    pub(crate) fn opened(mut self) -> Self {
        self.role_pool.node_table.opened();
        self.open = true;
        self
    }

    pub(crate) fn role_pool(&self) -> &Arc<RolePool> {
        &self.role_pool
    }
}

impl Drop for NodeSlot {
    fn drop(&mut self) {
        if self.open {
            self.role_pool.node_table.closed();
        }
        self.role_pool.node_table.leave(&self.node);
    }
}
