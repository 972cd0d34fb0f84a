//! Addresses to dial instead of those a Sentinel announces.

use std::{
    collections::HashMap,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
};

use crate::node::Node;

/// Turns the address that a Sentinel announced into the address to dial.
///
/// Needed where the servers know themselves under other addresses than this program does: behind NAT,
/// in containers with published ports, behind a proxy. The map is applied to a data node each time
/// it is dialled, and to a Sentinel that another Sentinel has named once, when it is learned. The
/// addresses in [`Config::sentinels`](crate::Config::sentinels) are dialled as written. A node keeps
/// its announced address everywhere else: in the topology, in errors and in statistics.
///
/// ```
/// use std::collections::HashMap;
///
/// use redis_rw_pool::{AddressMap, Config, Node};
///
/// // A table; nodes that are not in it are dialled as announced.
/// let table = HashMap::from([(Node::new("172.17.0.2", 6379), Node::new("127.0.0.1", 16379))]);
/// let mut config = Config::new(["127.0.0.1"], "mymaster");
/// config.address_map = Some(table.into());
///
/// // Or a rule.
/// let map = AddressMap::new(|announced| Node::new("127.0.0.1", announced.port()));
/// assert_eq!(map.apply(&Node::new("172.17.0.2", 6379)).to_string(), "127.0.0.1:6379");
/// ```
#[derive(Clone)]
pub struct AddressMap(Arc<dyn Fn(&Node) -> Node + Send + Sync>);

impl AddressMap {
    /// A map that asks `dial` for each address.
    ///
    /// `dial` runs at every new connection to a data node, so it should be quick and must not
    /// block. If it panics, that connection is not made, and the next one asks again.
    pub fn new(dial: impl Fn(&Node) -> Node + Send + Sync + 'static) -> Self {
        Self(Arc::new(dial))
    }

    /// The address to dial for a node that was announced as `announced`.
    pub fn apply(&self, announced: &Node) -> Node {
        (self.0)(announced)
    }

    /// As [`apply`](Self::apply), but `None` if the map panics. The pool's only refresh task calls
    /// it, and a panic in the caller's code must not end that task.
    pub(crate) fn try_apply(&self, announced: &Node) -> Option<Node> {
        catch_unwind(AssertUnwindSafe(|| self.apply(announced))).ok()
    }
}

impl From<HashMap<Node, Node>> for AddressMap {
    /// Nodes that are not in the table are dialled as announced.
    fn from(table: HashMap<Node, Node>) -> Self {
        Self::new(move |announced| table.get(announced).unwrap_or(announced).clone())
    }
}

impl FromIterator<(Node, Node)> for AddressMap {
    /// Takes pairs of announced and dialled address; of two pairs for the same node the later counts.
    fn from_iter<I: IntoIterator<Item = (Node, Node)>>(pairs: I) -> Self {
        pairs.into_iter().collect::<HashMap<_, _>>().into()
    }
}

impl fmt::Debug for AddressMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddressMap").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
