//! What one Sentinel answered, all its replies together.

use crate::{
    node::Node,
    sentinel::{
        flags::Flag,
        refused::Refused,
        reply::{Peer, ReplicaInfo},
    },
};

/// What one Sentinel takes for our deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) master: Node,
    /// 0 if it may not tell it.
    pub(crate) epoch: u64,
    pub(crate) replicas: Vec<ReplicaInfo>,
    /// Whether it has had an `INFO` from the master since it was started or reset. Then a replica
    /// that it does not list is gone, or it was told not to list it.
    pub(crate) informed: bool,
    /// Whether it cannot reach the master itself. What it says against the replicas may then have
    /// the same cause.
    pub(crate) master_down: bool,
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
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Its own id, which is the same at every address.
    pub(crate) id: Option<String>,
    /// Its view; `None` when it does not monitor our master name.
    pub(crate) view: Option<View>,
    /// The master's address as `SENTINEL MASTER` lists it, and the run id of the server there.
    pub(crate) master_run_id: Option<(Node, String)>,
    /// How many replicas with unusable addresses it listed.
    pub(crate) dropped: usize,
    /// The other Sentinels it knows.
    pub(crate) peers: Vec<Peer>,
    /// The master that it is replacing, or wants to replace, and the flag that says so.
    pub(crate) failover_flag: Option<(Node, &'static str)>,
    /// Whether that is a failover in which the master itself stops taking writes and waits for the
    /// replica (`SENTINEL FAILOVER name COORDINATED`, Valkey 9).
    pub(crate) coordinated: bool,
    /// The questions that we may not ask it.
    pub(crate) refused: Vec<Refused>,
}

impl Answer {
    /// Whether it tells the epoch of its view, and whether the master is being replaced.
    pub(crate) fn tells_epoch(&self) -> bool {
        let mut refused = self.refused.iter();
        refused.all(|refused| refused.command != "SENTINEL MASTER")
    }
}
