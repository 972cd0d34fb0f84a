use super::*;
use crate::topology::Replica;

fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

fn of(master: u16) -> NodeReport {
    NodeReport::Replica {
        master: node(master),
        unclear: false,
        link: None,
    }
}

fn lost(master: u16) -> NodeReport {
    NodeReport::Replica {
        master: node(master),
        unclear: false,
        link: Some("connect".into()),
    }
}

fn gone() -> NodeReport {
    NodeReport::Failed("connection refused".into())
}

fn topology(replicas: &[u16]) -> Topology {
    let replica = |port: &u16| Replica {
        node: node(*port),
        excluded: None,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    };
    Topology {
        master: Some(node(1)),
        replicas: replicas.iter().map(replica).collect(),
        ..Topology::default()
    }
}

#[test]
fn the_nodes_tell_whether_the_failover_went_on() {
    use Consensus::{Moved, Stays, Unclear};
    let is = || NodeReport::Master;
    for (why, node_reports, expected) in [
        ("all is as it was", vec![is(), of(1), of(1)], Stays),
        ("one replica is silent", vec![is(), of(1), gone()], Stays),
        (
            "no replica can be asked",
            vec![is(), gone(), gone()],
            Unclear,
        ),
        ("promoted, nobody follows", vec![is(), is(), of(1)], Stays),
        (
            "promoted and followed",
            vec![is(), is(), of(2)],
            Moved(node(2)),
        ),
        (
            "the old one follows",
            vec![of(2), is(), of(2)],
            Moved(node(2)),
        ),
        (
            "promoted, the third is silent",
            vec![is(), is(), gone()],
            Unclear,
        ),
        (
            "the old one is dead",
            vec![gone(), is(), lost(1)],
            Moved(node(2)),
        ),
        (
            "dead, and nobody promoted",
            vec![gone(), lost(1), lost(1)],
            Unclear,
        ),
        ("two that say master", vec![gone(), is(), is()], Unclear),
        ("each its own replica", vec![is(), is(), of(9)], Unclear),
    ] {
        let node_reports = (1..).map(node).zip(node_reports).collect();
        assert_eq!(
            consensus(&topology(&[2, 3]), &node_reports),
            expected,
            "{why}"
        );
    }
    let alone = [(node(1), is())].into_iter().collect();
    assert_eq!(consensus(&topology(&[]), &alone), Stays);
}

#[test]
fn a_master_that_follows_one_of_its_replicas_has_handed_over() {
    for (why, report, expected) in [
        ("it follows its replica", of(2), Some(node(2))),
        ("it has yet to connect to it", lost(2), Some(node(2))),
        ("it follows a stranger", of(9), None),
        ("it is a master", NodeReport::Master, None),
        ("it is gone", gone(), None),
    ] {
        let node_reports = [(node(1), report)].into();
        assert_eq!(
            successor(&topology(&[2, 3]), &node_reports),
            expected,
            "{why}"
        );
    }
}

#[test]
fn a_node_that_was_never_in_step_has_no_say() {
    let mut topology = topology(&[2, 3]);
    for replica in &mut topology.replicas {
        replica.synced = false;
    }
    let node_reports = [(1, gone()), (2, NodeReport::Master), (3, of(2))];
    let node_reports = node_reports
        .map(|(port, node_report)| (node(port), node_report))
        .into();
    assert_eq!(consensus(&topology, &node_reports), Consensus::Unclear);
}
