//! Builders that the tests of several rules share.

use super::*;
use crate::{
    sentinel::{flags::Flags, reply::ReplicaInfo},
    topology::{Replica, excluded::Excluded},
};

pub(super) const PORT: u16 = 6379;

pub(super) fn node(n: u8) -> Node {
    Node::new(format!("10.0.0.{n}"), PORT)
}

pub(super) fn view(master: u8, epoch: u64) -> View {
    View {
        master: node(master),
        epoch,
        replicas: Vec::new(),
        informed: false,
        master_down: false,
    }
}

pub(super) fn listing(master: u8, epoch: u64, replicas: Vec<ReplicaInfo>) -> View {
    View {
        replicas,
        ..view(master, epoch)
    }
}

/// A replica as a Sentinel lists one that is well.
pub(super) fn listed(n: u8, master: u8) -> ReplicaInfo {
    ReplicaInfo {
        node: node(n),
        flags: Flags::parse(b"slave"),
        link_ok: Some(true),
        link_down_for: None,
        master: Some(node(master)),
        reports_master: false,
        run_id: None,
    }
}

pub(super) fn flagged(n: u8, master: u8, flags: &str) -> ReplicaInfo {
    ReplicaInfo {
        flags: Flags::parse(flags.as_bytes()),
        ..listed(n, master)
    }
}

pub(super) fn believing(master: u8, epoch: u64) -> Topology {
    Topology {
        version: 1,
        epoch,
        master: Some(node(master)),
        master_since: 1,
        ..Topology::default()
    }
}

pub(super) fn with_replica(mut topology: Topology, n: u8, excluded: Option<Excluded>) -> Topology {
    topology.replicas.push(Replica {
        node: node(n),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    });
    topology
}

pub(super) fn follower_of(master: u8) -> NodeReport {
    NodeReport::Replica {
        master: node(master),
        unclear: false,
        link: None,
    }
}

pub(super) fn silent() -> NodeReport {
    NodeReport::Failed("timed out".into())
}

pub(super) fn mute() -> NodeReport {
    NodeReport::Unprovable("NOPERM".into())
}

pub(super) fn node_reports<const N: usize>(node_reports: [(u8, NodeReport); N]) -> NodeReports {
    node_reports
        .map(|(n, node_report)| (node(n), node_report))
        .into()
}
