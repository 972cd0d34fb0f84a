use super::*;
use crate::{
    error::{PoolName, outcome::Outcome},
    node::Role,
    status::{discard::Discard, stats::Stats},
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
            "credentials",
            "pool_closed",
            "certificates",
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

#[cfg(feature = "serde")]
#[test]
fn everything_that_is_reported_can_be_serialized() {
    use crate::{
        node::{Node, Role},
        status::freshness::{FreshnessStats, NodeLag},
        topology::{Replica, Topology, excluded::Excluded},
    };

    let stats = Stats::default();
    stats.discarded(Discard::Credentials);
    let pool = PoolStatus {
        wait_duration: Duration::from_millis(1500),
        discards: stats.discards(),
        ..PoolStatus::default()
    };
    let json = serde_json::to_value(&pool).unwrap();
    assert_eq!(json["wait_duration"], 1.5);
    assert_eq!(json["discards"]["credentials"], 1);
    assert_eq!(json["discards"]["idle"], 0);
    let reports = [("a:1".to_owned(), "refused".to_owned())];
    let status = Status {
        name: "mymaster".to_owned(),
        master_name: "mymaster".to_owned(),
        master: MasterStatus {
            since: Duration::from_millis(500),
            error: Some("refused".to_owned()),
            ..MasterStatus::default()
        },
        master_changes: 2,
        topology: Arc::new(Topology {
            version: 3,
            ..Topology::default()
        }),
        write: pool,
        read: PoolStatus::default(),
        writer: MultiplexedStatus::default(),
        reader: MultiplexedStatus::default(),
        sentinel: SentinelStatus {
            unheard: reports.into_iter().collect(),
            last_answer: Some(Duration::from_millis(250)),
            ..SentinelStatus::default()
        },
        fence: FenceStatus {
            kind: Some(SignKind::OtherMaster),
            ..FenceStatus::default()
        },
        freshness: FreshnessStatus {
            nodes: vec![NodeLag {
                node: Node::new("b", 1),
                bytes: Some(7),
                time: Some(Duration::from_millis(500)),
            }],
            ..FreshnessStats::default().counters()
        },
        durations: Some(Durations::default()),
        subscriber: SubscriberStatus {
            gaps: 3,
            ..SubscriberStatus::default()
        },
        master_error: None,
        tls: Some(TlsStatus {
            reloads: 2,
            error: None,
        }),
        sentinel_tls: None,
    };
    let json = serde_json::to_value(&status).unwrap();
    let master = serde_json::json!({
        "node": null, "reachable": false, "since": 0.5, "error": "refused",
    });
    assert_eq!(json["master"], master);
    assert_eq!(json["topology"]["version"], 3);
    assert_eq!(json["write"]["failures"]["unknown"], 0);
    assert_eq!(json["writer"]["discards"]["broken"], 0);
    assert_eq!(json["sentinel"]["last_answer"], 0.25);
    let unheard = serde_json::json!([{ "from": "a:1", "text": "refused" }]);
    assert_eq!(json["sentinel"]["unheard"], unheard);
    assert_eq!(json["fence"]["kind"], "other_master");
    let lag = serde_json::json!([{ "node": "b:1", "bytes": 7, "time": 0.5 }]);
    assert_eq!(json["freshness"]["nodes"], lag);
    assert_eq!(json["freshness"]["proven"], 0);
    assert_eq!(json["durations"]["read"]["count"], 0);
    assert_eq!(json["subscriber"]["gaps"], 3);
    assert_eq!(json["tls"]["reloads"], 2);
    assert!(json["fence"]["up_for"].is_null() && json["master_error"].is_null());

    let topology = Topology {
        version: 7,
        master: Some(Node::new("::1", 6379)),
        replicas: vec![Replica {
            node: Node::new("b", 1),
            excluded: Some(Excluded::Silent {
                within: Duration::from_secs(2),
            }),
            since: 1,
            synced: true,
            orphaned: false,
            unlisted: None,
        }],
        ..Topology::default()
    };
    let json = serde_json::to_value(&topology).unwrap();
    assert_eq!(json["master"], "[::1]:6379");
    let replica = serde_json::json!({
        "node": "b:1",
        "excluded": { "reason": "silent", "text": "did not answer within 2s" },
    });
    assert_eq!(json["replicas"], serde_json::json!([replica]));
    assert_eq!(json.as_object().unwrap().len(), 9, "{json}");
    let roles = serde_json::to_value([Role::Master, Role::Replica]).unwrap();
    assert_eq!(roles, serde_json::json!(["master", "replica"]));
}
