use testkit::{Authority, Folder};

use super::*;
use crate::config::{Config, ConfigError};

fn ca() -> Authority {
    Authority::new("a CA")
}

#[test]
fn each_thing_that_is_wrong_with_a_file_has_a_text_of_its_own_without_the_file() {
    let (ca, other) = (ca(), ca());
    let (own, stranger) = (ca.issue(&["app"]), other.issue(&["app"]));
    let middle = |pem: &str| pem[pem.len() / 2..][..20].to_owned();
    let secret = middle(&own.key);
    let cut = &own.key[..own.key.len() / 2];
    let garbled = own.key.replace(&secret, &format!("{secret}*"));
    let encrypted = own.key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
    let der = [0x30, 0x82, 0x01, 0x0a];
    let build = |ca_pem: &[u8], cert: &str, key: &str| {
        let built = Tls::builder().ca_pem(ca_pem).client_pem(cert, key).build();
        built.map(drop).expect_err("it cannot be used")
    };
    let pem = ca.pem().as_bytes();
    for (error, text) in [
        (build(b"", &own.cert, &own.key), "`ca_file` is empty"),
        (build(b" \n", &own.cert, &own.key), "`ca_file` is empty"),
        (
            build(b"nothing", &own.cert, &own.key),
            "`ca_file` holds no certificate in PEM form",
        ),
        (build(&der, &own.cert, &own.key), "seems to be in DER form"),
        (
            build(own.key.as_bytes(), &own.cert, &own.key),
            "are the files mixed up?",
        ),
        (
            build(pem, &own.key, &own.cert),
            "`client_cert` holds a private key and no certificate",
        ),
        (
            build(pem, &own.cert, &own.cert),
            "`client_key` holds a certificate and no private key",
        ),
        (build(pem, &own.cert, cut), "`client_key` is damaged"),
        (build(pem, &own.cert, &garbled), "`client_key` is damaged"),
        (
            build(pem, &own.cert, &encrypted),
            "is encrypted with a password",
        ),
        (
            build(pem, &own.cert, &stranger.key),
            "does not belong to `client_cert`",
        ),
    ] {
        let shown = format!("{error} {error:?} {}", ConfigError::from(error.clone()));
        assert!(shown.contains(text), "{shown}");
        assert!(!shown.contains(&secret[..8]), "{shown}");
        assert!(!shown.contains(&middle(&stranger.key)[..8]), "{shown}");
    }
    let missing = Tls::builder().ca_file("/no/such/ca.crt").build().map(drop);
    let text = missing.unwrap_err().to_string();
    assert!(
        text.contains("`ca_file` (/no/such/ca.crt) cannot be read: No such file"),
        "{text}"
    );
    let folder = Folder::create();
    let text = Tls::builder()
        .ca_file(folder.path())
        .build()
        .map(drop)
        .unwrap_err()
        .to_string();
    assert!(text.contains("it is a folder"), "{text}");
}

#[test]
fn nothing_of_a_key_is_shown() {
    let ca = ca();
    let own = ca.issue(&["app"]);
    let builder = Tls::builder()
        .ca_pem(ca.pem())
        .client_pem(own.cert.as_bytes(), own.key.as_bytes());
    let mut config = Config::new(["h"], "m");
    let builder_shown = format!("{builder:?}");
    config.tls = Some(builder.build().unwrap());
    let shown = format!("{builder_shown} {config:?}");
    let body: String = own.key.lines().filter(|line| !line.contains('-')).collect();
    assert!(
        !shown.contains(&body[..16]) && !shown.contains("PRIVATE"),
        "{shown}"
    );
    assert!(
        shown.contains("roots: 1, client: true, verify: Full"),
        "{shown}"
    );
}

#[test]
fn a_certificate_and_its_key_may_be_in_one_file_in_any_order() {
    let ca = ca();
    let own = ca.issue(&["app"]);
    for both in [
        format!("{}{}", own.cert, own.key),
        format!("{}\r\n{}", own.key, own.cert),
    ] {
        let builder = Tls::builder().ca_pem(ca.pem());
        let built = builder.client_pem(both.as_bytes(), both.as_bytes()).build();
        assert!(built.is_ok(), "{built:?}");
    }
}

#[test]
fn only_names_and_addresses_are_server_names() {
    let ca = ca();
    let build = |name: &str| {
        let builder = Tls::builder().ca_pem(ca.pem());
        builder.server_name(name).build()
    };
    for name in [
        "redis.internal",
        "redis_1.internal",
        "10.0.0.1",
        "::1",
        "redis.internal.",
    ] {
        assert!(build(name).is_ok(), "{name}");
    }
    for name in ["", ".", "*.internal", "redis:6379", "https://redis", "a b"] {
        let error = build(name).map(drop).unwrap_err();
        assert!(
            matches!(
                &error,
                TlsError::Invalid {
                    setting: "server_name",
                    ..
                }
            ),
            "{error}"
        );
        let mut config = Config::new(["h"], "m");
        config.tls = Some(build("redis").unwrap().server_name(name));
        assert_eq!(config.validate().unwrap_err().field(), "tls.server_name");
    }
    let tls = build("redis")
        .unwrap()
        .server_name(ServerName::by(|_| panic!("a caller's mistake")));
    let node = Node::new("10.0.0.1", 6379);
    assert!(
        tls.dial(&node, &node)
            .is_err_and(|reason| reason.contains("panicked"))
    );
}

#[test]
fn a_reload_takes_what_has_changed_and_keeps_what_it_had_where_that_is_broken() {
    let (first, second) = (ca(), ca());
    let folder = Folder::create();
    let path = folder.write("ca.crt", first.pem());
    let tls = Tls::builder().ca_file(&path).build().unwrap();
    let clone = tls.clone().server_name("another");
    let node = Node::new("10.0.0.1", 6379);
    let old = tls.dial(&node, &node).expect("a good name");
    assert_eq!(tls.reload(), Ok(false), "nothing has changed");
    assert!(!old.edition.has_successor());

    folder.write("ca.crt", "broken");
    assert!(matches!(tls.reload(), Err(TlsError::Pem { .. })));
    assert!(
        !old.edition.has_successor(),
        "what was there is still in use"
    );
    let (reloads, error) = clone.reload_status();
    assert_eq!(reloads, 0);
    assert!(error.is_some_and(|error| error.contains("holds no certificate")));

    folder.write("ca.crt", second.pem());
    assert_eq!(clone.reload(), Ok(true), "a clone is the same");
    assert!(old.edition.has_successor());
    let new = tls.dial(&node, &node).expect("a good name");
    assert!(!new.edition.has_successor() && !Arc::ptr_eq(&new.config, &old.config));
    assert_eq!(tls.reload_status(), (1, None));
    let again = tls.dial(&node, &node).expect("a good name");
    assert!(
        Arc::ptr_eq(&new.config, &again.config),
        "all dials share their sessions"
    );
}

#[test]
fn what_a_server_was_connected_to_with_is_outdated_when_that_server_has_accepted_newer() {
    let (first, second) = (ca(), ca());
    let folder = Folder::create();
    let path = folder.write("ca.crt", first.pem());
    let tls = Tls::builder().ca_file(&path).build().unwrap();
    let edition = |host| {
        let node = Node::new(host, 6379);
        tls.dial(&node, &node).expect("a good name").edition
    };
    let [old, elsewhere] = ["10.0.0.1", "10.0.0.2"].map(edition);
    old.accept();
    elsewhere.accept();
    folder.write("ca.crt", second.pem());
    assert_eq!(tls.reload(), Ok(true));
    let new = edition("10.0.0.1");
    assert!(
        old.has_successor() && !old.is_outdated(),
        "not accepted yet"
    );
    // A dial that began before the reload may end after it.
    old.accept();
    assert!(!old.is_outdated());
    new.accept();
    old.accept();
    assert!(old.is_outdated() && !new.is_outdated());
    assert!(elsewhere.has_successor() && !elsewhere.is_outdated());
}

#[test]
fn a_url_reads_its_files_and_names_what_is_wrong() {
    let ca = ca();
    let own = ca.issue(&["app"]);
    let folder = Folder::create();
    let (ca, cert, key) = (
        folder.write("ca.crt", ca.pem()),
        folder.write("app.crt", &own.cert),
        folder.write("app.key", &own.key),
    );
    let [ca, cert, key] = [ca, cert, key].map(|path| path.display().to_string());
    let url = |options: &str| Config::from_url(&format!("rediss-sentinel://:canary@h?{options}#m"));
    let config = url(&format!(
        "tls.ca_file={ca}&tls.client_cert={cert}&tls.client_key={key}&tls.verify=ca\
         &tls.server_name=redis.internal&tls.reload_every=60s&sentinel_tls=off"
    ))
    .unwrap();
    let tls = config.tls.as_ref().expect("it is encrypted");
    assert_eq!(
        format!("{tls:?}"),
        "Tls { roots: 1, client: true, verify: Ca, server_name: Fixed(\"redis.internal\"), \
         reload_every: Some(60s), .. }"
    );
    assert!(config.tls_of_sentinels().is_none());
    for (options, field) in [
        ("tls.ca_file=/no/such".to_owned(), "tls.ca_file"),
        (format!("tls.ca_file={key}"), "tls.ca_file"),
        (
            format!("tls.ca_file={ca}&tls.client_cert={cert}"),
            "tls.client_key",
        ),
        (
            format!("tls.ca_file={ca}&tls.client_key={key}"),
            "tls.client_cert",
        ),
        (format!("tls.ca_file={ca}&tls.verify=maybe"), "tls.verify"),
        (
            format!("tls.ca_file={ca}&tls.server_name=a:1"),
            "tls.server_name",
        ),
        (
            format!("tls.ca_file={ca}&tls.reload_every=0s"),
            "tls.reload_every",
        ),
        (format!("tls.ca_file={ca}&sentinel_tls=on"), "sentinel_tls"),
        (format!("tls.ca_file={ca}&tls.cafile={ca}"), "url"),
        (format!("tls.ca_file={ca}&tls.ca_file={ca}"), "tls.ca_file"),
    ] {
        let error = url(&options).unwrap_err();
        assert_eq!(error.field(), field, "{options}: {error}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }
    for scheme in ["rediss+sentinel", "REDISS-SENTINEL", "valkeys-sentinel"] {
        let url = format!("{scheme}://h?tls.ca_file={ca}#m");
        assert!(Config::from_url(&url).unwrap().tls.is_some(), "{url}");
    }
    assert!(
        Config::from_url("redis+sentinel://h#m")
            .unwrap()
            .tls
            .is_none()
    );
}
