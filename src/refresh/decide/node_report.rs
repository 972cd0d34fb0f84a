//! What a node says of itself. Pure.

use std::collections::HashMap;

use crate::{node::Node, topology::excluded::Excluded};

/// What a node says about itself, or why it does not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeReport {
    /// It says it is a master.
    Master,
    /// It says that it is a replica.
    Replica {
        /// The master that it follows.
        master: Node,
        /// The state of its replication link where that is not `connected`.
        link: Option<String>,
        /// Whether it is unknown which server `master` is: a name that only the replica can resolve.
        unclear: bool,
    },
    /// It says in `HELLO` that it is a replica. Its ACL forbids `ROLE`, so its master and its link
    /// are unknown.
    SomeReplica,
    /// It can be reached and may not tell its role.
    Unprovable(String),
    /// It cannot be reached, or does not answer as a data node does.
    Failed(String),
}

impl NodeReport {
    /// Whether the node can be used as what it says it is.
    pub(crate) fn is_good(&self) -> bool {
        matches!(
            self,
            Self::Master | Self::SomeReplica | Self::Replica { link: None, .. }
        )
    }

    /// Why the node cannot be used, for a human reader.
    pub(crate) fn complaint(&self) -> Option<String> {
        match self {
            Self::Master | Self::SomeReplica | Self::Replica { link: None, .. } => None,
            Self::Replica {
                link: Some(state), ..
            } => Some(format!("its link to its master is {state}")),
            Self::Unprovable(reason) | Self::Failed(reason) => Some(reason.clone()),
        }
    }
}

/// The latest report of each node that has one.
pub(crate) type NodeReports = HashMap<Node, NodeReport>;

/// Whether a report says that its node is a replica of this one, with its link up or down.
pub(crate) fn names_as_master(report: Option<&NodeReport>, node: &Node) -> bool {
    match report {
        Some(NodeReport::Replica { master, .. }) => master == node,
        _ => false,
    }
}

/// Whether a node may be read from as a replica of this master.
pub(super) fn follows(report: Option<&NodeReport>, master: &Node) -> bool {
    report.is_some_and(|report| exclusion(report, master).is_none())
}

/// Why not to read from a node, by its own report.
pub(crate) fn exclusion(report: &NodeReport, our_master: &Node) -> Option<Excluded> {
    match report {
        NodeReport::Replica {
            master,
            link,
            unclear,
        } => {
            // A name that cannot be compared does not contradict the Sentinels.
            if master != our_master && !unclear {
                return Some(Excluded::WrongMaster {
                    follows: master.to_string(),
                });
            }
            link.as_ref().map(|state| Excluded::Syncing {
                state: state.clone(),
            })
        }
        NodeReport::SomeReplica => None,
        NodeReport::Master => Some(Excluded::ReportsMaster),
        NodeReport::Unprovable(_) => None,
        NodeReport::Failed(error) => Some(Excluded::Unreachable {
            error: error.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
