use super::*;
use crate::position::testing::{heir, replica, token};

const MS: Duration = Duration::from_millis(1);

fn timelines() -> Timelines {
    let mut timelines = Timelines::default();
    timelines.learn(&heir('b', 600, 'a', 502), Some(1));
    timelines
}

fn seen(name: char, offset: u64) -> Hint {
    Hint::default().seen(replica(name, offset))
}

#[test]
fn a_node_is_asked_until_it_was_behind_and_again_after_a_moment() {
    let (now, timelines) = (Instant::now(), timelines());
    let suggests = |hint: Hint, later| hint.suggests(&token('b', 600), &timelines, now + later);
    assert!(suggests(Hint::default(), MS));
    assert!(suggests(seen('b', 599), MS), "it may have got there");
    let behind = seen('b', 599).missed(now);
    assert!(!suggests(behind, 4 * MS));
    assert!(suggests(behind, 5 * MS));
    assert!(suggests(behind.seen(replica('b', 600)), MS), "it says so");
    assert!(
        !suggests(behind.seen(replica('a', 700)), MS),
        "on a line that was left"
    );
    // It had something that is older.
    assert!(!suggests(behind.met(now), MS));
    let hint = behind.met(now).met(now + 5 * MS);
    assert_eq!((hint.misses, hint.passed_over_until), (0, None));
}

#[test]
fn a_node_that_stays_behind_is_asked_ever_more_rarely_but_asked() {
    let mut now = Instant::now();
    let mut hint = seen('b', 1);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        let before = hint.missed(now);
        // Others found out at the same time.
        hint = before.missed(now).missed(now + MS);
        let until = hint.passed_over_until.unwrap();
        assert_eq!(Some(until), before.passed_over_until);
        pauses.push((until - now).as_millis());
        now = until;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 320, 320]);
    let again = hint.met(now).missed(now);
    assert_eq!(again.passed_over_until, Some(now + FIRST_PAUSE));
}

/// Chooses for a token of (B, 600). The nodes that are not `usable` take no commands; the one with the
/// greater place is the better one.
fn choose(hints: &[Hint], drawn: [usize; 2], usable: &[usize]) -> Option<usize> {
    let (timelines, token) = (timelines(), token('b', 600));
    let choice = Choice {
        token: &token,
        timelines: &timelines,
        now: Instant::now(),
        hint: |place: usize| hints[place],
        usable: |place: usize| usable.contains(&place),
        better: |one: usize, other: usize| one.cmp(&other),
    };
    choice.among(hints.len(), drawn)
}

#[test]
fn a_read_goes_to_one_that_has_it_and_else_to_the_one_that_is_nearest() {
    let until = Instant::now() + Duration::from_secs(60);
    let behind = |hint: Hint| Hint {
        passed_over_until: Some(until),
        ..hint
    };
    let (good, new) = (seen('b', 600), Hint::default());
    let (near, far, old) = (
        behind(seen('b', 599)),
        behind(seen('b', 9)),
        behind(seen('a', 700)),
    );
    let all = [0, 1, 2];
    for (hints, drawn, usable, chosen) in [
        ([good, good, good], [0, 1], &all[..], Some(1)),
        ([good, good, good], [1, 0], &all, Some(1)),
        ([good, good, good], [2, 2], &all, Some(2)),
        ([good, near, good], [0, 1], &all, Some(0)),
        ([near, new, good], [0, 1], &all, Some(1)),
        // Neither of the two that were drawn.
        ([near, far, good], [0, 1], &all, Some(2)),
        ([near, far, new], [1, 0], &all, Some(2)),
        // None has it.
        ([far, near, old], [2, 2], &all, Some(1)),
        ([old, far, behind(new)], [0, 2], &all, Some(1)),
        ([far, near, old], [1, 1], &[0, 2], Some(0)),
        // Not every one takes commands.
        ([good, good, good], [1, 1], &[0], Some(0)),
        ([good, near, far], [0, 0], &[1, 2], Some(1)),
        ([good, good, good], [0, 1], &[], None),
    ] {
        assert_eq!(
            choose(&hints, drawn, usable),
            chosen,
            "{hints:?} {drawn:?} {usable:?}"
        );
    }
}

#[test]
fn those_that_were_not_drawn_share_the_reads() {
    let behind = Hint {
        passed_over_until: Some(Instant::now() + Duration::from_secs(60)),
        ..seen('b', 1)
    };
    let (good, all) = (seen('b', 600), [0, 1, 2, 3]);
    let hints = [behind, good, behind, good];
    assert_eq!(choose(&hints, [0, 0], &all), Some(1));
    assert_eq!(choose(&hints, [2, 0], &all), Some(3));
}
