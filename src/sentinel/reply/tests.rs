use proptest::prelude::*;

use super::*;
use crate::wire::role::{LinkState, RoleReply, parse as role};

fn bulk(text: impl AsRef<[u8]>) -> Value {
    Value::BulkString(text.as_ref().to_vec())
}

fn error(line: &str) -> Value {
    redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap()
}

const RUN_ID: &str = "0123456789abcdef0123456789abcdef01234567";

/// What Redis 7.0 lists for a healthy replica, less what nobody reads.
fn replica_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("name", "10.0.0.2:6380"),
        ("ip", "10.0.0.2"),
        ("port", "6380"),
        ("runid", RUN_ID),
        ("flags", "slave"),
        ("info-refresh", "1500"),
        ("role-reported", "slave"),
        ("master-link-down-time", "0"),
        ("master-link-status", "ok"),
        ("master-host", "10.0.0.1"),
        ("master-port", "6379"),
        ("slave-priority", "100"),
        ("slave-repl-offset", "4711"),
        ("replica-announced", "1"),
    ]
}

fn master_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("name", "mymaster"),
        ("ip", "10.0.0.1"),
        ("port", "6379"),
        ("runid", RUN_ID),
        ("flags", "master,o_down,failover_in_progress"),
        ("config-epoch", "7"),
        ("num-slaves", "2"),
        ("num-other-sentinels", "2"),
        ("quorum", "2"),
    ]
}

fn peer_fields() -> Vec<(&'static str, &'static str)> {
    vec![
        ("name", RUN_ID),
        ("ip", "10.0.0.3"),
        ("port", "26379"),
        ("runid", RUN_ID),
        ("flags", "sentinel,master_down"),
    ]
}

type Entry = Vec<(&'static str, &'static str)>;

fn with(mut entry: Entry, changes: &[(&'static str, &'static str)]) -> Entry {
    for (name, value) in changes {
        match entry.iter_mut().find(|(field, _)| field == name) {
            Some(field) => field.1 = value,
            None => entry.push((name, value)),
        }
    }
    entry
}

fn without(mut entry: Entry, name: &str) -> Entry {
    entry.retain(|(field, _)| *field != name);
    entry
}

fn flat(entry: &[(&str, &str)]) -> Value {
    Value::Array(
        entry
            .iter()
            .flat_map(|(name, value)| [bulk(name), bulk(value)])
            .collect(),
    )
}

fn map(entry: &[(&str, &str)]) -> Value {
    Value::Map(
        entry
            .iter()
            .map(|(name, value)| (bulk(name), bulk(value)))
            .collect(),
    )
}

fn list(entries: impl IntoIterator<Item = Value>) -> Value {
    Value::Array(entries.into_iter().collect())
}

fn the_replica(changes: &[(&'static str, &'static str)]) -> ReplicaInfo {
    let reply = list([flat(&with(replica_fields(), changes))]);
    let mut replicas = replicas(&reply).unwrap();
    assert_eq!(replicas.dropped, 0);
    replicas.entries.remove(0)
}

#[test]
fn the_masters_address() {
    let node = Node::new("10.0.0.1", 6379);
    for reply in [
        list([bulk("10.0.0.1"), bulk("6379")]),
        list([Value::SimpleString("10.0.0.1".into()), Value::Int(6379)]),
        Value::Attribute {
            data: Box::new(list([bulk("10.0.0.1"), bulk("6379")])),
            attributes: vec![],
        },
    ] {
        assert_eq!(master_addr(&reply), Ok(Some(node.clone())), "{reply:?}");
    }
    assert_eq!(master_addr(&Value::Nil), Ok(None));
    for reply in [
        list([]),
        list([bulk("10.0.0.1")]),
        list([bulk("10.0.0.1"), bulk("6379"), bulk("x")]),
        list([bulk("10.0.0.1"), bulk("0")]),
        list([bulk("10.0.0.1"), Value::Int(0)]),
        list([bulk("10.0.0.1"), Value::Int(-1)]),
        list([bulk("10.0.0.1"), Value::Int(65536)]),
        list([bulk(""), bulk("6379")]),
        list([bulk(b"\xff"), bulk("6379")]),
        list([bulk("/run/redis.sock"), bulk("6379")]),
        list([Value::Nil, Value::Nil]),
        list([list([bulk("10.0.0.1")]), bulk("6379")]),
        bulk("10.0.0.1:6379"),
        Value::Okay,
        Value::Int(1),
        error("ERR no"),
    ] {
        assert!(master_addr(&reply).is_err(), "{reply:?}");
    }
}

#[test]
fn a_malformed_reply_is_told_without_forging_a_line() {
    for (reply, text) in [
        (
            list([bulk("a\r\nb"), bulk("1")]),
            "malformed reply to SENTINEL GET-MASTER-ADDR-BY-NAME: unusable address, host a\\r\\nb, port 1",
        ),
        (
            error("NOAUTH Authentication required."),
            "malformed reply to SENTINEL GET-MASTER-ADDR-BY-NAME: error NOAUTH Authentication required.",
        ),
    ] {
        assert_eq!(master_addr(&reply).unwrap_err().to_string(), text);
    }
}

#[test]
fn the_masters_entry_in_both_protocols() {
    let expected = MasterInfo {
        node: Node::new("10.0.0.1", 6379),
        epoch: 7,
        flags: Flags::parse(b"master,o_down,failover_in_progress"),
        run_id: Some(RUN_ID.into()),
        informed: false,
    };
    for reply in [flat(&master_fields()), map(&master_fields())] {
        assert_eq!(master_info(&reply), Ok(expected.clone()));
    }
    let early = with(master_fields(), &[("runid", "")]);
    assert_eq!(master_info(&flat(&early)).unwrap().run_id, None);
    let old = without(without(master_fields(), "quorum"), "num-other-sentinels");
    assert!(master_info(&flat(&old)).is_ok());
}

#[test]
fn an_unusable_master_makes_the_whole_answer_malformed() {
    for name in ["ip", "port", "flags", "config-epoch"] {
        let entry = without(master_fields(), name);
        assert!(master_info(&flat(&entry)).is_err(), "without {name}");
        assert!(master_info(&map(&entry)).is_err(), "without {name}");
    }
    for change in [
        ("ip", ""),
        ("ip", "0.0.0.0"),
        ("ip", "a b"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("flags", "slave"),
        ("flags", "master_down"),
        ("config-epoch", "-1"),
        ("config-epoch", "x"),
        ("config-epoch", "99999999999999999999"),
    ] {
        let entry = with(master_fields(), &[change]);
        assert!(master_info(&flat(&entry)).is_err(), "{change:?}");
    }
    let mut odd = vec![bulk("ip")];
    odd.extend(master_fields().iter().flat_map(|(n, v)| [bulk(n), bulk(v)]));
    for reply in [
        list(odd),
        list([]),
        Value::Nil,
        Value::Okay,
        error("ERR No such master with that name"),
    ] {
        assert!(master_info(&reply).is_err(), "{reply:?}");
    }
}

#[test]
fn replicas_in_both_protocols() {
    let expected = ReplicaInfo {
        node: Node::new("10.0.0.2", 6380),
        flags: Flags::parse(b"slave"),
        link_ok: Some(true),
        link_down_for: None,
        master: Some(Node::new("10.0.0.1", 6379)),
        reports_master: false,
        run_id: Some(RUN_ID.into()),
    };
    for reply in [
        list([flat(&replica_fields())]),
        list([map(&replica_fields())]),
    ] {
        let replicas = replicas(&reply).unwrap();
        assert_eq!(replicas.entries, std::slice::from_ref(&expected));
        assert_eq!(replicas.dropped, 0);
    }
    assert_eq!(replicas(&list([])), Ok(Replicas::default()));
}

#[test]
fn before_the_first_info_nothing_is_known_of_the_link() {
    // 0 since 6.2, milliseconds since 1970 before.
    for age in ["0", "1700000000000"] {
        let replica = the_replica(&[
            ("flags", "slave,disconnected"),
            ("runid", ""),
            ("info-refresh", age),
            ("master-link-status", "err"),
            ("master-host", "?"),
            ("master-port", "0"),
            ("slave-repl-offset", "0"),
        ]);
        assert_eq!(replica.link_ok, None);
        assert_eq!(replica.master, None);
        assert_eq!(replica.run_id, None);
        assert_eq!(replica.excluded(&Node::new("10.0.0.1", 6379)), None);
    }
}

#[test]
fn an_unusable_replica_is_dropped_and_counted() {
    let good = || flat(&replica_fields());
    let other = |change| flat(&with(replica_fields(), &[("ip", "10.0.0.9"), change]));
    let mut entries = vec![good()];
    for change in [
        ("ip", ""),
        ("ip", "::"),
        ("ip", "10.0.0.9@x"),
        ("ip", "10.0.0.9\r\n"),
        ("port", "0"),
        ("port", "65536"),
        ("port", "-1"),
        ("port", "x"),
        ("flags", "master"),
        ("flags", "sentinel"),
        ("flags", ""),
    ] {
        entries.push(other(change));
    }
    for name in ["ip", "port", "flags"] {
        entries.push(flat(&without(replica_fields(), name)));
    }
    entries.extend([
        good(),
        map(&with(replica_fields(), &[("flags", "slave,s_down")])),
        list([bulk("ip")]),
        list([]),
        list([good()]),
        Value::Nil,
        Value::Int(1),
        bulk("x"),
        error("ERR x"),
        Value::Array(vec![bulk("ip"); 514]),
        Value::Map(vec![(bulk("ip"), bulk("10.0.0.9")); 257]),
    ]);
    let count = entries.len();
    let replicas = replicas(&Value::Array(entries)).unwrap();
    assert_eq!(replicas.entries, [the_replica(&[])]);
    assert_eq!(replicas.dropped, count - 1);
}

#[test]
fn an_answer_with_too_many_nodes_is_refused_whole() {
    assert_eq!(
        replicas(&Value::Array(vec![Value::Nil; 1024])).map(|r| r.dropped),
        Ok(1024)
    );
    for count in [1025, 1_000_000] {
        let reply = Value::Array(vec![Value::Nil; count]);
        assert!(replicas(&reply).is_err());
        assert!(sentinels(&reply).is_err());
    }
    for reply in [
        Value::Nil,
        Value::Okay,
        map(&replica_fields()),
        error("ERR No such master with that name"),
    ] {
        assert!(replicas(&reply).is_err(), "{reply:?}");
        assert!(sentinels(&reply).is_err(), "{reply:?}");
    }
}

#[test]
fn the_objections_of_sentinel_to_a_replica() {
    let master = Node::new("10.0.0.1", 6379);
    let follows = |follows: &str| {
        Some(Excluded::WrongMaster {
            follows: follows.into(),
        })
    };
    let down = |secs| Some(Excluded::LinkDown { since: secs });
    for (changes, expected) in [
        (&[][..], None),
        (&[("flags", "slave,disconnected")], None),
        (&[("flags", "slave,master_down")], None),
        (&[("flags", "slave,reconf_sent,reconf_inprog")], None),
        (
            &[("flags", "slave,s_down")],
            Some(Excluded::SubjectivelyDown),
        ),
        (
            &[("flags", "s_down,slave,disconnected")],
            Some(Excluded::SubjectivelyDown),
        ),
        (&[("flags", "slave,promoted")], Some(Excluded::Promoted)),
        (
            &[("role-reported", "master")],
            Some(Excluded::ReportsMaster),
        ),
        (
            &[("ip", "10.0.0.1"), ("port", "6379")],
            Some(Excluded::IsMaster),
        ),
        (&[("master-host", "?")], None),
        (&[("master-host", "10.0.0.7")], follows("10.0.0.7:6379")),
        (&[("master-port", "6390")], follows("10.0.0.1:6390")),
        // Only a resolver could tell.
        (&[("master-host", "redis-0")], None),
        (&[("master-link-status", "err")], down(None)),
        (
            &[
                ("master-link-status", "err"),
                ("master-link-down-time", "2000"),
            ],
            down(Some(Duration::from_secs(2))),
        ),
        (
            &[("master-link-status", "err"), ("info-refresh", "0")],
            None,
        ),
        (&[("master-link-status", "odd")], None),
    ] {
        let replica = the_replica(changes);
        assert_eq!(replica.excluded(&master), expected, "{changes:?}");
    }
}

#[test]
fn other_sentinels() {
    let good = peer_fields();
    let expected = Peer {
        node: Node::new("10.0.0.3", 26379),
        id: Some(RUN_ID.into()),
        flags: Flags::parse(b"sentinel,master_down"),
    };
    let reply = list([
        flat(&good),
        map(&good),
        flat(&with(peer_fields(), &[("ip", "0.0.0.0")])),
        flat(&with(
            peer_fields(),
            &[("ip", "10.0.0.4"), ("flags", "slave")],
        )),
        Value::Nil,
        list([bulk("ip")]),
    ]);
    assert_eq!(sentinels(&reply), Ok(vec![expected]));
    let nameless = with(peer_fields(), &[("runid", "x\r\ny")]);
    assert_eq!(sentinels(&list([flat(&nameless)])).unwrap()[0].id, None);
}

#[test]
fn a_nodes_own_role() {
    let master = Node::new("10.0.0.1", 6379);
    let replica = |host: &str, port: Value, state: &str| {
        list([bulk("slave"), bulk(host), port, bulk(state), Value::Int(9)])
    };
    let connected = RoleReply::Replica {
        master: master.clone(),
        state: LinkState::Connected,
        offset: 9,
    };
    for (reply, expected) in [
        (
            list([bulk("master"), Value::Int(7), list([])]),
            RoleReply::Master {
                offset: 7,
                replicas: 0,
            },
        ),
        (
            replica("10.0.0.1", Value::Int(6379), "connected"),
            connected.clone(),
        ),
        (replica("10.0.0.1", bulk("6379"), "connected"), connected),
        (
            replica("10.0.0.1", Value::Int(6379), "sync"),
            RoleReply::Replica {
                master: master.clone(),
                state: LinkState::Other("sync".into()),
                offset: 9,
            },
        ),
        (
            replica("10.0.0.8", Value::Int(6379), "connected"),
            RoleReply::Replica {
                master: Node::new("10.0.0.8", 6379),
                state: LinkState::Connected,
                offset: 9,
            },
        ),
        (
            list([bulk("sentinel"), list([bulk("mymaster")])]),
            RoleReply::Sentinel,
        ),
    ] {
        let parsed = role(&reply).unwrap();
        assert_eq!(parsed, expected);
    }
    let hostile = replica("10.0.0.1", Value::Int(6379), "a\nb");
    assert!(
        matches!(role(&hostile), Ok(RoleReply::Replica { state: LinkState::Other(s), .. }) if s == "a\\nb")
    );
    for reply in [
        list([]),
        list([bulk("master")]),
        list([bulk("master"), bulk("x")]),
        list([
            bulk("slave"),
            bulk("10.0.0.1"),
            Value::Int(6379),
            bulk("connected"),
        ]),
        replica("", Value::Int(6379), "connected"),
        replica("10.0.0.1", Value::Int(0), "connected"),
        replica("10.0.0.1", Value::Int(70_000), "connected"),
        list([
            bulk("slave"),
            bulk("10.0.0.1"),
            Value::Int(1),
            Value::Nil,
            Value::Int(1),
        ]),
        list([
            bulk("replica"),
            bulk("10.0.0.1"),
            Value::Int(1),
            bulk("connected"),
            Value::Int(1),
        ]),
        list([Value::Nil]),
        Value::Nil,
        Value::Okay,
        error("LOADING Redis is loading the dataset in memory"),
    ] {
        assert!(role(&reply).is_err(), "{reply:?}");
    }
}

fn any_value() -> impl Strategy<Value = Value> {
    let words = prop::sample::select(vec![
        "ip",
        "port",
        "flags",
        "config-epoch",
        "slave",
        "master",
        "10.0.0.1",
        "::1",
        "6379",
        "-1",
        "0",
        "?",
        "master-host",
        "master-port",
        "runid",
        "info-refresh",
        "18446744073709551615",
    ]);
    let leaf = prop_oneof![
        4 => words.prop_map(bulk),
        1 => any::<Vec<u8>>().prop_map(Value::BulkString),
        1 => any::<i64>().prop_map(Value::Int),
        1 => Just(Value::Nil),
        1 => ".*".prop_map(Value::SimpleString),
        1 => any::<f64>().prop_map(Value::Double),
    ];
    leaf.prop_recursive(4, 64, 12, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..12).prop_map(Value::Array),
            prop::collection::vec((inner.clone(), inner.clone()), 0..8).prop_map(Value::Map),
            prop::collection::vec(inner, 0..4).prop_map(Value::Set),
        ]
    })
}

proptest! {
    #[test]
    fn arbitrary_replies_never_panic_nor_yield_an_unusable_address(reply in any_value()) {
        let mut nodes = Vec::new();
        nodes.extend(master_addr(&reply).ok().flatten());
        nodes.extend(master_info(&reply).ok().map(|master| master.node));
        for replica in replicas(&reply).unwrap_or_default().entries {
            replica.excluded(&Node::new("10.0.0.1", 6379));
            nodes.push(replica.node);
            nodes.extend(replica.master);
        }
        nodes.extend(sentinels(&reply).unwrap_or_default().into_iter().map(|peer| peer.node));
        if let Ok(RoleReply::Replica { master, .. }) = role(&reply) {
            nodes.push(master);
        }
        for node in nodes {
            prop_assert!(node.port() != 0 && announced::host(node.host().as_bytes()).is_some());
        }
    }

    #[test]
    fn arbitrary_field_values_never_panic(name in 0..14_usize, value: Vec<u8>) {
        let mut pairs: Vec<_> = replica_fields().iter().map(|(n, v)| (bulk(n), bulk(v))).collect();
        pairs[name].1 = Value::BulkString(value);
        let replicas = replicas(&list([Value::Map(pairs)])).unwrap();
        prop_assert_eq!(replicas.entries.len() + replicas.dropped, 1);
    }
}
