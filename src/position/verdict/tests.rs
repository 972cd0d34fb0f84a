use super::*;
use crate::position::testing::{heir, master, position, replica, timeline, token};

use Verdict::{Behind, Fresh, Lost, Unknown};

/// A, then B from 502 on, then C from 610 on; `current` is the master's.
fn known(current: char) -> Timelines {
    let mut timelines = Timelines::default();
    let reports = [
        master('a', 400),
        heir('b', 600, 'a', 502),
        heir('c', 700, 'b', 610),
    ];
    for (version, report) in (1..).zip(reports) {
        let named = report.position.timeline == timeline(current);
        timelines.learn(&report, named.then_some(version));
    }
    assert_eq!(timelines.current(), Some(timeline(current)));
    timelines
}

#[test]
fn on_one_timeline_the_offset_decides() {
    for timelines in [Timelines::default(), known('a')] {
        for (offset, verdict) in [(0, Behind), (99, Behind), (100, Fresh), (101, Fresh)] {
            let found = timelines.verdict(&replica('a', offset), &token('a', 100));
            assert_eq!(found, verdict, "{offset}");
        }
    }
}

#[test]
fn a_token_lives_on_up_to_the_cut() {
    let timelines = known('b');
    for (wanted, node, verdict) in [
        (token('a', 501), master('b', 600), Fresh),
        (token('a', 502), master('b', 600), Lost),
        (token('a', 501), replica('b', 501), Fresh),
        (token('a', 501), replica('b', 500), Behind),
        (token('a', 531), replica('b', 600), Lost),
        (token('b', 501), replica('b', 501), Fresh),
    ] {
        assert_eq!(
            timelines.verdict(&node, &wanted),
            verdict,
            "{wanted} on {node:?}"
        );
    }
}

#[test]
fn a_token_of_two_failovers_ago_is_judged_by_the_earliest_cut() {
    let timelines = known('c');
    for (wanted, verdict) in [
        (token('a', 501), Fresh),
        (token('a', 502), Lost),
        (token('a', 609), Lost),
        (token('b', 609), Fresh),
        (token('b', 610), Lost),
    ] {
        let found = timelines.verdict(&replica('c', 700), &wanted);
        assert_eq!(found, verdict, "{wanted}");
    }
}

#[test]
fn a_node_that_has_not_heard_of_the_failover_is_behind() {
    for current in ['b', 'c'] {
        let found = known(current).verdict(&replica('a', 490), &token('b', 560));
        assert_eq!(found, Behind);
    }
    // It has what the token wants, from before.
    let found = known('b').verdict(&replica('a', 490), &token('a', 480));
    assert_eq!(found, Fresh);
}

#[test]
fn a_demoted_master_with_the_lost_write_is_not_believed() {
    let timelines = known('b');
    let demoted = replica('a', 531);
    assert_eq!(timelines.verdict(&demoted, &token('a', 531)), Lost);
    assert_eq!(timelines.verdict(&demoted, &token('a', 501)), Behind);
    assert_eq!(timelines.verdict(&demoted, &token('b', 560)), Behind);
    // Nor while it says that it still is the master.
    assert_eq!(
        timelines.verdict(&master('a', 531), &token('a', 501)),
        Behind
    );
}

#[test]
fn nothing_is_lost_by_the_word_of_a_master_that_nobody_named() {
    // Somebody made a replica a master by hand.
    let timelines = known('a');
    let rival = heir('b', 600, 'a', 502);
    assert_eq!(timelines.verdict(&rival, &token('a', 531)), Behind);
    assert_eq!(timelines.standing(&token('a', 531)), Standing::Kept);
    // And while no master is known it may as well be the one.
    let mut timelines = Timelines::default();
    timelines.learn(&rival, None);
    assert_eq!(timelines.verdict(&rival, &token('a', 531)), Unknown);
    assert_eq!(timelines.verdict(&rival, &token('a', 501)), Fresh);
}

#[test]
fn a_promoted_replica_is_read_before_the_topology_names_it() {
    let timelines = known('a');
    let promoted = heir('b', 600, 'a', 502);
    assert_eq!(timelines.verdict(&promoted, &token('a', 480)), Fresh);
}

#[test]
fn timelines_without_a_common_past_tell_nothing() {
    for (current, wanted, node) in [
        ('c', token('x', 1), replica('c', 700)),
        ('c', token('c', 1), replica('x', 700)),
        ('c', token('x', 1), master('c', 700)),
        ('a', token('x', 1), replica('y', 700)),
    ] {
        let found = known(current).verdict(&node, &wanted);
        assert_eq!(found, Unknown, "{wanted} on {node:?}");
    }
    // Of the same timeline, and yet no word about the present.
    assert_eq!(known('c').verdict(&replica('x', 7), &token('x', 7)), Fresh);
    assert_eq!(known('c').standing(&token('x', 7)), Standing::Unknown);
}

#[test]
fn an_offset_that_the_master_itself_has_not_reached_is_not_waited_for() {
    let timelines = known('b');
    let forged = token('b', crate::position::MAX_OFFSET);
    assert_eq!(timelines.verdict(&master('b', 600), &forged), Unknown);
    assert_eq!(timelines.verdict(&replica('b', 600), &forged), Behind);
    // A master that was replaced is a different matter.
    assert_eq!(timelines.verdict(&master('a', 490), &forged), Behind);
}

#[test]
fn what_is_left_of_a_lost_token_is_everything_ahead_of_the_cut() {
    for (current, wanted, left) in [
        ('b', token('a', 531), Some(position('b', 501))),
        ('c', token('a', 531), Some(position('c', 501))),
        ('c', token('b', 610), Some(position('c', 609))),
        ('b', token('a', 501), None),
        ('b', token('b', 999), None),
        ('b', token('x', 1), None),
        ('b', token('c', 700), None),
    ] {
        let timelines = known(current);
        let found = timelines.left_of(&wanted);
        assert_eq!(found.as_ref().map(Token::position), left, "{wanted}");
        let lost = timelines.standing(&wanted) == Standing::Lost;
        assert_eq!(lost, left.is_some(), "{wanted}");
        // The new master has it without writing anything.
        let promoted = replica(current, if current == 'b' { 501 } else { 609 });
        if let Some(left) = found {
            assert_eq!(timelines.verdict(&promoted, &left), Fresh);
            assert_eq!(timelines.standing(&left), Standing::Kept);
        }
    }
}

#[test]
fn the_later_of_two_tokens_covers_both() {
    let at = |name, offset, epoch| Token::new(position(name, offset), epoch);
    let timelines = known('c');
    for (first, second, later) in [
        (at('a', 7, 1), at('a', 9, 1), at('a', 9, 1)),
        (at('a', 9, 2), at('a', 7, 3), at('a', 9, 3)),
        (at('a', 531, 1), at('b', 502, 2), at('b', 502, 2)),
        (at('a', 900, 1), at('c', 620, 3), at('c', 620, 3)),
        // Nothing is known of X: the epoch tells, and then the order in which they came.
        (at('x', 900, 2), at('c', 620, 3), at('c', 620, 3)),
        (at('x', 900, 4), at('c', 620, 3), at('x', 900, 4)),
        (at('c', 620, 3), at('x', 900, 3), at('x', 900, 3)),
        (at('x', 900, 3), at('c', 620, 3), at('c', 620, 3)),
    ] {
        assert_eq!(timelines.later(&first, &second), later, "{first}, {second}");
        if first.epoch() != second.epoch() {
            assert_eq!(timelines.later(&second, &first), later, "{second}, {first}");
        }
    }
}

#[test]
fn a_distance_counts_on_through_failovers() {
    let mut timelines = Timelines::default();
    timelines.learn(&heir('b', 120, 'a', 100), Some(1));
    for (from, to, bytes) in [
        (position('b', 110), position('b', 120), Some(10)),
        (position('b', 130), position('b', 120), Some(0)),
        (position('a', 90), position('b', 120), Some(30)),
        (position('a', 99), position('b', 120), Some(21)),
        // It has what the other does not have.
        (position('a', 100), position('b', 120), None),
        (position('b', 120), position('a', 90), None),
        (position('x', 1), position('b', 120), None),
    ] {
        assert_eq!(timelines.distance(from, to), bytes, "{from:?} {to:?}");
    }
}
