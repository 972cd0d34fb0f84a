use super::*;

/// At a millisecond: whether there is a connection to a preferred node, and such a node; whether the others
/// are held back.
type Step = (u64, bool, bool, bool);

#[test]
fn the_first_connections_are_held_back_once_and_not_for_long() {
    let table: &[(&str, &[Step])] = &[
        (
            "nobody is preferred",
            &[(0, false, false, false), (1, false, true, false)],
        ),
        (
            "the preferred one is first",
            &[(0, true, true, false), (1, false, true, false)],
        ),
        (
            "it comes soon",
            &[
                (500, false, true, true),
                (600, false, true, true),
                (620, true, true, false),
            ],
        ),
        (
            "it does not come",
            &[
                (500, false, true, true),
                (650, false, true, false),
                (651, false, true, false),
            ],
        ),
        (
            "it leaves",
            &[
                (0, false, true, true),
                (10, false, false, false),
                (20, false, true, false),
            ],
        ),
    ];
    let begin = Instant::now();
    for (what, steps) in table {
        let mut head_start = HeadStart::default();
        for (at, near, awaited, held) in *steps {
            let now = begin + Duration::from_millis(*at);
            let is_held = head_start.holds_back(*near, *awaited, now);
            assert_eq!(is_held, *held, "{what}, at {at} ms");
        }
    }
    let mut failed = HeadStart::default();
    assert!(failed.holds_back(false, true, begin));
    failed.give_up();
    assert!(!failed.holds_back(false, true, begin));
}
