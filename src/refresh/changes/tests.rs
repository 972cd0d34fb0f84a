use std::time::Duration;

use super::*;

fn node(port: u16) -> Node {
    Node::new("10.0.0.1", port)
}

fn replica(port: u16, excluded: Option<Excluded>) -> Replica {
    Replica {
        node: node(port),
        excluded,
        since: 1,
        synced: true,
        orphaned: false,
        unlisted: None,
    }
}

fn topology(replicas: Vec<Replica>) -> Topology {
    Topology {
        master: Some(node(1)),
        replicas,
        ..Topology::default()
    }
}

fn lost(error: &str) -> Topology {
    Topology {
        master_error: Some(error.to_owned()),
        ..topology(vec![])
    }
}

#[test]
fn a_master_is_lost_once_and_back_once() {
    let well = topology(vec![]);
    let error = || "refused".to_owned();
    let is_lost = vec![Change::MasterLost {
        node: node(1),
        error: error(),
    }];
    assert_eq!(between(&well, &lost("refused")), is_lost);
    assert_eq!(between(&lost("refused"), &lost("timeout")), []);
    let is_back = [Change::MasterBack { node: node(1) }];
    assert_eq!(between(&lost("refused"), &well), is_back);
    let next = Topology {
        master: Some(node(2)),
        epoch: 3,
        ..Topology::default()
    };
    let changed = Change::MasterChanged {
        old: Some(node(1)),
        new: node(2),
        epoch: 3,
    };
    assert_eq!(between(&lost("refused"), &next), [changed.clone()]);
    let lost_too = Topology {
        master_error: Some(error()),
        ..next
    };
    let is_lost = Change::MasterLost {
        node: node(2),
        error: error(),
    };
    assert_eq!(between(&lost("refused"), &lost_too), [changed, is_lost]);
}

#[test]
fn the_fence_is_told_when_it_goes_up_and_down_and_not_while_it_is_up() {
    let up = |sign: &str| Topology {
        fence: Some(sign.to_owned()),
        ..topology(vec![])
    };
    let well = topology(vec![]);
    let sign = "one".to_owned();
    assert_eq!(between(&well, &up("one")), [Change::FenceRaised { sign }]);
    assert_eq!(between(&up("one"), &up("two")), []);
    assert_eq!(between(&up("one"), &well), [Change::FenceLifted]);
}

#[test]
fn a_replica_changes_with_its_reason_and_not_with_the_details() {
    let down = |seconds| Excluded::LinkDown {
        since: Some(Duration::from_secs(seconds)),
    };
    let with = |excluded| topology(vec![replica(2, None), replica(3, excluded)]);
    let excluded = |why| Change::ReplicaExcluded { node: node(3), why };
    let table = [
        (None, None, vec![]),
        (Some(down(1)), Some(down(2)), vec![]),
        (None, Some(down(1)), vec![excluded(down(1))]),
        (
            Some(down(1)),
            Some(Excluded::NotProven),
            vec![excluded(Excluded::NotProven)],
        ),
        (
            Some(down(1)),
            None,
            vec![Change::ReplicaReadable { node: node(3) }],
        ),
    ];
    for (before, next, expected) in table {
        let changes = between(&with(before.clone()), &with(next.clone()));
        assert_eq!(changes, expected, "{before:?} to {next:?}");
    }
}

#[test]
fn replicas_come_and_go() {
    let none = topology(vec![]);
    let some = topology(vec![
        replica(2, None),
        replica(3, Some(Excluded::NotProven)),
        replica(4, Some(Excluded::CatchingUp)),
    ]);
    let added = |port| Change::ReplicaAdded { node: node(port) };
    let expected = [
        added(2),
        Change::ReplicaReadable { node: node(2) },
        added(3),
        added(4),
        Change::ReplicaExcluded {
            node: node(4),
            why: Excluded::CatchingUp,
        },
    ];
    assert_eq!(between(&none, &some), expected);
    let gone = |port| Change::ReplicaRemoved { node: node(port) };
    assert_eq!(between(&some, &none), [gone(2), gone(3), gone(4)]);
}
