//! What one Sentinel answered, all its replies together.

use super::{
    flags::Flag,
    reply::{Peer, ReplicaInfo},
};
use crate::node::Node;

/// What one Sentinel believes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) master: Node,
    pub(crate) epoch: u64,
    pub(crate) replicas: Vec<ReplicaInfo>,
}

impl View {
    /// The replica that this Sentinel is making the master.
    pub(crate) fn promoted(&self) -> Option<&Node> {
        let mut replicas = self.replicas.iter();
        let promoted = replicas.find(|replica| replica.flags.has(Flag::Promoted));
        promoted.map(|replica| &replica.node)
    }
}

/// What one Sentinel answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// Its own id, by which it is known under whatever address.
    pub(crate) id: Option<String>,
    /// What it believes; `None` when it does not monitor our master name.
    pub(crate) view: Option<View>,
    /// The other Sentinels it knows.
    pub(crate) peers: Vec<Peer>,
    /// The node that it is replacing, or would replace if it could, and the flag that says so.
    pub(crate) deposing: Option<(Node, &'static str)>,
}
