use std::time::Duration;

use super::*;
use crate::status::SignKind;

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

/// What is told where the fence has nothing to tell.
fn told(before: &Topology, next: &Topology) -> Vec<EventKind> {
    let tale = FenceTale {
        raised: None,
        before: Tally::default(),
        now: Tally::default(),
    };
    between(before, next, tale)
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
    let is_lost = vec![EventKind::MasterLost {
        node: node(1),
        error: error(),
    }];
    assert_eq!(told(&well, &lost("refused")), is_lost);
    assert_eq!(told(&lost("refused"), &lost("timeout")), []);
    let is_back = [EventKind::MasterBack { node: node(1) }];
    assert_eq!(told(&lost("refused"), &well), is_back);
    let next = Topology {
        master: Some(node(2)),
        epoch: 3,
        ..Topology::default()
    };
    let changed = EventKind::MasterChanged {
        old: Some(node(1)),
        new: node(2),
        epoch: 3,
    };
    assert_eq!(
        told(&lost("refused"), &next),
        std::slice::from_ref(&changed)
    );
    let lost_too = Topology {
        master_error: Some(error()),
        ..next
    };
    let is_lost = EventKind::MasterLost {
        node: node(2),
        error: error(),
    };
    assert_eq!(told(&lost("refused"), &lost_too), [changed, is_lost]);
}

#[test]
fn the_fence_is_told_when_it_goes_up_and_down_and_not_while_it_is_up() {
    let up = |sign: &str| Topology {
        fence: Some(sign.to_owned()),
        ..topology(vec![])
    };
    let well = topology(vec![]);
    let raised = Raised {
        kind: SignKind::Answer,
        sign: "one".to_owned(),
        since: tokio::time::Instant::now(),
    };
    let tally = |held, false_signs| Tally {
        raised: 1,
        false_signs,
        held: Duration::from_secs(held),
    };
    let tale = |now| FenceTale {
        raised: Some(&raised),
        before: tally(5, 2),
        now,
    };
    let is_up = EventKind::FenceRaised {
        kind: SignKind::Answer,
        sign: "one".to_owned(),
    };
    assert_eq!(between(&well, &up("one"), tale(tally(5, 2))), [is_up]);
    assert_eq!(between(&up("one"), &up("two"), tale(tally(5, 2))), []);
    for (now, outcome) in [
        (tally(7, 2), Lifted::OwnWord),
        (tally(7, 3), Lifted::FalseSign),
    ] {
        let is_down = EventKind::FenceLifted {
            held: Duration::from_secs(2),
            outcome,
        };
        assert_eq!(between(&up("one"), &well, tale(now)), [is_down]);
    }
    let next = Topology {
        master: Some(node(2)),
        ..topology(vec![])
    };
    let told = between(&up("one"), &next, tale(tally(5, 3)));
    let is_down = EventKind::FenceLifted {
        held: Duration::ZERO,
        outcome: Lifted::NewMaster,
    };
    assert_eq!(told.len(), 2);
    assert_eq!(told[1], is_down);
}

#[test]
fn a_replica_changes_with_its_reason_and_not_with_the_details() {
    let down = |seconds| Excluded::LinkDown {
        since: Some(Duration::from_secs(seconds)),
    };
    let with = |excluded| topology(vec![replica(2, None), replica(3, excluded)]);
    let excluded = |why| EventKind::ReplicaExcluded { node: node(3), why };
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
            vec![EventKind::ReplicaReadable { node: node(3) }],
        ),
    ];
    for (before, next, expected) in table {
        let changes = told(&with(before.clone()), &with(next.clone()));
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
    let added = |port| EventKind::ReplicaAdded { node: node(port) };
    let expected = [
        added(2),
        EventKind::ReplicaReadable { node: node(2) },
        added(3),
        added(4),
        EventKind::ReplicaExcluded {
            node: node(4),
            why: Excluded::CatchingUp,
        },
    ];
    assert_eq!(told(&none, &some), expected);
    let gone = |port| EventKind::ReplicaRemoved { node: node(port) };
    assert_eq!(told(&some, &none), [gone(2), gone(3), gone(4)]);
}
