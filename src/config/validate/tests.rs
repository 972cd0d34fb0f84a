use super::*;
use crate::config::Prefer;

const CENTURY: Duration = Duration::from_secs(36_500 * 86_400);
const TOO_LONG: Duration = Duration::from_secs(36_500 * 86_400 + 1);

fn valid() -> Config {
    Config::new(["10.0.0.1"], "mymaster")
}

#[test]
fn boundary_values_are_accepted() {
    let accepted: [fn(&mut Config); 29] = [
        |c| c.master_name = "My_master-1.eu".into(),
        |c| c.password = Some("p w\n".into()),
        |c| (c.username, c.password) = (Some("ü".into()), Some("p".into())),
        |c| (c.sentinel_username, c.sentinel_password) = (Some("u".into()), Some("p".into())),
        |c| c.client_name = Some("!~app@host:1".into()),
        |c| c.name = Some("Sitzungen für \"a\"".into()),
        |c| c.name = Some("a".repeat(128)),
        |c| c.db = 2_147_483_647,
        |c| c.connect_timeout = CENTURY,
        |c| c.command_timeout = None,
        |c| c.failover_timeout = Duration::ZERO,
        |c| c.freshness.patience = Duration::ZERO,
        |c| c.freshness.patience = CENTURY,
        |c| c.max_staleness = Some(Duration::from_secs(1)),
        |c| c.max_staleness = Some(CENTURY),
        |c| c.prefer = Prefer::Zone("Room 7".into()),
        |c| c.refresh_interval = Duration::from_nanos(1),
        |c| c.write.max_active = 1,
        |c| c.write.max_active = 65_535,
        |c| c.write.max_idle = Some(0),
        |c| c.write.max_idle = Some(16),
        |c| c.write.min_idle = 16,
        |c| (c.write.max_idle, c.write.min_idle) = (Some(4), 4),
        |c| c.read.wait_timeout = None,
        |c| c.read.wait_timeout = Some(Duration::ZERO),
        |c| c.read.idle_timeout = None,
        |c| c.read.idle_timeout = Some(CENTURY), // longer than the lifetime
        |c| c.read.test_idle_after = Some(Duration::ZERO),
        |c| (c.read.max_lifetime, c.read.test_idle_after) = (None, None),
    ];
    for (index, change) in accepted.iter().enumerate() {
        let mut config = valid();
        change(&mut config);
        assert_eq!(config.validate(), Ok(()), "{index}: {config:?}");
    }
}

/// What breaks a rule, the field that the error names, and the value that it shows.
type Refused = (fn(&mut Config), &'static str, Option<&'static str>);

#[track_caller]
fn assert_refused(refused: &[Refused]) {
    for (spoil, field, value) in refused {
        let mut config = valid();
        spoil(&mut config);
        let error = config.validate().expect_err(field);
        assert_eq!(error.field(), *field, "{error}");
        assert_eq!(error.value(), *value, "{error}");
        assert!(!error.reason().is_empty());
        assert!(error.to_string().contains(&format!("`{field}`")), "{error}");
    }
}

#[test]
fn unusable_sentinels_and_names_are_refused() {
    assert_refused(&[
        (|c| c.sentinels.clear(), "sentinels", None),
        (
            |c| c.sentinels.push(String::new()),
            "sentinels[1]",
            Some(r#""""#),
        ),
        (
            |c| c.sentinels.push("h:0".into()),
            "sentinels[1]",
            Some(r#""h:0""#),
        ),
        (
            |c| c.sentinels.push("h\r\n".into()),
            "sentinels[1]",
            Some(r#""h\r\n""#),
        ),
        (|c| c.sentinels[0] = "u:p@h".into(), "sentinels[0]", None),
        (|c| c.master_name.clear(), "master_name", Some(r#""""#)),
        (
            |c| c.master_name = "a b".into(),
            "master_name",
            Some(r#""a b""#),
        ),
        (
            |c| c.master_name = "a\n".into(),
            "master_name",
            Some(r#""a\n""#),
        ),
        (
            |c| c.master_name = "ä".into(),
            "master_name",
            Some(r#""ä""#),
        ),
        (
            |c| c.client_name = Some(String::new()),
            "client_name",
            Some(r#""""#),
        ),
        (
            |c| c.client_name = Some("a b".into()),
            "client_name",
            Some(r#""a b""#),
        ),
        (
            |c| c.client_name = Some("a\n".into()),
            "client_name",
            Some(r#""a\n""#),
        ),
        (|c| c.name = Some(String::new()), "name", Some(r#""""#)),
        (|c| c.name = Some("a\nb".into()), "name", Some(r#""a\nb""#)),
        (
            |c| c.client_name = Some("ä".into()),
            "client_name",
            Some(r#""ä""#),
        ),
    ]);
}

#[test]
fn unusable_credentials_are_refused_without_showing_them() {
    assert_refused(&[
        (|c| c.username = Some("u".into()), "password", None),
        (|c| c.password = Some("".into()), "password", None),
        (
            |c| c.sentinel_username = Some("u".into()),
            "sentinel_password",
            None,
        ),
        (
            |c| c.sentinel_password = Some("".into()),
            "sentinel_password",
            None,
        ),
        (
            |c| (c.username, c.password) = (Some(String::new()), Some("p".into())),
            "username",
            None,
        ),
        (
            |c| (c.username, c.password) = (Some("a b".into()), Some("p".into())),
            "username",
            None,
        ),
        (
            |c| (c.sentinel_username, c.sentinel_password) = (Some("a\0".into()), Some("p".into())),
            "sentinel_username",
            None,
        ),
    ]);
}

#[test]
fn numbers_out_of_range_are_refused() {
    assert_refused(&[
        (|c| c.db = -1, "db", Some("-1")),
        (|c| c.db = 2_147_483_648, "db", Some("2147483648")),
        (|c| c.write.max_active = 0, "write.max_active", Some("0")),
        (
            |c| c.read.max_active = 65_536,
            "read.max_active",
            Some("65536"),
        ),
        (
            |c| c.write.max_idle = Some(17),
            "write.max_idle",
            Some("17"),
        ),
        (|c| c.read.min_idle = 17, "read.min_idle", Some("17")),
        (
            |c| (c.read.max_idle, c.read.min_idle) = (Some(2), 3),
            "read.min_idle",
            Some("3"),
        ),
        (
            |c| c.reply_limits.max_depth = 0,
            "reply_limits.max_depth",
            Some("0"),
        ),
        (
            |c| c.reply_limits.max_bulk_bytes = 0,
            "reply_limits.max_bulk_bytes",
            Some("0"),
        ),
        (
            |c| c.reply_limits.max_elements = 0,
            "reply_limits.max_elements",
            Some("0"),
        ),
        (
            |c| c.reply_limits.max_reply_bytes = 0,
            "reply_limits.max_reply_bytes",
            Some("0"),
        ),
    ]);
}

#[test]
fn zero_is_refused_where_it_has_no_meaning() {
    const ZERO: Duration = Duration::ZERO;
    assert_refused(&[
        (|c| c.connect_timeout = ZERO, "connect_timeout", Some("0ns")),
        (
            |c| c.command_timeout = Some(ZERO),
            "command_timeout",
            Some("0ns"),
        ),
        (
            |c| c.sentinel_timeout = ZERO,
            "sentinel_timeout",
            Some("0ns"),
        ),
        (
            |c| c.refresh_interval = ZERO,
            "refresh_interval",
            Some("0ns"),
        ),
        (
            |c| c.write.idle_timeout = Some(ZERO),
            "write.idle_timeout",
            Some("0ns"),
        ),
        (
            |c| c.read.max_lifetime = Some(ZERO),
            "read.max_lifetime",
            Some("0ns"),
        ),
    ]);
}

#[test]
fn times_that_would_overflow_the_clock_are_refused() {
    const SHOWN: Option<&str> = Some("3153600001s");
    assert_refused(&[
        (|c| c.connect_timeout = TOO_LONG, "connect_timeout", SHOWN),
        (
            |c| c.command_timeout = Some(TOO_LONG),
            "command_timeout",
            SHOWN,
        ),
        (|c| c.sentinel_timeout = TOO_LONG, "sentinel_timeout", SHOWN),
        (|c| c.refresh_interval = TOO_LONG, "refresh_interval", SHOWN),
        (|c| c.failover_timeout = TOO_LONG, "failover_timeout", SHOWN),
        (
            |c| c.freshness.patience = TOO_LONG,
            "freshness.patience",
            SHOWN,
        ),
        (
            |c| c.write.wait_timeout = Some(TOO_LONG),
            "write.wait_timeout",
            SHOWN,
        ),
        (
            |c| c.write.idle_timeout = Some(TOO_LONG),
            "write.idle_timeout",
            SHOWN,
        ),
        (
            |c| c.read.max_lifetime = Some(TOO_LONG),
            "read.max_lifetime",
            SHOWN,
        ),
        (
            |c| c.read.test_idle_after = Some(TOO_LONG),
            "read.test_idle_after",
            SHOWN,
        ),
    ]);
    assert!(tokio::time::Instant::now().checked_add(CENTURY).is_some());
}

#[test]
fn a_configuration_is_for_sentinels_or_for_nodes() {
    type Spoil = fn(&mut Config);
    let cases: [(Spoil, &str); 7] = [
        (|c| c.nodes.clear(), "sentinels"),
        (|c| c.sentinels.push("a".into()), "nodes"),
        (|c| c.master_name.push('m'), "master_name"),
        (
            |c| c.sentinel_password = Some("canary".into()),
            "sentinel_password",
        ),
        (
            |c| c.sentinel_username = Some("canary".into()),
            "sentinel_username",
        ),
        (|c| c.nodes.push("redis://:canary@h".into()), "nodes[1]"),
        (|c| c.nodes.push("h:0".into()), "nodes[1]"),
    ];
    Config::standalone("h").validate().unwrap();
    Config::nodes(["h:1", "[::1]", "/run/s.sock"])
        .validate()
        .unwrap();
    assert_eq!(
        Config::nodes([""; 0]).validate().unwrap_err().field(),
        "sentinels"
    );
    for (spoil, field) in cases {
        let mut config = Config::standalone("h");
        spoil(&mut config);
        let error = config.validate().unwrap_err();
        assert_eq!(error.field(), field, "{error}");
        assert!(!error.to_string().contains("canary"), "{error}");
        assert!(!format!("{config:?}").contains("canary"));
    }
}
