use proptest::prelude::*;
use redis::VerbatimFormat;

use super::*;

const A: &str = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";
const B: &str = "ed3a0221cee83ab2cacc24de61d901bb3f837dd2";
const NONE: &str = "0000000000000000000000000000000000000000";

/// As redis-server 7.0 writes them.
fn master(offset: &str, parent: &str, cut: &str) -> String {
    format!(
        "# Replication\r\nrole:master\r\nconnected_slaves:1\r\n\
         slave0:ip=127.0.0.1,port=17802,state=online,offset=50,lag=0\r\n\
         master_failover_state:no-failover\r\nmaster_replid:{A}\r\nmaster_replid2:{parent}\r\n\
         master_repl_offset:{offset}\r\nsecond_repl_offset:{cut}\r\nrepl_backlog_active:1\r\n\
         repl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:1\r\nrepl_backlog_histlen:50\r\n"
    )
}

fn replica(link: &str, received: &str, applied: &str) -> String {
    format!(
        "# Replication\r\nrole:slave\r\nmaster_host:127.0.0.1\r\nmaster_port:17801\r\n\
         master_link_status:{link}\r\nmaster_last_io_seconds_ago:0\r\nmaster_sync_in_progress:0\r\n\
         slave_read_repl_offset:{received}\r\nslave_repl_offset:{applied}\r\nslave_priority:100\r\n\
         slave_read_only:1\r\nreplica_announced:1\r\nconnected_slaves:0\r\n\
         master_failover_state:no-failover\r\nmaster_replid:{A}\r\nmaster_replid2:{B}\r\n\
         master_repl_offset:9999\r\nsecond_repl_offset:77\r\nrepl_backlog_active:1\r\n"
    )
}

fn read(text: &str) -> Result<Report, NoPosition> {
    let bulk = parse(&Value::BulkString(text.into()));
    let verbatim = Value::VerbatimString {
        format: VerbatimFormat::Text,
        text: text.to_owned(),
    };
    let with_attributes = Value::Attribute {
        data: Box::new(verbatim.clone()),
        attributes: Vec::new(),
    };
    assert_eq!(bulk, parse(&verbatim), "RESP2 and RESP3");
    assert_eq!(bulk, parse(&with_attributes), "RESP3 with attributes");
    bulk
}

fn timeline(id: &str) -> Timeline {
    Timeline::parse(id.as_bytes()).unwrap()
}

fn report(role: Role, offset: u64, origin: Option<(&str, u64)>) -> Report {
    Report {
        role,
        position: Position {
            timeline: timeline(A),
            offset,
        },
        origin: origin.map(|(parent, cut)| Origin {
            parent: timeline(parent),
            cut,
        }),
    }
}

fn complaint(text: &str) -> String {
    match read(text) {
        Err(NoPosition::Malformed(error)) => error.to_string(),
        other => panic!("{other:?} of {text}"),
    }
}

#[test]
fn a_master_is_where_its_offset_says_and_knows_where_it_came_from() {
    for (offset, parent, cut, expected) in [
        ("531", NONE, "-1", report(Role::Master, 531, None)),
        ("531", B, "502", report(Role::Master, 531, Some((B, 502)))),
        ("501", B, "502", report(Role::Master, 501, Some((B, 502)))),
        // A replica that never had data was made a master.
        ("0", B, "1", report(Role::Master, 0, Some((B, 1)))),
        // Never had a replica: it counts nothing.
        ("0", NONE, "-1", report(Role::Master, 0, None)),
        (
            "9223372036854775807",
            NONE,
            "-1",
            report(Role::Master, MAX_OFFSET, None),
        ),
        // An origin that cannot be is none.
        ("531", B, "533", report(Role::Master, 531, None)),
        ("531", B, "0", report(Role::Master, 531, None)),
        ("531", B, "-1", report(Role::Master, 531, None)),
        ("531", NONE, "502", report(Role::Master, 531, None)),
        ("531", A, "502", report(Role::Master, 531, None)),
        ("531", "?", "502", report(Role::Master, 531, None)),
    ] {
        let text = master(offset, parent, cut);
        assert_eq!(read(&text), Ok(expected), "{text}");
    }
}

#[test]
fn a_replica_is_where_it_has_executed_what_it_received() {
    for (link, received, applied, expected) in [
        ("up", "460", "431", Ok(431)),
        ("up", "0", "0", Ok(0)),
        ("up", "1", "1", Ok(1)),
        // The master died: the data is exactly at that offset.
        ("down", "460", "431", Ok(431)),
        ("down", "2", "2", Ok(2)),
        ("down", "1", "1", Err(NoPosition::NoData)),
        ("down", "0", "0", Err(NoPosition::NoData)),
        ("", "1", "1", Err(NoPosition::NoData)),
        ("UP", "1", "1", Err(NoPosition::NoData)),
        ("down", "-1", "-1", Err(NoPosition::NoData)),
        ("up", "-1", "-1", Err(NoPosition::NoData)),
    ] {
        let text = replica(link, received, applied);
        let expected = expected.map(|offset| report(Role::Replica, offset, None));
        assert_eq!(read(&text), expected, "{text}");
    }
}

#[test]
fn the_newer_names_mean_the_same() {
    let renamed = |text: String| {
        text.replace("role:slave", "role:replica")
            .replace("role:master", "role:primary")
            .replace("master_", "primary_")
            .replace("slave_", "replica_")
    };
    for text in [master("531", B, "502"), replica("up", "460", "431")] {
        let new = renamed(text.clone());
        assert_ne!(new, text);
        assert!(read(&new).is_ok());
        assert_eq!(read(&new), read(&text));
        // And both at once.
        assert_eq!(read(&format!("{text}primary_replid:{A}\r\n")), read(&text));
    }
}

#[test]
fn the_form_of_the_lines_does_not_matter() {
    let text = replica("up", "460", "431");
    let expected = Ok(report(Role::Replica, 431, None));
    let mut lines: Vec<_> = text.lines().collect();
    lines.reverse();
    for text in [
        lines.join("\r\n"),
        lines.join("\n"),
        format!("{text}\r\n# Keyspace\r\ndb0:keys=1\r\n"),
        format!("{text}a line without a value\r\n:\r\n::\r\n\n"),
        format!("{text}slave_repl_offset:431\r\n"),
        format!("{text}slave_repl_offset_of_another:9\r\n"),
        format!("{text}x:slave_repl_offset:9\r\n"),
    ] {
        assert_eq!(read(&text), expected, "{text}");
    }
}

#[test]
fn an_error_says_what_is_missing_or_wrong() {
    let (m, r) = (master("531", NONE, "-1"), replica("up", "460", "431"));
    let without = |text: &str, name: &str| {
        let lines = text.lines().filter(|line| !line.starts_with(name));
        lines.collect::<Vec<_>>().join("\r\n")
    };
    for (text, word) in [
        (String::new(), "no replication id"),
        (without(&m, "role:"), "no role"),
        (
            m.replace("role:master", "role:sentinel"),
            "sentinel is no role",
        ),
        (m.replace("role:master", "role: master"), "role"),
        (without(&m, "master_replid:"), "no replication id"),
        (m.replace(A, &A.to_uppercase()), "id"),
        (m.replace(A, NONE), "id"),
        (m.replace(A, &A[1..]), "id"),
        (without(&m, "master_repl_offset:"), "no master's offset"),
        (m.replace(":531", ":-1"), "-1 is no master's offset"),
        (m.replace(":531", ":5e1"), "5e1 is no master's offset"),
        (m.replace(":531", ":9223372036854775808"), "offset"),
        (without(&r, "slave_repl_offset:"), "no replica's offset"),
        (without(&r, "master_link_status:"), "no link status"),
        (r.replace(":431", ":"), "offset"),
        (format!("{r}slave_repl_offset:430\r\n"), "two different"),
        (format!("{r}primary_replid:{B}\r\n"), "two different"),
        (format!("{r}role:master\r\n"), "two different"),
        (format!("{r}{}", "#".repeat(MAX_TEXT)), "more than"),
    ] {
        let complaint = complaint(&text);
        assert!(complaint.contains(word), "{complaint} of {text:.2000}");
    }
    let refused = redis::parse_redis_value(b"-NOPERM no permission for 'info'\r\n").unwrap();
    for (reply, word) in [
        (Value::Nil, "nothing"),
        (Value::Int(7), "not a text"),
        (
            Value::Array(vec![Value::BulkString(m.into())]),
            "not a text",
        ),
        (refused, "error NOPERM"),
    ] {
        let error = parse(&reply).unwrap_err().to_string();
        assert!(error.contains(word), "{error} of {reply:?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(text: Vec<u8>) {
        let _ = parse_text(&text);
    }

    #[test]
    fn mixed_lines_give_nothing_that_they_do_not_say(lines in prop::collection::vec(
        prop::sample::select(vec![
            "role:master", "role:slave", "role:sentinel", "master_replid:8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb",
            "master_replid:x", "master_repl_offset:5", "slave_repl_offset:7", "slave_repl_offset:1",
            "slave_read_repl_offset:9", "master_link_status:up", "master_link_status:down",
            "second_repl_offset:3", "master_replid2:ed3a0221cee83ab2cacc24de61d901bb3f837dd2", "",
        ]),
        0..14,
    )) {
        let has = |line: &str| lines.contains(&line);
        if let Ok(report) = parse_text(lines.join("\r\n").as_bytes()) {
            prop_assert_eq!(report.role == Role::Master, has("role:master"));
            let offset = match report.role {
                Role::Master => 5,
                Role::Replica if has("slave_repl_offset:7") => 7,
                Role::Replica => 1,
            };
            prop_assert_eq!(report.position.offset, offset);
            prop_assert!(offset != 1 || has("master_link_status:up"));
            prop_assert!(!has("master_replid:x") && !has("role:sentinel"));
        }
    }
}
