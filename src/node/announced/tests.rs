use super::*;

#[test]
fn takes_names_and_addresses() {
    for host in [
        "10.0.0.7",
        "127.0.0.1",
        "::1",
        "2001:db8::7",
        "redis-0.redis.default.svc.cluster.local",
        "my_redis",
        "R2",
    ] {
        let node = node(host.as_bytes(), b"6379");
        assert_eq!(node, Some(Node::new(host, 6379)));
    }
    assert_eq!(host(&[b'a'; 253]).map(str::len), Some(253));
}

#[test]
fn refuses_what_no_sentinel_announces() {
    for bad in [
        &b""[..],
        b" 10.0.0.7",
        b"10.0.0.7\r\nQUIT",
        b"a b",
        b"user@host",
        b"/run/redis.sock",
        b"host:6379",
        b"[::1]",
        b"fe80::1%",
        b"1%eth0",
        b"gr\xc3\xb6sse",
        b"\xff\xfe",
        b"a\0b",
        b"0.0.0.0",
        b"::",
        b"::ffff:0.0.0.0",
        b"169.254.169.254",
        b"::ffff:169.254.169.254",
        b"fe80::1",
        b"fe80::1%eth0",
        b"224.0.0.1",
        b"255.255.255.255",
        b"?",
        &[b'a'; 254],
    ] {
        assert_eq!(host(bad), None, "{}", bad.escape_ascii());
    }
    for bad in [
        "",
        "0",
        "00",
        "-1",
        "+1",
        "65536",
        "99999999999999999999",
        " 1",
        "1 ",
        "6379.0",
        "0x1",
        "١",
    ] {
        assert_eq!(port(bad.as_bytes()), None, "{bad}");
    }
    assert_eq!(port(b"65535"), Some(65535));
}

#[test]
fn compares_what_can_be_compared() {
    for (a, b, expected) in [
        (("10.0.0.7", 1), ("10.0.0.7", 1), Some(true)),
        (("10.0.0.7", 1), ("10.0.0.7", 2), Some(false)),
        (("10.0.0.7", 1), ("10.0.0.8", 1), Some(false)),
        (("::1", 1), ("0:0:0:0:0:0:0:1", 1), Some(true)),
        (("Redis-0", 1), ("redis-0", 1), Some(true)),
        (("redis-0", 1), ("redis-1", 1), Some(false)),
        (("redis-0", 1), ("10.0.0.7", 1), None),
        (("redis-0", 1), ("10.0.0.7", 2), Some(false)),
    ] {
        assert_eq!(
            same(&Node::new(a.0, a.1), &Node::new(b.0, b.1)),
            expected,
            "{a:?} {b:?}"
        );
    }
}
