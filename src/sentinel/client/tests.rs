use super::*;

#[test]
fn everything_is_asked_at_every_fourth_calm_refresh_and_whenever_it_is_not_calm() {
    let calm = |round| (round, true);
    let stirred = |round| (round, false);
    let rounds = [
        (stirred(1), true),
        (calm(2), false),
        (calm(3), false),
        (calm(4), false),
        (calm(5), true),
        (calm(6), false),
        // It counts from then on.
        (stirred(7), true),
        (calm(8), false),
        (calm(10), false),
        (calm(11), true),
    ];
    let mut asked = Asked::default();
    for ((round, calm), everything) in rounds {
        asked = asked.next(round, calm);
        assert_eq!(asked.round, round);
        assert_eq!(asked.is_everything(), everything, "{round}");
    }
}

/// A client may be busy, and miss a refresh at which everything was to be asked.
#[test]
fn what_was_answered_before_everything_was_asked_does_not_do() {
    let asked = Asked::default().next(1, false).next(2, false);
    let later = asked.next(3, true);
    assert!(1 < later.everything && 2 >= later.everything);
}
