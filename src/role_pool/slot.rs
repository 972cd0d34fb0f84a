//! The place of one connection in its pool.

use std::sync::Arc;

use crate::{node::Node, role_pool::RolePool, topology::Target, util::runtime::Presence};

/// One connection's place in the count of its node, from before the dial until it is closed.
#[derive(Debug)]
pub(crate) struct NodeSlot {
    role_pool: Arc<RolePool>,
    node: Node,
    open: bool,
    _presence: Presence,
}

impl NodeSlot {
    /// Takes a place on the target with the fewest connections; those that have trouble come last.
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

    /// The dial succeeded: from now on this is an open connection.
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
