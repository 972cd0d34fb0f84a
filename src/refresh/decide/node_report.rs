//! What a node says of itself. Pure.

use std::collections::HashMap;

use crate::{node::Node, topology::excluded::Excluded};

/// What a node says, or fails to say, about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeReport {
    /// It says it is a master.
    Master,
    /// It says it replicates from `master`; `link` is the state of its replication link where that
    /// is not `connected`.
    Replica {
        master: Node,
        link: Option<String>,
        /// Whether nothing tells which server `master` is: a name that only the replica can resolve.
        unclear: bool,
    },
    /// It is a replica by `HELLO`, and its ACL keeps `ROLE`, hence the link, from us.
    SomeReplica,
    /// It can be reached and may not tell its role.
    Unprovable(String),
    /// It cannot be reached, or does not answer as a data node does.
    Failed(String),
}

/// What is known of nodes from themselves.
pub(crate) type NodeReports = HashMap<Node, NodeReport>;

/// Whether a node says that it is a replica of this one, its link up or not.
pub(crate) fn names_as_master(node_report: Option<&NodeReport>, node: &Node) -> bool {
    match node_report {
        Some(NodeReport::Replica { master, .. }) => master == node,
        _ => false,
    }
}

pub(super) fn follows(node_report: Option<&NodeReport>, master: &Node) -> bool {
    node_report.is_some_and(|node_report| exclusion(node_report, master).is_none())
}

/// What a node's own word says against reading from it.
pub(crate) fn exclusion(node_report: &NodeReport, our_master: &Node) -> Option<Excluded> {
    match node_report {
        NodeReport::Replica {
            master,
            link,
            unclear,
        } => {
            // A name that cannot be compared is no reason against what the Sentinels say.
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
