use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    config::{Protocol, ReadFrom, Secret},
    node::Node,
};

#[track_caller]
fn parsed(url: &str) -> Config {
    parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
}

#[test]
fn the_shortest_url_leaves_every_default() {
    let config = parsed("redis-sentinel://h#m");
    assert_eq!(
        format!("{config:?}"),
        format!("{:?}", Config::new(["h"], "m"))
    );
    for url in ["redis-sentinel://h/#m", "REDIS-Sentinel://h/0#m"] {
        assert_eq!(format!("{:?}", parsed(url)), format!("{config:?}"), "{url}");
    }
}

#[test]
fn every_part_finds_its_field() {
    let config = parsed(
        "redis-sentinel://us%65r:p%40%3A%2F%3F%23w@a,b:1,[::1]:2,%2Frun%2Fs.sock/15?client_name=x#my.master-1",
    );
    assert_eq!(config.sentinels, ["a", "b:1", "[::1]:2", "/run/s.sock"]);
    assert_eq!(config.username.as_deref(), Some("user"));
    assert_eq!(
        config.password.as_ref().map(Secret::expose),
        Some("p@:/?#w")
    );
    assert_eq!(config.db, 15);
    assert_eq!(config.client_name.as_deref(), Some("x"));
    assert_eq!(config.master_name, "my.master-1");

    let config = parsed("redis-sentinel://:none@h,h#m%5f");
    assert_eq!(
        (
            config.username,
            config.password.as_ref().map(Secret::expose)
        ),
        (None, Some("none"))
    );
    assert_eq!(config.sentinels, ["h", "h"]);
    assert_eq!(config.master_name, "m_");
}

#[test]
fn option_values_are_decoded_but_a_plus_stays() {
    let config = parsed(
        "redis-sentinel://h?sentinel_username=%C3%BC&sentinel_password=a+b%26c%20d=%25&client_name=none#m",
    );
    assert_eq!(config.sentinel_username.as_deref(), Some("ü"));
    assert_eq!(
        config.sentinel_password.as_ref().map(Secret::expose),
        Some("a+b&c d=%")
    );
    assert_eq!(config.client_name.as_deref(), Some("none"));
}

/// Each option with two values; `Debug` shows the field of the same name changing between them.
const OPTIONS: [(&str, &str, &str); 41] = [
    ("client_name", "a", r#"Some("a")"#),
    ("name", "the%20shop", r#"Some("the shop")"#),
    ("measure", "commands", "Commands"),
    ("measure", "connections", "Connections"),
    ("trace", "off", "Off"),
    ("trace", "errors", "Errors"),
    ("trace", "commands", "Commands"),
    ("adopt", "announced", "Announced"),
    ("adopt", "promoted", "Promoted"),
    ("read_from", "any", "Any"),
    ("read_from", "master", "Master"),
    ("read_from", "master_preferred", "MasterPreferred"),
    ("read_from", "replica", "Replica"),
    ("read_from", "replica_preferred", "ReplicaPreferred"),
    ("protocol", "resp2", "Resp2"),
    ("protocol", "resp3", "Resp3"),
    ("connect_timeout", "250ms", "250ms"),
    ("command_timeout", "2s", "Some(2s)"),
    ("command_timeout", "none", "None"),
    ("sentinel_timeout", "1s", "1s"),
    ("refresh_interval", "1m", "60s"),
    ("failover_timeout", "0s", "0ns"),
    ("write.max_active", "17", "17"),
    ("write.max_idle", "4", "Some(4)"),
    ("write.min_idle", "3", "3"),
    ("write.wait_timeout", "none", "None"),
    ("write.idle_timeout", "2h", "Some(7200s)"),
    ("write.max_lifetime", "none", "None"),
    ("write.test_idle_after", "0ms", "Some(0ns)"),
    ("multiplexed.connections", "3", "3"),
    ("multiplexed.max_in_flight", "100", "100"),
    ("multiplexed.max_pending_bytes", "65536", "65536"),
    ("freshness.patience", "0ms", "0ns"),
    ("freshness.otherwise", "master", "Master"),
    ("freshness.otherwise", "fail", "Fail"),
    ("freshness.otherwise", "stale", "Stale"),
    ("freshness.lost", "tell", "Tell"),
    ("freshness.lost", "fail", "Fail"),
    ("reply_limits.max_depth", "7", "7"),
    ("reply_limits.max_bulk_bytes", "1000", "1000"),
    ("reply_limits.max_elements", "1001", "1001"),
];

/// The value that `Debug` prints for a field of `Config` or of one of its limits.
fn shown(config: &Config, name: &str) -> String {
    let (text, field) = match name.split_once('.') {
        None => (format!("{config:?}"), name),
        Some(("write", field)) => (format!("{:?}", config.write), field),
        Some(("read", field)) => (format!("{:?}", config.read), field),
        Some(("multiplexed", field)) => (format!("{:?}", config.multiplexed), field),
        Some(("freshness", field)) => (format!("{:?}", config.freshness), field),
        Some((_, field)) => (format!("{:?}", config.reply_limits), field),
    };
    let (_, rest) = text.split_once(&format!(" {field}: ")).unwrap();
    let end = rest.find([',', '}']).unwrap();
    rest[..end].trim().to_owned()
}

#[test]
fn every_option_sets_the_field_of_its_name() {
    let last = ("reply_limits.max_reply_bytes", "1002", "1002");
    for (name, value, expected) in OPTIONS.into_iter().chain([last]) {
        let config = parsed(&format!("redis-sentinel://h?{name}={value}#m"));
        assert_eq!(shown(&config, name), expected, "{name}");

        let Some(limit) = name.strip_prefix("write.") else {
            continue;
        };
        assert_ne!(shown(&config, &format!("read.{limit}")), expected, "{name}");
        let config = parsed(&format!("redis-sentinel://h?read.{limit}={value}#m"));
        assert_eq!(
            shown(&config, &format!("read.{limit}")),
            expected,
            "read.{limit}"
        );
        assert_ne!(shown(&config, name), expected, "read.{limit}");
        let config = parsed(&format!("redis-sentinel://h?{limit}={value}#m"));
        assert_eq!(
            shown(&config, &format!("read.{limit}")),
            expected,
            "{limit}"
        );
        assert_eq!(shown(&config, name), expected, "{limit}");
    }
}

#[test]
fn options_combine() {
    let config = parsed(
        "redis-sentinel://h?max_idle=none&write.max_active=32&read.max_active=64&protocol=resp2&read_from=any&idle_timeout=240s#m",
    );
    assert_eq!(config.write.max_active, 32);
    assert_eq!(config.read.max_active, 64);
    assert_eq!(config.write.max_idle, None);
    assert_eq!(config.protocol, Protocol::Resp2);
    assert_eq!(config.read_from, ReadFrom::Any);
    assert_eq!(config.read.idle_timeout, Some(Duration::from_secs(240)));
}

/// URLs and the field that the error names.
const BAD: &[(&str, &str)] = &[
    ("", "url"),
    ("h:26379", "url"),
    ("//h#m", "url"),
    ("redis://h#m", "master_name"),
    ("redis://h#", "master_name"),
    ("valkey://h?sentinel_password=x", "sentinel_password"),
    ("redis://h?nodes=a", "nodes"),
    ("redis://h?sentinels=a", "sentinels"),
    ("redis://", "nodes[0]"),
    ("redis:///run/redis.sock", "nodes[0]"),
    ("redis://a,", "nodes[1]"),
    ("redis://a,b:99999", "nodes[1]"),
    ("redis+unix:///run/redis.sock", "url"),
    ("redis:h", "url"),
    ("redis-sentinel://h?tls.ca_file=/ca.crt#m", "tls.ca_file"),
    ("redis-sentinel://h?sentinel_tls=off#m", "sentinel_tls"),
    ("redis://h?tls.verify=none", "tls.verify"),
    ("redis://h?tls=true", "tls"),
    ("redissentinel://h#m", "url"),
    ("http://h#m", "url"),
    ("redis-sentinel:h#m", "url"),
    (" redis-sentinel://h#m", "url"),
    ("redis-sentinel://h#m\n", "url"),
    ("redis-sentinel://h?client_name=a b#m", "url"),
    ("redis-sentinel://:pässword@h#m", "url"),
    ("redis-sentinel://", "sentinels[0]"),
    ("redis-sentinel://#m", "sentinels[0]"),
    ("redis-sentinel:///0#m", "sentinels[0]"),
    ("redis-sentinel://,#m", "sentinels[0]"),
    ("redis-sentinel://h,#m", "sentinels[1]"),
    ("redis-sentinel://h,,i#m", "sentinels[1]"),
    ("redis-sentinel://h:#m", "sentinels[0]"),
    ("redis-sentinel://h:0#m", "sentinels[0]"),
    ("redis-sentinel://h:65536#m", "sentinels[0]"),
    ("redis-sentinel://h,i:x#m", "sentinels[1]"),
    ("redis-sentinel://::1#m", "sentinels[0]"),
    ("redis-sentinel://[::1#m", "sentinels[0]"),
    ("redis-sentinel://0.0.0.0#m", "sentinels[0]"),
    ("redis-sentinel://a%2fb#m", "sentinels[0]"),
    ("redis-sentinel://a%zz#m", "sentinels[0]"),
    ("redis-sentinel://h%0d%0a#m", "sentinels[0]"),
    ("redis-sentinel://:p@#m", "sentinels[0]"),
    ("redis-sentinel://user:pass/word@h#m", "url"),
    ("redis-sentinel://user:pass?word@h#m", "url"),
    ("redis-sentinel://user:pass#word@h#m", "url"),
    ("redis-sentinel://h?client_name=a@b#m", "url"),
    ("redis-sentinel://user:pass@word@h#m", "password"),
    ("redis-sentinel://user:pass:word@h#m", "password"),
    ("redis-sentinel://password@h#m", "password"),
    ("redis-sentinel://@h#m", "password"),
    ("redis-sentinel://:@h#m", "password"),
    ("redis-sentinel://user:@h#m", "password"),
    ("redis-sentinel://:p%@h#m", "password"),
    ("redis-sentinel://:p%4@h#m", "password"),
    ("redis-sentinel://:p%+1@h#m", "password"),
    ("redis-sentinel://:%ff@h#m", "password"),
    ("redis-sentinel://%ff:p@h#m", "username"),
    ("redis-sentinel://a%20b:p@h#m", "username"),
    ("redis-sentinel://h", "master_name"),
    ("redis-sentinel://h#", "master_name"),
    ("redis-sentinel://h/mymaster", "master_name"),
    ("redis-sentinel://h#a#b", "master_name"),
    ("redis-sentinel://h#a/b", "master_name"),
    ("redis-sentinel://h#a%20b", "master_name"),
    ("redis-sentinel://h#a%", "master_name"),
    ("redis-sentinel://h/-1#m", "db"),
    ("redis-sentinel://h/+1#m", "db"),
    ("redis-sentinel://h/x#m", "db"),
    ("redis-sentinel://h/%31#m", "db"),
    ("redis-sentinel://h/1/#m", "db"),
    ("redis-sentinel://h/1/2#m", "db"),
    ("redis-sentinel://h//1#m", "db"),
    ("redis-sentinel://h/2147483648#m", "db"),
    ("redis-sentinel://h/99999999999999999999#m", "db"),
    ("redis-sentinel://h?#m", "url"),
    ("redis-sentinel://h?protocol=resp2&#m", "url"),
    ("redis-sentinel://h?&protocol=resp2#m", "url"),
    ("redis-sentinel://h?protocol#m", "url"),
    ("redis-sentinel://h?=1#m", "url"),
    ("redis-sentinel://h?abc=1#m", "url"),
    ("redis-sentinel://h?Max_Active=1#m", "url"),
    ("redis-sentinel://h?max%5Factive=1#m", "url"),
    ("redis-sentinel://h?both.max_active=1#m", "url"),
    ("redis-sentinel://h?write.read.max_active=1#m", "url"),
    ("redis-sentinel://h?write.protocol=resp2#m", "url"),
    ("redis-sentinel://h?max_depth=1#m", "url"),
    ("redis-sentinel://h?address_map=x#m", "address_map"),
    ("redis-sentinel://h?address_map=a:1=b#m", "address_map"),
    ("redis-sentinel://h?address_map=a:1=b:2,#m", "address_map"),
    ("redis-sentinel://h?password_file=#m", "password_file"),
    ("redis-sentinel://:p@h?password_file=/f#m", "password"),
    (
        "redis-sentinel://h?sentinel_password=p&sentinel_password_file=/f#m",
        "sentinel_password_file",
    ),
    ("redis-sentinel://h?sentinels=a#m", "sentinels"),
    ("redis-sentinel://h?insecure=true#m", "url"),
    ("redis-sentinel://h?username=u#m", "username"),
    ("redis-sentinel://h?password=p#m", "password"),
    ("redis-sentinel://h?db=1#m", "db"),
    ("redis-sentinel://h?master_name=m#m", "master_name"),
    (
        "redis-sentinel://h?protocol=resp2&protocol=resp2#m",
        "protocol",
    ),
    (
        "redis-sentinel://h?max_active=1&max_active=1#m",
        "max_active",
    ),
    (
        "redis-sentinel://h?max_active=1&read.max_active=2#m",
        "read.max_active",
    ),
    (
        "redis-sentinel://h?write.max_active=1&max_active=2#m",
        "write.max_active",
    ),
    ("redis-sentinel://h?protocol=3#m", "protocol"),
    ("redis-sentinel://h?protocol=RESP3#m", "protocol"),
    ("redis-sentinel://h?adopt=early#m", "adopt"),
    ("redis-sentinel://h?trace=true#m", "trace"),
    ("redis-sentinel://h?measure=all#m", "measure"),
    ("redis-sentinel://h?read_from=slave#m", "read_from"),
    (
        "redis-sentinel://h?read_from=master-preferred#m",
        "read_from",
    ),
    ("redis-sentinel://h?read_from=#m", "read_from"),
    ("redis-sentinel://h?max_active=#m", "max_active"),
    ("redis-sentinel://h?max_active=-1#m", "max_active"),
    ("redis-sentinel://h?max_active=+1#m", "max_active"),
    ("redis-sentinel://h?max_active=1k#m", "max_active"),
    ("redis-sentinel://h?max_active=none#m", "max_active"),
    ("redis-sentinel://h?min_idle=none#m", "min_idle"),
    (
        "redis-sentinel://h?max_active=99999999999999999999#m",
        "max_active",
    ),
    ("redis-sentinel://h?connect_timeout=5#m", "connect_timeout"),
    ("redis-sentinel://h?connect_timeout=s#m", "connect_timeout"),
    (
        "redis-sentinel://h?connect_timeout=1.5s#m",
        "connect_timeout",
    ),
    (
        "redis-sentinel://h?connect_timeout=-1s#m",
        "connect_timeout",
    ),
    ("redis-sentinel://h?connect_timeout=5S#m", "connect_timeout"),
    (
        "redis-sentinel://h?connect_timeout=5%20s#m",
        "connect_timeout",
    ),
    ("redis-sentinel://h?connect_timeout=1d#m", "connect_timeout"),
    (
        "redis-sentinel://h?connect_timeout=1h30m#m",
        "connect_timeout",
    ),
    (
        "redis-sentinel://h?connect_timeout=none#m",
        "connect_timeout",
    ),
    (
        "redis-sentinel://h?connect_timeout=18446744073709551616s#m",
        "connect_timeout",
    ),
    (
        "redis-sentinel://h?connect_timeout=18446744073709551615h#m",
        "connect_timeout",
    ),
    (
        "redis-sentinel://h?failover_timeout=none#m",
        "failover_timeout",
    ),
    ("redis-sentinel://h?client_name=%ff#m", "client_name"),
    ("redis-sentinel://h?client_name=#m", "client_name"),
    ("redis-sentinel://h?client_name=a%0ab#m", "client_name"),
    (
        "redis-sentinel://h?sentinel_username=u#m",
        "sentinel_password",
    ),
    (
        "redis-sentinel://h?sentinel_password=#m",
        "sentinel_password",
    ),
    ("redis-sentinel://h?max_active=0#m", "write.max_active"),
    ("redis-sentinel://h?read.max_idle=17#m", "read.max_idle"),
    ("redis-sentinel://h?command_timeout=0s#m", "command_timeout"),
    (
        "redis-sentinel://h?wait_timeout=876001h#m",
        "write.wait_timeout",
    ),
    (
        "redis-sentinel://h?reply_limits.max_depth=0#m",
        "reply_limits.max_depth",
    ),
    ("redis-sentinel://h?reply_limits.depth=1#m", "url"),
    (
        "redis-sentinel://h?freshness.patience=5#m",
        "freshness.patience",
    ),
    (
        "redis-sentinel://h?freshness.otherwise=none#m",
        "freshness.otherwise",
    ),
    ("redis-sentinel://h?freshness.lost=#m", "freshness.lost"),
    ("redis-sentinel://h?freshness=1#m", "url"),
    (
        "redis-sentinel://h?multiplexed.connections=0#m",
        "multiplexed.connections",
    ),
    (
        "redis-sentinel://h?multiplexed.max_in_flight=0#m",
        "multiplexed.max_in_flight",
    ),
    ("redis-sentinel://h?multiplexed.sockets=1#m", "url"),
];

#[test]
fn malformed_urls_are_refused_with_the_part_named() {
    for (url, field) in BAD {
        let error = parse(url).expect_err(url);
        assert_eq!(error.field(), *field, "{url}: {error}");
        assert!(
            url.is_empty() || !error.to_string().contains(url),
            "{url}: {error}"
        );
    }
}

#[test]
fn errors_show_the_offending_text_of_a_url_without_secrets() {
    for (url, text) in [
        (
            "redis-sentinel://h?max_actve=1#m",
            r#"invalid `url` ("max_actve"): option 1 is not known"#,
        ),
        (
            "redis-sentinel://h?protocol=4#m",
            r#"invalid `protocol` ("4"): must be `resp2` or `resp3`"#,
        ),
        (
            "redis-sentinel://h?write.max_active=0#m",
            "invalid `write.max_active` (0): must be from 1 to 65535",
        ),
        (
            "redis-sentinel://h,i:0#m",
            "invalid `sentinels[1]`: the port must be a number from 1 to 65535",
        ),
    ] {
        assert_eq!(parse(url).unwrap_err().to_string(), text);
    }
}

#[test]
fn errors_show_only_numbers_of_a_url_with_secrets() {
    for (url, text) in [
        (
            "redis-sentinel://:p@h?canary=1#m",
            "invalid `url`: option 1 is not known",
        ),
        (
            "redis-sentinel://h?sentinel_password=a&canary=1#m",
            "invalid `url`: option 2 is not known",
        ),
        (
            "redis-sentinel://h?sentinel_password=a#canary#m",
            "invalid `master_name`: must be one or more letters, digits, `.`, `_` or `-`",
        ),
        (
            "redis-sentinel://:p@h?client_name=%20canary#m",
            "invalid `client_name`: must be one or more printable ASCII characters, no spaces",
        ),
        (
            "redis-sentinel://:p@h?db=canary#m",
            "invalid `db`: belongs after the hosts, as in `host/3`",
        ),
        (
            "redis-sentinel://:p@h/canary#m",
            "invalid `db`: must be a number from 0 to 2147483647",
        ),
        (
            "redis-sentinel://:p@h?read.max_active=0#m",
            "invalid `read.max_active` (0): must be from 1 to 65535",
        ),
    ] {
        assert_eq!(parse(url).unwrap_err().to_string(), text);
    }
}

#[track_caller]
fn assert_silent(outcome: &Result<Config, ConfigError>, url: &str) {
    let texts = match outcome {
        Ok(config) => vec![format!("{config:?}"), format!("{config:#?}")],
        Err(error) => vec![
            format!("{error}"),
            format!("{error:?}"),
            format!("{error:#?}"),
        ],
    };
    for text in texts {
        assert!(!text.contains("canary"), "{url} gave {text}");
    }
}

#[test]
fn no_bad_url_shows_its_credentials() {
    for (url, _) in BAD {
        let Some((scheme, rest)) = url.split_once("://") else {
            continue;
        };
        let with_credentials = format!("{scheme}://canary:canary@{rest}");
        assert_silent(&parse(&with_credentials), &with_credentials);
    }
}

/// Pieces that steer random text into every branch of the grammar.
fn piece() -> impl Strategy<Value = String> {
    prop_oneof![
        "[-@:/?#&=%,.\\[\\]a-z0-9]{0,6}",
        "\\PC{0,4}",
        prop::sample::select(&["&", "#", "?", "/", "%", "@h", "&x=", "=1&max_", "#m."][..])
            .prop_map(str::to_owned),
        prop::sample::select(BAD).prop_map(|(url, _)| url.to_owned()),
        prop::sample::select(&OPTIONS[..]).prop_map(|(name, value, _)| format!("{name}={value}&")),
    ]
}

proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in any::<String>(), pieces in prop::collection::vec(piece(), 0..6)) {
        let _ = parse(&text);
        let _ = parse(&format!("redis-sentinel://{text}"));
        let _ = parse(&format!("redis-sentinel://h?{}", pieces.concat()));
        let _ = parse(&format!("redis-sentinel://{}", pieces.concat()));
    }

    #[test]
    fn a_password_before_the_hosts_is_never_shown(
        before in piece(),
        after in piece(),
        rest in prop::collection::vec(piece(), 0..4),
    ) {
        let url = format!("redis-sentinel://user:{before}canary{after}@h{}", rest.concat());
        assert_silent(&parse(&url), &url);
        let url = format!("redis-sentinel://{before}canary{after}@{}#m", rest.concat());
        assert_silent(&parse(&url), &url);
    }

    #[test]
    fn an_error_never_shows_a_password_among_the_options(
        before in piece(),
        between in piece(),
        after in piece(),
        rest in piece(),
    ) {
        let url = format!(
            "redis-sentinel://h?sentinel_password={before}canary{between}canary{after}&{rest}#m",
        );
        if let Err(error) = parse(&url) {
            assert_silent(&Err(error), &url);
        }
    }

    #[test]
    fn an_encoded_password_comes_back_as_it_was(password in "\\PC{1,20}") {
        let encoded: String = password.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("redis-sentinel://u:{encoded}@h?sentinel_password={encoded}#m");
        let config = parsed(&url);
        prop_assert_eq!(config.password.as_ref().map(Secret::expose), Some(&*password));
        prop_assert_eq!(config.sentinel_password.as_ref().map(Secret::expose), Some(&*password));
    }
}

#[test]
fn a_url_without_sentinels_names_the_nodes() {
    let config = parsed("redis://us%65r:p%40w@a,b:1,[::1]:2,%2Frun%2Fs.sock/15?read_from=any");
    assert_eq!(config.nodes, ["a", "b:1", "[::1]:2", "/run/s.sock"]);
    assert_eq!(
        config.node_addresses(),
        [
            Node::new("a", 6379),
            Node::new("b", 1),
            Node::new("::1", 2),
            Node::unix("/run/s.sock")
        ]
    );
    assert_eq!(config.username.as_deref(), Some("user"));
    assert_eq!(config.password.as_ref().map(Secret::expose), Some("p@w"));
    assert_eq!((config.db, config.read_from), (15, ReadFrom::Any));
    assert!(config.sentinels.is_empty() && config.master_name.is_empty());
    for url in ["redis://h", "VALKEY://h/", "valkey://h/0"] {
        let expected = format!("{:?}", Config::standalone("h"));
        assert_eq!(format!("{:?}", parsed(url)), expected, "{url}");
    }
    let sentinels = parsed("valkey-sentinel://h#m").sentinels;
    assert_eq!(sentinels, ["h"]);
}

#[cfg(feature = "tls")]
#[test]
fn a_scheme_that_asks_for_tls_is_never_taken_for_one_without() {
    for (plain, encrypted, source) in scheme::SCHEMES {
        let end = match source {
            Source::Sentinels => "#m",
            Source::Nodes => "",
        };
        let config = parsed(&format!("{encrypted}://h?tls.verify=none{end}"));
        assert!(config.tls.is_some(), "{encrypted}");
        let config = parsed(&format!("{plain}://h{end}"));
        assert!(config.tls.is_none(), "{plain}");
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn a_build_without_tls_names_the_feature_that_it_lacks() {
    for (scheme, end) in [
        ("rediss-sentinel", "#m"),
        ("rediss+sentinel", "#m"),
        ("REDISS", ""),
    ] {
        let url = format!("{scheme}://:canary@h?tls.verify=ca{end}");
        let text = parse(&url).unwrap_err().to_string();
        assert!(text.contains("add the feature `tls-ring`"), "{text}");
        assert!(!text.contains("canary"), "{text}");
    }
}
