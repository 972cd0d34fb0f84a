use super::*;

fn node(text: &str) -> Node {
    address::parse(text, address::NODE_PORT).unwrap()
}

#[test]
fn a_pattern_fits_the_nodes_that_it_stands_for_and_no_others() {
    let table: [(&str, &[&str], &[&str]); 14] = [
        (
            "10.1.0.0/16",
            &["10.1.0.0", "10.1.255.255:1", "[::ffff:10.1.2.3]"],
            &["10.2.0.0", "10.0.255.255", "[fd00::1]", "a", "/run/s"],
        ),
        ("10.1.0.7/32", &["10.1.0.7"], &["10.1.0.6", "10.1.0.8"]),
        (
            "0.0.0.0/0",
            &["10.1.0.7", "255.255.255.255"],
            &["[fd00::1]", "a"],
        ),
        ("10.128.0.0/9", &["10.200.0.1"], &["10.127.255.255"]),
        (
            "fd00:1::/32",
            &["[fd00:1::]", "[fd00:1:ffff::1]:7"],
            &["[fd00:2::1]", "10.1.0.1"],
        ),
        ("[fd00:1::]/32", &["[fd00:1::1]"], &["[fd00:2::1]"]),
        ("::/0", &["[fd00:1::]"], &["10.1.0.1", "a"]),
        ("10.2.0.7", &["10.2.0.7", "10.2.0.7:1"], &["10.2.0.70"]),
        ("10.2.0.7:6380", &["10.2.0.7:6380"], &["10.2.0.7"]),
        ("[FD00:0::7]:1", &["[fd00::7]:1"], &["[fd00::7]:2"]),
        (
            "Redis-A*.internal",
            &[
                "redis-a.internal",
                "REDIS-a1.INTERNAL.",
                "redis-a.b.internal:1",
            ],
            &[
                "redis-b.internal",
                "redis-a1.internal.com",
                "xredis-a.internal",
            ],
        ),
        (
            "redis-?:1",
            &["redis-a:1"],
            &["redis-a", "redis-:1", "redis-ab:1"],
        ),
        ("*", &["a", "10.1.0.7", "[::1]:7", "/run/s"], &[]),
        ("/run/*.sock", &["/run/a/b.sock"], &["/run/b", "run"]),
    ];
    for (text, these, others) in table {
        let pattern = parse(text).unwrap();
        for fitting in these {
            assert!(pattern.fits(&node(fitting), &[]), "{text} {fitting}");
        }
        for other in others {
            assert!(!pattern.fits(&node(other), &[]), "{text} {other}");
        }
        let again: HostPattern = pattern.to_string().parse().unwrap();
        assert_eq!(again, pattern);
    }
}

#[test]
fn a_name_counts_as_the_addresses_that_it_resolves_to() {
    let resolved = ["192.0.2.1", "::ffff:10.1.2.3"].map(|ip| ip.parse().unwrap());
    for (pattern, fits) in [
        ("10.1.0.0/16", true),
        ("10.1.2.3", true),
        ("10.1.2.3:6379", true),
        ("10.1.2.3:6380", false),
        ("10.3.0.0/16", false),
        // Patterns are for names: what stands in the DNS has no shape.
        ("10.1.*", false),
        ("redis", true),
    ] {
        let pattern = parse(pattern).unwrap();
        assert_eq!(pattern.fits(&node("redis"), &resolved), fits, "{pattern}");
    }
}

#[test]
fn what_may_mean_something_else_is_refused() {
    for (text, reason) in [
        ("", "empty"),
        (" ", "spaces"),
        ("a b*", "a pattern of names"),
        ("/run/a b", "spaces"),
        ("10.1.0.0/", "leading bits"),
        ("10.1.0.0/33", "at most 32"),
        ("::/129", "128"),
        ("10.1.0.0/+8", "leading bits"),
        ("10.1.0.0/255.255.0.0", "leading bits"),
        ("10.1.0.0/16/8", "leading bits"),
        ("10.1/16", "leading bits"),
        ("10.1.0.7/16", "must be zero"),
        ("::1/0", "must be zero"),
        ("redis/16", "leading bits"),
        ("10.1.0.0/16:6379", "leading bits"),
        ("10.1", "IPv4"),
        ("fd00::7", "brackets"),
        ("redis*:0", "the port"),
        ("redis*:", "the port"),
        ("redis*:+1", "the port"),
        ("redis*:65536", "the port"),
        ("redis:0", "the port"),
        (":6379", "host"),
        ("*@host", "a pattern of names"),
        ("redis://a", "leading bits"),
        ("[fd00::*]", "a pattern of names"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}

#[test]
fn a_pattern_with_many_stars_is_compared_quickly() {
    let pattern = "a*".repeat(100) + "b";
    assert!(!is_like(pattern.as_bytes(), "a".repeat(250).as_bytes()));
    assert!(is_like(
        pattern.as_bytes(),
        ("a".repeat(250) + "b").as_bytes()
    ));
}
