use super::*;
use crate::config::Secret;

const URL: (&str, &str) = ("APP_URL", "redis-sentinel://h#m");

fn error(vars: &[(&str, &str)]) -> ConfigError {
    Config::from_vars("APP", vars.iter().copied()).unwrap_err()
}

#[test]
fn what_kubernetes_sets_beside_ours_changes_nothing() {
    // For a service that is called as the prefix.
    let theirs = [
        ("REDIS_SERVICE_HOST", "10.43.131.181"),
        ("REDIS_SERVICE_PORT", "6379"),
        ("REDIS_SERVICE_PORT_REDIS", "6379"),
        ("REDIS_PORT", "tcp://10.43.131.181:6379"),
        ("REDIS_PORT_6379_TCP", "tcp://10.43.131.181:6379"),
        ("REDIS_PORT_6379_TCP_PROTO", "tcp"),
        ("REDIS_PORT_6379_TCP_PORT", "6379"),
        ("REDIS_PORT_6379_TCP_ADDR", "10.43.131.181"),
        ("REDISURL", "x"),
        ("REDIS_", "x"),
        ("REDIS", "x"),
        ("REDIS_url", "x"),
        ("REDIS_WRITE.MAX_ACTIVE", "x"),
        ("URL", "x"),
        ("OTHER_REDIS_URL", "x"),
        ("REDIS_DB", ""),
        ("REDIS_USERNAME", ""),
    ];
    let ours = [
        ("REDIS_SENTINELS", "a, b:1"),
        ("REDIS_MASTER_NAME", "m"),
        ("REDIS_PASSWORD", "007"),
        ("REDIS_WRITE__MAX_ACTIVE", "3"),
    ];
    for prefix in ["REDIS", "REDIS_"] {
        let alone = Config::from_vars(prefix, ours).unwrap();
        let among = Config::from_vars(prefix, ours.into_iter().chain(theirs)).unwrap();
        assert_eq!(format!("{among:?}"), format!("{alone:?}"));
        assert_eq!(among.sentinels, ["a", "b:1"]);
        assert_eq!(among.password.as_ref().map(Secret::expose), Some("007"));
    }
}

#[test]
fn what_is_given_by_itself_overrides_the_url() {
    let config = Config::from_vars(
        "APP",
        [
            (
                "APP_URL",
                "redis-sentinel://old:old@h/1?max_active=2&connect_timeout=1s#m",
            ),
            ("APP_USERNAME", "app"),
            ("APP_PASSWORD_FILE", "/run/secrets/redis"),
            ("APP_DB", "3"),
            ("APP_READ__MAX_ACTIVE", "5"),
        ],
    );
    let config = config.unwrap();
    assert_eq!(config.username.as_deref(), Some("app"));
    assert_eq!(config.password, None);
    assert!(format!("{:?}", config.credentials).contains("/run/secrets/redis"));
    assert_eq!(
        (config.db, config.write.max_active, config.read.max_active),
        (3, 2, 5)
    );
}

#[test]
fn a_url_with_a_password_may_be_in_a_file() {
    let path = std::env::temp_dir().join(format!("redis-rw-pool-url-{}", std::process::id()));
    std::fs::write(&path, "redis-sentinel://:canary@h#m\n").unwrap();
    let path_text = path.to_str().unwrap();
    let config = Config::from_vars("APP", [("APP_URL_FILE", path_text)]).unwrap();
    assert_eq!(config.password.as_ref().map(Secret::expose), Some("canary"));
    assert_eq!(
        error(&[URL, ("APP_URL_FILE", path_text)]).field(),
        "APP_URL"
    );
    std::fs::write(&path, "redis-sentinel://:canary@h:99999#m").unwrap();
    let broken = error(&[("APP_URL_FILE", path_text)]);
    assert!(
        !format!("{broken} {broken:?}").contains("canary"),
        "{broken}"
    );
    std::fs::remove_file(&path).unwrap();
    let missing = error(&[("APP_URL_FILE", path_text)]);
    assert_eq!(missing.field(), "APP_URL_FILE");
    assert!(missing.reason().contains("cannot be read"), "{missing}");
}

#[test]
fn errors_name_the_variable() {
    for (vars, field) in [
        (&[][..], "APP_URL"),
        (&[("APP_SENTINELS", "h")], "APP_MASTER_NAME"),
        (&[("APP_MASTER_NAME", "m")], "APP_SENTINELS"),
        (&[URL, ("APP_SENTINELS", "h")], "APP_SENTINELS"),
        (&[URL, ("APP_MASTER_NAME", "m")], "APP_MASTER_NAME"),
        (&[URL, ("APP_NODES", "h")], "APP_NODES"),
        (&[("APP_NODES", "h"), ("APP_SENTINELS", "h")], "APP_NODES"),
        (&[("APP_NODES", "h"), ("APP_TLS", "yes")], "APP_TLS"),
        (
            &[("APP_NODES", "h"), ("APP_TLS__CA_FILE", "/canary")],
            "APP_TLS__CA_FILE",
        ),
        (&[URL, ("APP_TLS", "true")], "APP_TLS"),
        (&[URL, ("APP_TLS__CA_FILE", "/canary")], "APP_TLS__CA_FILE"),
        (
            &[("APP_NODES", "h"), ("APP_MASTER_NAME", "m")],
            "APP_MASTER_NAME",
        ),
        (&[URL, ("APP_MAX_ACTIVE", "canary")], "APP_MAX_ACTIVE"),
        (&[URL, ("APP_MAX_ACTIVE", "0")], "APP_MAX_ACTIVE"),
        (
            &[URL, ("APP_WRITE__MAX_ACTIVE", "0")],
            "APP_WRITE__MAX_ACTIVE",
        ),
        (
            &[URL, ("APP_MAX_ACTIVE", "1"), ("APP_WRITE__MAX_ACTIVE", "2")],
            "APP_WRITE__MAX_ACTIVE",
        ),
        (&[URL, ("APP_CONNECT_TIMEOUT", "5")], "APP_CONNECT_TIMEOUT"),
        (&[URL, ("APP_USERNAME", "app")], "APP_PASSWORD"),
        (
            &[URL, ("APP_PASSWORD", "canary"), ("APP_PASSWORD_FILE", "/f")],
            "APP_PASSWORD_FILE",
        ),
        (
            &[("APP_URL", "redis-sentinel://:canary@h")],
            "APP_MASTER_NAME",
        ),
        (&[("APP_URL", "http://canary@h")], "APP_URL"),
    ] {
        let error = error(vars);
        assert_eq!(error.field(), field, "{error}");
        assert!(!format!("{error} {error:?}").contains("canary"), "{error}");
    }
    for prefix in ["", "_", "__"] {
        assert_eq!(
            Config::from_vars(prefix, [URL]).unwrap_err().field(),
            "prefix"
        );
    }
}

#[cfg(unix)]
#[test]
fn a_value_that_is_not_utf_8_is_refused_only_where_it_matters() {
    use std::os::unix::ffi::OsStringExt;

    let broken = || OsString::from_vec(b"canary\xff".to_vec());
    let url = || (OsString::from(URL.0), OsString::from(URL.1));
    let vars = [url(), ("APP_PORT".into(), broken()), (broken(), broken())];
    read("APP", vars.into_iter()).unwrap();
    let error = read(
        "APP",
        [url(), ("APP_PASSWORD".into(), broken())].into_iter(),
    )
    .unwrap_err();
    assert_eq!(
        (error.field(), error.reason()),
        ("APP_PASSWORD", "is not UTF-8")
    );
}
