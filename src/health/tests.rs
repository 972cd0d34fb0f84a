use super::*;

fn trouble(seconds: u64, hope: bool) -> Ability {
    let patience = Duration::from_secs(10);
    Ability::in_trouble(
        "why".to_owned(),
        Duration::from_secs(seconds),
        patience,
        hope,
    )
}

#[test]
fn trouble_is_waited_for_until_patience_is_over() {
    for (seconds, hope, expected) in [
        (0, true, "waiting"),
        (9, true, "waiting"),
        (10, true, "unable"),
        (60, true, "unable"),
        (0, false, "unable"),
    ] {
        assert_eq!(
            trouble(seconds, hope).as_str(),
            expected,
            "{seconds} {hope}"
        );
    }
    let none = Ability::in_trouble(String::new(), Duration::ZERO, Duration::ZERO, true);
    assert!(none.is_unable(), "who does not wait gets an error at once");
}

#[test]
fn ready_is_who_can_or_waits_for_what_it_needs() {
    let states = || [Ability::Able, trouble(1, true), trouble(60, true)];
    for (w, writes) in states().into_iter().enumerate() {
        for (r, reads) in states().into_iter().enumerate() {
            let health = Health {
                writes: writes.clone(),
                reads,
                // Traffic goes on without them.
                sentinels: trouble(60, true),
            };
            assert_eq!(health.is_ready(Need::Writes), w < 2, "{health}");
            assert_eq!(health.is_ready(Need::Reads), r < 2, "{health}");
            assert_eq!(health.is_ready(Need::Both), w < 2 && r < 2, "{health}");
        }
    }
}

#[test]
fn it_tells_a_human_reader_what_is_wrong() {
    let health = Health {
        writes: trouble(3, true),
        reads: Ability::Able,
        sentinels: trouble(60, true),
    };
    let text = "writes: waiting for 3.0s: why; reads: able; sentinels: unable for 60.0s: why";
    assert_eq!(health.to_string(), text);
}

#[cfg(feature = "serde")]
#[test]
fn it_is_serialized_with_the_names_of_its_states() {
    let health = Health {
        writes: trouble(3, true),
        reads: Ability::Able,
        sentinels: trouble(60, true),
    };
    let expected = serde_json::json!({
        "writes": { "ability": "waiting", "since": 3.0, "why": "why" },
        "reads": { "ability": "able" },
        "sentinels": { "ability": "unable", "since": 60.0, "why": "why" },
    });
    assert_eq!(serde_json::to_value(&health).unwrap(), expected);
}
