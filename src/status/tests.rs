use super::*;
use crate::{
    error::{PoolName, outcome::Outcome},
    node::Role,
};

/// Dashboards and alerts are built on these: change none.
#[test]
fn labels_are_as_documented() {
    let discards: Vec<_> = Discard::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(
        discards,
        [
            "idle",
            "lifetime",
            "max_idle",
            "surplus",
            "rebalance",
            "role_changed",
            "node_gone",
            "broken",
            "cancelled",
            "dirty",
            "test_failed",
            "pool_closed",
        ]
    );
    for (label, expected) in [
        (SignKind::Event.as_str(), "event"),
        (SignKind::Answer.as_str(), "answer"),
        (SignKind::OtherMaster.as_str(), "other_master"),
        (SignKind::Promotion.as_str(), "promotion"),
        (SignKind::Demotion.as_str(), "demotion"),
        (Outcome::NotExecuted.as_str(), "not_executed"),
        (Outcome::Unknown.as_str(), "unknown"),
        (Outcome::Executed.as_str(), "executed"),
        (PoolName::Write.as_str(), "write"),
        (PoolName::Read.as_str(), "read"),
        (Role::Master.as_str(), "master"),
        (Role::Replica.as_str(), "replica"),
    ] {
        assert_eq!(label, expected);
    }
}

/// `Discards` is indexed by the reason.
#[test]
fn each_reason_stands_at_its_own_place() {
    for (place, reason) in Discard::ALL.iter().enumerate() {
        assert_eq!(*reason as usize, place, "{reason}");
    }
}
