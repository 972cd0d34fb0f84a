use super::*;

fn with_canaries() -> Config {
    let mut config = Config::new(["10.0.0.1", "redis://:canary@host"], "mymaster");
    for name in [&mut config.sentinel_username, &mut config.username] {
        *name = Some("canary".into());
    }
    for secret in [&mut config.sentinel_password, &mut config.password] {
        *secret = Some("canary".into());
    }
    config
}

#[test]
fn defaults_are_as_documented() {
    let config = Config::new(["10.0.0.1"], "mymaster");

    assert_eq!(config.sentinels, ["10.0.0.1"]);
    assert_eq!(config.master_name, "mymaster");
    assert_eq!(config.sentinel_username, None);
    assert_eq!(config.sentinel_password, None);
    assert_eq!(config.username, None);
    assert_eq!(config.password, None);
    assert_eq!(config.db, 0);
    assert_eq!(config.client_name, None);
    assert_eq!(config.write, PoolLimits::default());
    assert_eq!(config.read, PoolLimits::default());
    assert_eq!(config.read_from, ReadFrom::ReplicaPreferred);
    assert_eq!(config.protocol, Protocol::Resp3);
    assert_eq!(config.connect_timeout, Duration::from_secs(2));
    assert_eq!(config.command_timeout, Some(Duration::from_secs(3)));
    assert_eq!(config.sentinel_timeout, Duration::from_millis(500));
    assert_eq!(config.refresh_interval, Duration::from_secs(5));
    assert_eq!(config.failover_timeout, Duration::from_secs(10));
    assert!(config.address_map.is_none());
    assert_eq!(config.multiplexed, MultiplexedLimits::default());
    assert_eq!(config.reply_limits, ReplyLimits::default());
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn default_limits_are_as_documented() {
    let limits = PoolLimits::default();

    assert_eq!(limits.max_active, 16);
    assert_eq!(limits.max_idle, None);
    assert_eq!(limits.effective_max_idle(), 16);
    assert_eq!(limits.min_idle, 0);
    assert_eq!(limits.wait_timeout, Some(Duration::from_secs(5)));
    assert_eq!(limits.idle_timeout, Some(Duration::from_secs(300)));
    assert_eq!(limits.max_lifetime, Some(Duration::from_secs(30 * 60)));
    assert_eq!(limits.test_idle_after, Some(Duration::from_secs(30)));
}

#[test]
fn default_multiplexed_limits_are_as_documented() {
    let limits = MultiplexedLimits::default();

    assert_eq!(limits.connections, 1);
    assert_eq!(limits.max_in_flight, 4096);
    assert_eq!(limits.max_pending_bytes, 4 << 20);
}

#[test]
fn default_freshness_limits_are_as_documented() {
    let limits = FreshnessLimits::default();

    assert_eq!(limits.patience, Duration::from_millis(5));
    assert_eq!(limits.otherwise, Otherwise::Master);
    assert_eq!(limits.lost, OnLost::Tell);
}

#[test]
fn debug_shows_that_secrets_are_set_but_not_what_they_are() {
    let config = with_canaries();
    for text in [format!("{config:?}"), format!("{config:#?}")] {
        assert!(!text.contains("canary"), "{text}");
        assert!(
            text.contains("mymaster") && text.contains("10.0.0.1"),
            "{text}"
        );
    }
    let text = format!("{config:?}");
    for field in [
        "sentinel_username",
        "sentinel_password",
        "username",
        "password",
    ] {
        assert!(text.contains(&format!(" {field}: Some(***)")), "{text}");
    }
    assert!(format!("{:?}", Config::new(["h"], "m")).contains(" password: None"));
}

#[test]
fn no_validation_error_holds_a_secret() {
    let spoilers: [fn(&mut Config); 9] = [
        |_| {},
        |c| c.sentinels.clear(),
        |c| c.master_name = "canary@host".into(),
        |c| c.sentinel_password = None,
        |c| c.sentinel_username = Some("canary canary".into()),
        |c| c.username = Some("canary\0".into()),
        |c| c.password = None,
        |c| c.db = -1,
        |c| c.client_name = Some("canary@ host".into()),
    ];
    for (index, spoil) in spoilers.iter().enumerate() {
        let mut config = with_canaries();
        if index > 0 {
            config.sentinels.truncate(1);
        }
        spoil(&mut config);
        let error = config.validate().unwrap_err();
        for text in [
            format!("{error}"),
            format!("{error:?}"),
            format!("{error:#?}"),
        ] {
            assert!(!text.contains("canary"), "{index}: {text}");
        }
        assert!(std::error::Error::source(&error).is_none());
    }
}

#[test]
fn sentinel_addresses_are_parsed_and_each_is_listed_once() {
    let config = Config::new(
        [
            "a",
            "b:1",
            "a:26379",
            "[0::1]",
            "[::1]:26379",
            "/run/s.sock",
        ],
        "mymaster",
    );
    assert_eq!(
        config.sentinel_addresses(),
        [
            Node::new("a", 26379),
            Node::new("b", 1),
            Node::new("::1", 26379),
            Node::unix("/run/s.sock"),
        ]
    );
}

#[test]
fn a_url_is_parsed_by_from_str_too() {
    let config: Config = "redis-sentinel://h#m".parse().unwrap();
    assert_eq!(config.master_name, "m");
}
