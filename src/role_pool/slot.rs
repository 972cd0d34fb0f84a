//! The place of one connection in its pool.

use std::sync::Arc;

use crate::{node::Node, role_pool::Home, topology::Target, util::runtime::Presence};

/// One connection's place in the count of its node, from before the dial until it is closed.
#[derive(Debug)]
pub(crate) struct Place {
    home: Arc<Home>,
    node: Node,
    open: bool,
    _presence: Presence,
}

impl Place {
    /// Takes a place on the target with the fewest connections; those that have trouble come last.
    pub(crate) fn take(home: &Arc<Home>, targets: Vec<Target>) -> Option<(Target, Self)> {
        let target = home.fleet.join(targets)?;
        let place = Self {
            home: Arc::clone(home),
            node: target.node.clone(),
            open: false,
            _presence: home.runtime.presence(),
        };
        Some((target, place))
    }

    /// The dial succeeded: from now on this is an open connection.
    pub(crate) fn opened(mut self) -> Self {
        self.home.fleet.opened();
        self.open = true;
        self
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.open {
            self.home.fleet.closed();
        }
        self.home.fleet.leave(&self.node);
    }
}
