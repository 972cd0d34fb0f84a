use super::*;
use crate::{
    config::ReadFrom,
    topology::tests::{node, topology},
};

const WITHIN: Duration = Duration::from_millis(300);

fn handle(topology: Topology) -> Handle {
    let handle = Handle::new();
    handle.publish(topology);
    handle
}

fn reason(handle: &Handle, port: u16) -> Option<Excluded> {
    let snapshot = handle.snapshot();
    let mut replicas = snapshot.replicas.iter();
    let replica = replicas.find(|replica| replica.node == node(port));
    replica.expect("it is known").excluded.clone()
}

#[test]
fn a_replica_that_missed_a_deadline_is_left_out_at_once() {
    let handle = handle(topology(&[2, 3], &[4]));
    let before = handle.version();
    handle.exclude_silent(&node(2), WITHIN);
    assert_eq!(
        reason(&handle, 2),
        Some(Excluded::Silent { within: WITHIN })
    );
    assert_eq!(reason(&handle, 3), None);
    assert_eq!(handle.version(), before + 1);
    assert_eq!(handle.snapshot().version, before + 1);
    assert_eq!(handle.take_silent(), HashSet::from([node(2)]));
}

#[test]
fn a_node_that_is_no_readable_replica_is_only_suspected_for_its_silence() {
    let handle = handle(topology(&[2], &[4]));
    let before = handle.snapshot();
    for port in [1, 4, 9] {
        handle.exclude_silent(&node(port), WITHIN);
    }
    assert_eq!(handle.snapshot(), before);
    assert_eq!(handle.take_silent(), HashSet::new());
    assert_eq!(handle.take_suspects().len(), 3);
}

#[test]
fn a_topology_decided_before_a_replica_fell_silent_does_not_bring_it_back() {
    let handle = handle(topology(&[2, 3], &[]));
    handle.take_silent();
    let concluded = topology(&[2, 3, 4], &[]);
    handle.exclude_silent(&node(2), WITHIN);
    handle.publish(concluded.clone());
    assert_eq!(
        reason(&handle, 2),
        Some(Excluded::Silent { within: WITHIN })
    );
    assert_eq!(reason(&handle, 4), None);
    assert_eq!(handle.version(), handle.snapshot().version);
    // Known to the refresh task, which has asked it meanwhile.
    handle.take_silent();
    handle.publish(concluded);
    assert_eq!(reason(&handle, 2), None);
}

#[test]
fn silent_replicas_are_read_from_where_there_is_nothing_else() {
    let handle = handle(topology(&[2, 3], &[4]));
    let reads = |policy| {
        let targets = handle.snapshot().targets(Some(policy));
        targets.iter().map(|t| t.node.port()).collect::<Vec<_>>()
    };
    handle.exclude_silent(&node(2), WITHIN);
    assert_eq!(reads(ReadFrom::Replica), [3]);
    handle.exclude_silent(&node(3), WITHIN);
    assert_eq!(reads(ReadFrom::Replica), [2, 3]);
    assert_eq!(reads(ReadFrom::ReplicaPreferred), [1]);
    assert_eq!(reads(ReadFrom::Any), [1]);
}

#[tokio::test]
async fn many_suspicions_cost_one_refresh() {
    let handle = Handle::new();
    for port in [1, 1, 2, 1, 2] {
        handle.suspect(&node(port));
    }
    handle.refresh_requested().await;
    assert_eq!(handle.take_suspects().len(), 2);
    let second = tokio::time::timeout(Duration::from_millis(10), handle.refresh_requested());
    assert!(second.await.is_err());
}
