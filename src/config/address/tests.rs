use super::*;

#[test]
fn every_form_of_an_address_is_read() {
    for (text, node) in [
        ("localhost", Node::new("localhost", 26379)),
        ("localhost:1", Node::new("localhost", 1)),
        (
            "sentinel_1.my-net.:65535",
            Node::new("sentinel_1.my-net.", 65535),
        ),
        ("10.0.0.7", Node::new("10.0.0.7", 26379)),
        ("10.0.0.7:5000", Node::new("10.0.0.7", 5000)),
        ("[::1]", Node::new("::1", 26379)),
        ("[::1]:5000", Node::new("::1", 5000)),
        ("[0:0:0:0:0:0:0:1]:5000", Node::new("::1", 5000)),
        ("[FE80::1%eth0]:5000", Node::new("fe80::1%eth0", 5000)),
        ("/run/sentinel.sock", Node::unix("/run/sentinel.sock")),
    ] {
        assert_eq!(parse(text, SENTINEL_PORT), Ok(node), "{text}");
    }
}

#[test]
fn malformed_addresses_are_refused() {
    let long_label = "x".repeat(64);
    let long_host = "x.".repeat(128);
    let long_path = format!("/{}", "x".repeat(107));
    for text in [
        "",
        ":26379",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:+1",
        "host:1x",
        "host:port",
        "host:1:2",
        "::1",
        "::1:26379",
        "[::1",
        "[::1]x",
        "[::1]26379",
        "[]",
        "[host]:1",
        "[10.0.0.1]:1",
        "[::1%]",
        "[::1%a/b]",
        "[::]:26379",
        "0.0.0.0",
        "10.0.0.256",
        "10.1",
        "12345",
        "a..b",
        ".",
        ".a",
        "a,b",
        "a/b",
        "a b",
        " a",
        "a\r\n",
        "a\0",
        "a%20b",
        "hôte",
        "user@host",
        "redis://host",
        "/",
        "/run/",
        "/run/a b",
        &long_label,
        &long_host,
        &long_path,
    ] {
        assert!(parse(text, SENTINEL_PORT).is_err(), "{text:?}");
    }
}

#[test]
fn a_url_in_the_place_of_an_address_is_called_by_its_name() {
    for text in ["redis://host:1", "redis://:password@host", "user@host"] {
        assert_eq!(
            parse(text, SENTINEL_PORT),
            Err("must be a plain address, not a URL; `Config::from_url` reads URLs")
        );
    }
}
