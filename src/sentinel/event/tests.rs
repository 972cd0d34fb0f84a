use proptest::prelude::*;

use super::*;

const OURS: &str = "mymaster";
const MASTER_PAYLOAD: &str = "master mymaster 10.0.0.1 6379";
const REPLICA_PAYLOAD: &str = "slave 10.0.0.2:6380 10.0.0.2 6380 @ mymaster 10.0.0.1 6379";
const SENTINEL_PAYLOAD: &str =
    "sentinel 0123456789012345678901234567890123456789 10.0.0.3 26379 @ mymaster 10.0.0.1 6379";

fn parsed(channel: &str, payload: &str) -> Option<Event> {
    parse(channel.as_bytes(), payload.as_bytes(), OURS)
}

fn event(kind: EventKind, sort: Sort) -> Option<Event> {
    let node = match sort {
        Sort::Master => Node::new("10.0.0.1", 6379),
        Sort::Replica => Node::new("10.0.0.2", 6380),
        Sort::Sentinel => Node::new("10.0.0.3", 26379),
    };
    Some(Event {
        kind,
        node: Some(node),
        master: Some(Node::new("10.0.0.1", 6379)),
    })
}

#[test]
fn every_channel_has_a_kind_and_a_payload_it_takes() {
    for (channel, payload, _) in EVENTS {
        let line = match payload {
            Payload::Switch => "mymaster 10.0.0.1 6379 10.0.0.2 6380",
            Payload::Tilt => "#tilt mode entered",
            Payload::Instance(sort) | Payload::Explained(sort) => match sort {
                Some(Sort::Master) => MASTER_PAYLOAD,
                Some(Sort::Replica) | None => REPLICA_PAYLOAD,
                Some(Sort::Sentinel) => SENTINEL_PAYLOAD,
            },
        };
        assert!(parsed(channel, line).is_some(), "{channel}");
    }
    assert_eq!(CHANNELS.len(), EVENTS.len());
    assert!(CHANNELS.is_sorted());
    for chatter in [
        "+new-epoch",
        "+vote-for-leader",
        "+set",
        "__sentinel__:hello",
    ] {
        assert!(!CHANNELS.contains(&chatter));
    }
}

#[test]
fn a_failover_in_its_order() {
    use EventKind::*;
    for (channel, payload, kind, sort) in [
        ("+sdown", MASTER_PAYLOAD, SubjectivelyDown, Sort::Master),
        (
            "+odown",
            "master mymaster 10.0.0.1 6379 #quorum 2/2",
            ObjectivelyDown,
            Sort::Master,
        ),
        ("+try-failover", MASTER_PAYLOAD, TryFailover, Sort::Master),
        (
            "+elected-leader",
            MASTER_PAYLOAD,
            ElectedLeader,
            Sort::Master,
        ),
        (
            "+failover-state-select-slave",
            MASTER_PAYLOAD,
            SelectingReplica,
            Sort::Master,
        ),
        (
            "+selected-slave",
            REPLICA_PAYLOAD,
            SelectedReplica,
            Sort::Replica,
        ),
        (
            "+failover-state-send-slaveof-noone",
            REPLICA_PAYLOAD,
            SendReplicaOfNoOne,
            Sort::Replica,
        ),
        (
            "+failover-state-wait-promotion",
            REPLICA_PAYLOAD,
            AwaitingPromotion,
            Sort::Replica,
        ),
        ("+promoted-slave", REPLICA_PAYLOAD, Promoted, Sort::Replica),
        (
            "+failover-state-reconf-slaves",
            MASTER_PAYLOAD,
            RepointingReplicas,
            Sort::Master,
        ),
        (
            "+slave-reconf-sent",
            REPLICA_PAYLOAD,
            RepointedReplica,
            Sort::Replica,
        ),
        (
            "+slave-reconf-done",
            REPLICA_PAYLOAD,
            RepointedReplica,
            Sort::Replica,
        ),
        ("+failover-end", MASTER_PAYLOAD, FailoverEnded, Sort::Master),
        (
            "+config-update-from",
            SENTINEL_PAYLOAD,
            ConfigUpdated,
            Sort::Sentinel,
        ),
        ("+slave", REPLICA_PAYLOAD, ReplicaAdded, Sort::Replica),
        ("+convert-to-slave", REPLICA_PAYLOAD, Demoted, Sort::Replica),
        (
            "-failover-abort-not-elected",
            MASTER_PAYLOAD,
            Aborted,
            Sort::Master,
        ),
        // Of a coordinated failover (Valkey 9) whose master did not hand over.
        (
            "-failover-abort-master-timeout",
            MASTER_PAYLOAD,
            Aborted,
            Sort::Master,
        ),
    ] {
        assert_eq!(parsed(channel, payload), event(kind, sort), "{channel}");
    }
    let (old, new) = (Node::new("10.0.0.1", 6379), Node::new("10.0.0.2", 6380));
    assert_eq!(
        parsed("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6380"),
        Some(Event {
            kind: SwitchMaster,
            node: Some(new),
            master: Some(old),
        })
    );
}

#[test]
fn everything_else_that_may_mean_a_change() {
    use EventKind::*;
    for (channel, payload, kind, sort) in [
        ("-sdown", SENTINEL_PAYLOAD, SubjectivelyUp, Sort::Sentinel),
        ("-odown", MASTER_PAYLOAD, ObjectivelyUp, Sort::Master),
        ("+reboot", REPLICA_PAYLOAD, Rebooted, Sort::Replica),
        ("+reset-master", MASTER_PAYLOAD, Reset, Sort::Master),
        (
            "+monitor",
            "master mymaster 10.0.0.1 6379 quorum 2",
            Monitored,
            Sort::Master,
        ),
        ("-monitor", MASTER_PAYLOAD, Unmonitored, Sort::Master),
        (
            "+sentinel",
            SENTINEL_PAYLOAD,
            SentinelChanged,
            Sort::Sentinel,
        ),
    ] {
        assert_eq!(parsed(channel, payload), event(kind, sort), "{channel}");
    }
    let changed = format!("{REPLICA_PAYLOAD} new reported role is master");
    assert_eq!(
        parsed("-role-change", &changed),
        event(RoleChanged, Sort::Replica)
    );
    let moved = format!("{MASTER_PAYLOAD} ip 10.0.0.9 port 26379 for 0123");
    assert_eq!(
        parsed("+sentinel-address-switch", &moved),
        event(SentinelChanged, Sort::Master)
    );
    for (channel, payload, kind) in [
        ("+tilt", "#tilt mode entered", TiltEntered),
        ("-tilt", "#tilt mode exited", TiltLeft),
    ] {
        let tilt = Event {
            kind,
            node: None,
            master: None,
        };
        assert_eq!(parsed(channel, payload), Some(tilt));
    }
}

#[test]
fn names_and_ipv6_addresses_are_nodes_too() {
    let v6 = parsed(
        "+slave",
        "slave [2001:db8::2]:6380 2001:db8::2 6380 @ mymaster 2001:db8::1 6379",
    );
    assert_eq!(
        v6.and_then(|event| event.node),
        Some(Node::new("2001:db8::2", 6380))
    );
    let name = parsed(
        "+sdown",
        "slave redis-1:6379 redis-1 6379 @ mymaster redis-0 6379",
    );
    assert_eq!(
        name.and_then(|event| event.node),
        Some(Node::new("redis-1", 6379))
    );
}

#[test]
fn ignores_other_masters_wrong_arity_and_garbage() {
    for (channel, payload) in [
        ("+switch-master", "other 10.0.0.1 6379 10.0.0.2 6380"),
        ("+switch-master", "mymaster2 10.0.0.1 6379 10.0.0.2 6380"),
        ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2"),
        (
            "+switch-master",
            "mymaster 10.0.0.1 6379 10.0.0.2 6380 6381",
        ),
        ("+switch-master", "mymaster 10.0.0.1  6379 10.0.0.2 6380"),
        ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 0"),
        ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 65536"),
        ("+switch-master", "mymaster 10.0.0.1 6379 0.0.0.0 6380"),
        ("+switch-master", "mymaster 10.0.0.1 6379 a@b 6380"),
        ("+switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6380\r\n"),
        ("+switch-master", MASTER_PAYLOAD),
        ("switch-master", "mymaster 10.0.0.1 6379 10.0.0.2 6380"),
        ("+SWITCH-MASTER", "mymaster 10.0.0.1 6379 10.0.0.2 6380"),
        ("+sdown", "master other 10.0.0.1 6379"),
        (
            "+sdown",
            "slave mymaster 10.0.0.2 6380 @ other 10.0.0.1 6379",
        ),
        ("+sdown", "slave 10.0.0.2:6380 10.0.0.2 6380"),
        (
            "+sdown",
            "slave 10.0.0.2:6380 10.0.0.2 6380 # mymaster 10.0.0.1 6379",
        ),
        (
            "+sdown",
            "slave 10.0.0.2:6380 10.0.0.2 6380 @ mymaster 10.0.0.1",
        ),
        (
            "+sdown",
            "slave 10.0.0.2:6380 10.0.0.2 6380 @ mymaster 10.0.0.1 6379 more",
        ),
        (
            "+sdown",
            "slave 10.0.0.2:6380 10.0.0.2 -1 @ mymaster 10.0.0.1 6379",
        ),
        (
            "+sdown",
            "replica 10.0.0.2:6380 10.0.0.2 6380 @ mymaster 10.0.0.1 6379",
        ),
        ("+sdown", ""),
        ("+sdown", " "),
        ("+promoted-slave", MASTER_PAYLOAD),
        ("+try-failover", REPLICA_PAYLOAD),
        ("+tilt", "tilt"),
        ("+new-epoch", "7"),
        ("+vote-for-leader", "0123 7"),
        (
            "__sentinel__:hello",
            "10.0.0.3,26379,0123,7,mymaster,10.0.0.1,6379,7",
        ),
        ("", ""),
    ] {
        assert_eq!(parsed(channel, payload), None, "{channel} {payload}");
    }
    let long = format!("{MASTER_PAYLOAD} {}", "#".repeat(MAX_PAYLOAD));
    assert_eq!(parsed("+odown", &long), None);
    assert_eq!(
        parse(b"+sdown", b"master mymaster \xff\xfe 6379", OURS),
        None
    );
    assert_eq!(parse(b"\xff", b"\xff", OURS), None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(channel: Vec<u8>, payload: Vec<u8>, name: String) {
        parse(&channel, &payload, &name);
        for channel in CHANNELS {
            parse(channel.as_bytes(), &payload, &name);
        }
    }

    #[test]
    fn shuffled_words_never_panic(
        channel in prop::sample::select(CHANNELS),
        words in prop::collection::vec(prop::sample::select(vec![
            "master", "slave", "sentinel", "@", "mymaster", "10.0.0.1", "::1", "6379", "0", "", "#quorum",
        ]), 0..12),
    ) {
        if let Some(Event { node: Some(node), .. }) = parsed(channel, &words.join(" ")) {
            prop_assert!(node.port() != 0 && !node.host().is_empty());
        }
    }
}
