//! Who is master and who is replica: the immutable snapshot.

pub(crate) mod admission;
pub(crate) mod excluded;
mod handle;

use tokio::time::Instant;

use crate::{
    config::ReadFrom,
    node::{Node, Role},
    topology::excluded::Excluded,
};

pub(crate) use crate::topology::handle::Handle;

/// What the pool knows of the deployment, at one moment.
///
/// A snapshot never changes; a change is published as a new one with a higher `version`. Get the
/// current one from [`Pool::topology`](crate::Pool::topology) and follow changes with
/// [`Pool::watch`](crate::Pool::watch).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Topology {
    /// Grows by one with every published change, and with new credentials that a node has accepted.
    pub version: u64,
    /// The configuration epoch under which the Sentinels announced the master. While they still
    /// announce [`previous_master`](Self::previous_master) it is that one's epoch. 0 without Sentinels.
    pub epoch: u64,
    /// The master, proven by the node itself. `None` only before the first one was found.
    pub master: Option<Node>,
    /// The master that the Sentinels still announce, while the pool is ahead of them. `None` when
    /// all is well.
    ///
    /// The pool is ahead of the Sentinels because of [`Adopt::Promoted`](crate::Adopt::Promoted),
    /// because the master handed over by itself (a coordinated failover, `FAILOVER`), or because it
    /// followed a failover while it could not ask the Sentinels.
    pub previous_master: Option<Node>,
    /// Every known replica, readable or not, in the order of their addresses.
    pub replicas: Vec<Replica>,
    /// Why the role of the master or of a replica is less certain than usual. `None` when all is
    /// well.
    ///
    /// Nodes whose ACL forbids both `HELLO` and `ROLE` cannot prove what they are. The pool then
    /// trusts what most Sentinels say, and states here why. It also states that the Sentinels
    /// disagree, and that most of them do not know the master. Without Sentinels it states that two
    /// nodes say they are masters, where the other nodes do not decide between them.
    pub unproven: Option<String>,
    /// The sign that the master is being replaced. While there is one, no command of the write pool
    /// is written to the master: its commands wait. The read pool goes on, also where
    /// [`Config::read_from`](crate::Config::read_from) sends it to the master. `None` when all is
    /// well.
    ///
    /// [`FenceStatus::kind`](crate::FenceStatus::kind) has its kind, to match on.
    pub fence: Option<String>,
    /// Why the master could not be reached when it was last asked for its role. `None` when all is
    /// well.
    pub master_error: Option<String>,
    /// The nodes that [`Config::prefer`](crate::Config::prefer) prefers, in the order of their addresses:
    /// the master, too, and also those that no read goes to now. Reads go to these while
    /// [`Config::read_from`](crate::Config::read_from) admits one of them that is well, and otherwise to
    /// all that it admits. Empty where none is preferred.
    pub preferred: Vec<Node>,
    /// The version in which `master` became the master.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) master_since: u64,
}

/// One replica in a [`Topology`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Replica {
    /// The replica's address as the Sentinels announce it, or as it was configured.
    pub node: Node,
    /// Why no read goes to this replica; `None` when it is readable.
    pub excluded: Option<Excluded>,
    /// The version in which this node became a replica; earlier connections to it are stale.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) since: u64,
    /// Whether it has been seen in step with its master, so that it has data.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) synced: bool,
    /// Readable although its link to the master is lost, because the master cannot be reached.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) orphaned: bool,
    /// Since when the Sentinels that know the master's replicas have not listed it.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub(crate) unlisted: Option<Instant>,
}

impl Replica {
    /// Whether reads may go to this replica.
    pub fn is_readable(&self) -> bool {
        self.excluded.is_none()
    }

    /// Whether the Sentinels have given it up. It is not dialled: clusters leave such ghosts behind
    /// for ever.
    pub(crate) fn is_given_up(&self) -> bool {
        matches!(self.excluded, Some(Excluded::SubjectivelyDown))
    }

    fn is_silent(&self) -> bool {
        matches!(self.excluded, Some(Excluded::Silent { .. }))
    }

    fn target(&self) -> Target {
        Target {
            node: self.node.clone(),
            role: Role::Replica,
            since: self.since,
        }
    }
}

/// A node that connections of one pool may go to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) node: Node,
    pub(crate) role: Role,
    /// The version that admitted the node. A connection is stamped with it before its address is
    /// resolved, so that a switch during the dial makes the connection stale.
    pub(crate) since: u64,
}

impl Topology {
    /// The replicas that reads may go to.
    pub fn readable(&self) -> impl Iterator<Item = &Node> {
        self.replicas
            .iter()
            .filter(|replica| replica.is_readable())
            .map(|replica| &replica.node)
    }

    /// Whether this is one of the nodes that [`Config::prefer`](crate::Config::prefer) prefers.
    pub fn is_preferred(&self, node: &Node) -> bool {
        self.preferred.contains(node)
    }

    /// The nodes that connections of a pool with this policy may go to. `None` is the write pool.
    pub(crate) fn targets(&self, policy: Option<ReadFrom>) -> Vec<Target> {
        let master = self.master.iter().map(|node| Target {
            node: node.clone(),
            role: Role::Master,
            since: self.master_since,
        });
        let replicas = |fits: fn(&Replica) -> bool| {
            let replicas = self.replicas.iter().filter(move |replica| fits(replica));
            replicas.map(Replica::target)
        };
        let readable = replicas(Replica::is_readable);
        let is_reachable = self.master_error.is_none();
        match policy {
            None | Some(ReadFrom::Master) => master.collect(),
            Some(ReadFrom::Any) if is_reachable => readable.chain(master).collect(),
            Some(ReadFrom::MasterPreferred) if is_reachable => master.collect(),
            Some(ReadFrom::Any | ReadFrom::MasterPreferred | ReadFrom::ReplicaPreferred) => {
                or_else(readable, master)
            }
            // Better to try silent replicas than to read nowhere: this process itself may have been
            // held up.
            Some(ReadFrom::Replica) => or_else(readable, replicas(Replica::is_silent)),
        }
    }

    /// Whether reads go to this replica in spite of its lost link to the master.
    pub(crate) fn is_orphaned(&self, node: &Node) -> bool {
        let mut replicas = self.replicas.iter();
        replicas.any(|replica| replica.node == *node && replica.orphaned)
    }

    /// Whether something is about to change by itself, so that the next refresh should come soon.
    pub(crate) fn in_motion(&self) -> bool {
        self.replicas.iter().any(|replica| {
            let passing = replica.excluded.as_ref().is_some_and(Excluded::is_passing);
            passing || replica.orphaned || replica.unlisted.is_some()
        })
    }

    /// Whether a connection to this target may still be lent.
    pub(crate) fn admits(&self, policy: Option<ReadFrom>, target: &Target) -> bool {
        self.targets(policy).contains(target)
    }
}

/// `first`, or `second` if `first` is empty.
fn or_else(
    first: impl Iterator<Item = Target>,
    second: impl Iterator<Item = Target>,
) -> Vec<Target> {
    let mut first = first.peekable();
    if first.peek().is_none() {
        second.collect()
    } else {
        first.collect()
    }
}

#[cfg(test)]
mod tests;
