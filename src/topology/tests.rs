use super::*;

pub(super) fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

pub(super) fn topology(readable: &[u16], excluded: &[u16]) -> Topology {
    let replica = |port: &u16, excluded| Replica {
        node: node(*port),
        excluded,
        since: 2,
        synced: true,
        orphaned: false,
        unlisted: None,
    };
    Topology {
        version: 3,
        master: Some(node(1)),
        master_since: 1,
        replicas: readable
            .iter()
            .map(|port| replica(port, None))
            .chain(
                excluded
                    .iter()
                    .map(|port| replica(port, Some(Excluded::SubjectivelyDown))),
            )
            .collect(),
        ..Topology::default()
    }
}

#[test]
fn each_policy_reads_where_it_says() {
    let ports = |topology: &Topology, policy| {
        topology
            .targets(policy)
            .iter()
            .map(|target| target.node.port())
            .collect::<Vec<_>>()
    };
    let healthy = topology(&[2, 3], &[4]);
    let bare = topology(&[], &[2, 3]);
    let unreachable = |topology: &Topology| Topology {
        master_error: Some("Connection refused".to_owned()),
        ..topology.clone()
    };
    // With a master that answers: with replicas, without; then with one that does not.
    let table = [
        (None, [vec![1], vec![1], vec![1], vec![1]]),
        (Some(ReadFrom::Master), [vec![1], vec![1], vec![1], vec![1]]),
        (
            Some(ReadFrom::MasterPreferred),
            [vec![1], vec![1], vec![2, 3], vec![1]],
        ),
        (
            Some(ReadFrom::Replica),
            [vec![2, 3], vec![], vec![2, 3], vec![]],
        ),
        (
            Some(ReadFrom::ReplicaPreferred),
            [vec![2, 3], vec![1], vec![2, 3], vec![1]],
        ),
        (
            Some(ReadFrom::Any),
            [vec![2, 3, 1], vec![1], vec![2, 3], vec![1]],
        ),
    ];
    for (policy, expected) in table {
        let given = [
            healthy.clone(),
            bare.clone(),
            unreachable(&healthy),
            unreachable(&bare),
        ];
        let read_from = given.map(|topology| ports(&topology, policy));
        assert_eq!(read_from, expected, "{policy:?}");
    }
}

#[test]
fn a_connection_from_before_the_switch_is_stale_even_if_its_node_is_master_again() {
    let mut topology = topology(&[2], &[]);
    let target = topology.targets(None).remove(0);
    assert!(topology.admits(None, &target));
    topology.master_since = 7;
    assert!(!topology.admits(None, &target));
}

#[test]
fn a_replica_that_joins_does_not_make_other_connections_stale() {
    let policy = Some(ReadFrom::ReplicaPreferred);
    let target = topology(&[2], &[]).targets(policy).remove(0);
    assert!(topology(&[2, 3], &[]).admits(policy, &target));
    assert!(!topology(&[3], &[2]).admits(policy, &target));
}
