use super::*;

#[test]
fn each_preference_is_read_as_it_is_written() {
    let hosts = |patterns: &[&str]| {
        let patterns = patterns.iter().map(|text| text.parse().unwrap());
        Prefer::Hosts(patterns.collect())
    };
    let nearest = |millis| Prefer::Nearest {
        within: Duration::from_millis(millis),
    };
    for (text, expected) in [
        ("nobody", Prefer::Nobody),
        ("hosts:10.1.0.0/16", hosts(&["10.1.0.0/16"])),
        (
            "hosts:fd00::/8, redis-a*:6380,/run/a",
            hosts(&["fd00::/8", "redis-a*:6380", "/run/a"]),
        ),
        ("zone:eu-central-1a", Prefer::Zone("eu-central-1a".into())),
        ("zone:nearest:2ms", Prefer::Zone("nearest:2ms".into())),
        ("zone:Room 7", Prefer::Zone("Room 7".into())),
        ("nearest:2ms", nearest(2)),
        ("nearest:1s", nearest(1000)),
    ] {
        assert_eq!(parse(text), Ok(expected.clone()), "{text}");
        assert_eq!(parse(&expected.to_string()), Ok(expected), "{text}");
    }
}

#[test]
fn what_is_no_preference_is_refused_with_the_reason() {
    for (text, reason) in [
        ("", "must be `nobody`"),
        ("none", "must be `nobody`"),
        ("Nobody", "must be `nobody`"),
        ("nobody:", "must be `nobody`"),
        ("zone", "must be `nobody`"),
        ("nearest", "must be `nobody`"),
        ("10.1.0.0/16", "must be `nobody`"),
        ("hosts:", "empty"),
        ("hosts:a,,b", "empty"),
        ("hosts:10.1.0.7/16", "must be zero"),
        ("zone:", "missing"),
        ("zone:a\nb", "control characters"),
        ("nearest:", "whole number"),
        ("nearest:2", "whole number"),
        ("nearest:-2ms", "whole number"),
        ("nearest:0ms", "greater than zero"),
    ] {
        let error = parse(text).unwrap_err();
        assert!(error.contains(reason), "{text}: {error}");
    }
}
