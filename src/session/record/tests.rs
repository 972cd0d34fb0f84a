use SessionState::{Consistent, Unknown, WriteLost};

use super::*;
use crate::position::testing::{heir, master, token};

fn one_timeline() -> Timelines {
    let mut timelines = Timelines::default();
    timelines.learn(&master('a', 90), Some(1));
    timelines
}

/// The master's timeline `a` became `b` at 100.
fn after_a_failover() -> Timelines {
    let mut timelines = one_timeline();
    timelines.learn(&heir('b', 120, 'a', 100), Some(2));
    timelines
}

fn wrote(offset: u64) -> Record {
    Record::default().wrote(Some(token('a', offset)), &one_timeline())
}

#[test]
fn reads_need_the_furthest_of_what_was_written() {
    let timelines = after_a_failover();
    assert_eq!(Record::default().need(&timelines), Need::Nothing);
    for (name, first, second, needed) in [
        ("in order", token('a', 10), token('a', 20), token('a', 20)),
        // Clones write at the same time.
        ("late", token('a', 20), token('a', 10), token('a', 20)),
        (
            "after a failover",
            token('a', 99),
            token('b', 101),
            token('b', 101),
        ),
        (
            "late, of before",
            token('b', 101),
            token('a', 99),
            token('b', 101),
        ),
    ] {
        let record = Record::default()
            .wrote(Some(first), &timelines)
            .wrote(Some(second), &timelines);
        assert_eq!(record.need(&timelines), Need::After(needed), "{name}");
        assert_eq!(record.state(&timelines), Consistent, "{name}");
    }
}

#[test]
fn after_a_write_of_unknown_outcome_the_master_is_asked_once() {
    let timelines = one_timeline();
    for record in [
        wrote(10).outcome_unknown(),
        // Its reply came, and its position did not.
        wrote(10).wrote(None, &timelines),
    ] {
        let Need::MasterNow { doubts, .. } = record.need(&timelines) else {
            panic!("{record:?}");
        };
        let record = record.asked(token('a', 30), doubts, &timelines);
        assert_eq!(record.need(&timelines), Need::After(token('a', 30)));
        // An older write, whose answer comes last.
        let record = record.wrote(Some(token('a', 20)), &timelines);
        assert_eq!(record.need(&timelines), Need::After(token('a', 30)));
    }
}

#[test]
fn a_write_of_unknown_outcome_after_the_question_counts_again() {
    let timelines = one_timeline();
    let record = wrote(10).outcome_unknown();
    let Need::MasterNow { doubts, .. } = record.need(&timelines) else {
        panic!("{record:?}");
    };
    let record = record.outcome_unknown();
    let record = record.asked(token('a', 30), doubts, &timelines);
    let Need::MasterNow { doubts: later, .. } = record.need(&timelines) else {
        panic!("{record:?}");
    };
    let record = record.asked(token('a', 40), later, &timelines);
    // The answer to an earlier question of a clone comes last.
    let record = record.asked(token('a', 35), doubts, &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('a', 40)));
}

#[test]
fn only_a_monotonic_session_remembers_what_it_has_read() {
    let timelines = one_timeline();
    let record = wrote(10).saw(token('a', 20), &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('a', 10)));
    let record = record.monotonic(true).saw(token('a', 20), &timelines);
    assert!(record.is_monotonic());
    assert_eq!(record.need(&timelines), Need::After(token('a', 20)));
    let record = record.saw(token('a', 15), &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('a', 20)));
    let record = Record::default().monotonic(true);
    let record = record.saw(token('a', 5), &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('a', 5)));
}

#[test]
fn a_lost_write_is_told_at_once_and_stays_told() {
    let timelines = after_a_failover();
    for (offset, state) in [
        (99, Consistent),
        (100, WriteLost),
        (u64::MAX >> 1, WriteLost),
    ] {
        assert_eq!(wrote(offset).state(&one_timeline()), Consistent);
        assert_eq!(wrote(offset).state(&timelines), state, "{offset}");
    }
    // The next write takes the place of the lost one.
    let record = wrote(100).wrote(Some(token('b', 130)), &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('b', 130)));
    assert_eq!(record.state(&timelines), WriteLost);
}

#[test]
fn what_reads_tell_never_gets_better() {
    let timelines = one_timeline();
    for (told, state) in [
        (&[Consistent][..], Consistent),
        (&[Unknown], Unknown),
        (&[Unknown, Consistent], Unknown),
        (&[Unknown, WriteLost], WriteLost),
        (&[WriteLost, Unknown, Consistent], WriteLost),
    ] {
        let told = told.iter().copied();
        let record = told.fold(wrote(10), Record::told);
        assert_eq!(record.state(&timelines), state);
    }
}

#[test]
fn a_session_goes_on_from_wherever_its_token_came() {
    let timelines = one_timeline();
    let record = Record::default().resumed(token('x', 7), false, &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('x', 7)));
    assert_eq!(record.token(&timelines), Some(&token('x', 7)));
    // Nothing is known of it yet.
    assert_eq!(record.state(&timelines), Consistent);
}

/// Where our master was behind the session's own write.
const OWN: u64 = 50;

fn strange(offset: u64, epoch: u64) -> Token {
    Token::new(token('x', offset).position(), epoch)
}

#[test]
fn own_writes_stay_beside_a_token_that_nobody_knows() {
    let timelines = one_timeline();
    for epoch in [0, 9, u64::MAX] {
        let stranger = strange(5, epoch);
        let first = Record::default().resumed(stranger.clone(), false, &timelines);
        let last = wrote(OWN).resumed(stranger, false, &timelines);
        for record in [first.wrote(Some(token('a', OWN)), &timelines), last] {
            assert_eq!(record.token(&timelines), Some(&token('a', OWN)));
            assert_eq!(record.state(&timelines), Unknown);
            let Need::MasterNow { doubts, epoch: of } = record.need(&timelines) else {
                panic!("{record:?}");
            };
            assert_eq!(of, epoch);
            let record = record.asked(token('a', 60), doubts, &timelines);
            assert_eq!(record.need(&timelines), Need::After(token('a', 60)));
            assert_eq!(record.state(&timelines), Unknown);
            let record = record.wrote(Some(token('a', 70)), &timelines);
            assert_eq!(record.need(&timelines), Need::After(token('a', 70)));
        }
    }
}

#[test]
fn what_was_unknown_is_judged_again_after_the_next_failover() {
    let mut timelines = one_timeline();
    let mut record = Record::default().resumed(strange(5, 1), false, &timelines);
    assert_eq!(record.need(&timelines), Need::After(strange(5, 1)));
    assert!(record.instead(&strange(5, 1), &token('a', 40), Unknown, &timelines));
    assert_eq!(record.need(&timelines), Need::After(token('a', 40)));
    // It was the next one's.
    timelines.learn(&heir('x', 90, 'a', 60), Some(2));
    assert_eq!(record.need(&timelines), Need::After(strange(5, 1)));
    let record = record.wrote(Some(token('x', 95)), &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('x', 95)));
}

#[test]
fn an_offset_that_the_master_has_not_reached_takes_nothing_away() {
    let timelines = one_timeline();
    let forged = token('a', crate::position::MAX_OFFSET);
    let first = Record::default().resumed(forged.clone(), false, &timelines);
    let last = wrote(OWN).resumed(forged.clone(), false, &timelines);
    for mut record in [first.wrote(Some(token('a', OWN)), &timelines), last] {
        assert_eq!(record.token(&timelines), Some(&token('a', OWN)));
        assert_eq!(record.need(&timelines), Need::After(forged.clone()));
        // From before the write.
        let kept = token('a', OWN - 10);
        assert!(record.instead(&forged, &kept, Unknown, &timelines));
        assert_eq!(record.and_own(kept, &timelines), token('a', OWN));
        assert_eq!(record.need(&timelines), Need::After(token('a', OWN)));
        assert_eq!(record.state(&timelines), Unknown);
    }
    // One that may be of another process goes on.
    let record = wrote(OWN).resumed(token('a', OWN + 9), false, &timelines);
    assert_eq!(record.token(&timelines), Some(&token('a', OWN + 9)));
}

#[test]
fn of_two_tokens_from_elsewhere_neither_hides_the_other() {
    let timelines = one_timeline();
    for other in [strange(5, 3), token('a', crate::position::MAX_OFFSET)] {
        let record = Record::default()
            .resumed(token('a', 30), false, &timelines)
            .resumed(other, false, &timelines);
        let Need::MasterNow { doubts, .. } = record.need(&timelines) else {
            panic!("{record:?}");
        };
        let record = record.asked(token('a', 80), doubts, &timelines);
        assert_eq!(record.token(&timelines), Some(&token('a', 80)));
    }
    // Where our master is known to have been, nothing needs to be asked.
    let record = Record::default()
        .resumed(token('a', 30), false, &timelines)
        .resumed(token('a', 40), true, &timelines);
    assert_eq!(record.need(&timelines), Need::After(token('a', 40)));
}

#[test]
fn what_is_left_takes_the_place_of_a_lost_write() {
    let timelines = after_a_failover();
    let lost = token('a', 100);
    let left = timelines.left_of(&lost).expect("it is lost");
    let resumed = Record::default().resumed(lost.clone(), false, &timelines);
    for mut record in [wrote(100), resumed] {
        assert!(record.instead(&lost, &left, WriteLost, &timelines));
        assert!(!record.instead(&lost, &left, WriteLost, &timelines), "once");
        assert_eq!(record.token(&timelines), Some(&left));
        assert_eq!(record.need(&timelines), Need::After(left.clone()));
        assert_eq!(record.state(&timelines), WriteLost);
    }
}

#[test]
fn what_was_written_before_a_failover_that_nobody_saw_is_unknown() {
    // From `a` came `b` came `c`, and nobody asked while `b` was there.
    let mut timelines = one_timeline();
    timelines.learn(&heir('c', 220, 'b', 200), Some(3));
    for (written, then, state) in [
        (token('a', 10), token('c', 230), Unknown),
        (token('b', 10), token('c', 230), Consistent),
        (token('b', 210), token('c', 230), WriteLost),
        // The pool has not heard yet of the master that this is from.
        (token('c', 210), token('d', 230), Unknown),
    ] {
        let record = Record::default()
            .wrote(Some(written.clone()), &timelines)
            .wrote(Some(then), &timelines);
        assert_eq!(record.state(&timelines), state, "{written}");
    }
}

#[test]
fn a_session_is_in_doubt_until_the_master_was_asked() {
    let timelines = one_timeline();
    assert_eq!(wrote(10).doubts(), None);
    let record = wrote(10).outcome_unknown().outcome_unknown();
    assert_eq!(record.doubts(), Some(2));
    // A later write that is answered settles nothing: the other one may be on its way.
    let record = record.wrote(Some(token('a', 20)), &timelines);
    assert_eq!(record.doubts(), Some(2));
    let record = record.asked(token('a', 30), 1, &timelines);
    assert_eq!(record.doubts(), Some(2));
    let record = record.asked(token('a', 30), 2, &timelines);
    assert_eq!(record.doubts(), None);
}

/// What happens to a session. Numbers choose among what is possible.
#[derive(Debug, Clone)]
enum Step {
    Write,
    Others(u64),
    /// The master's timeline ends, and so many of its last bytes are lost.
    Failover(u64),
    ResumeOwn(usize),
    ResumeStrange(u64, u64),
    ResumeForged(u64),
    Doubt,
    Read,
}

fn step() -> impl proptest::strategy::Strategy<Value = Step> {
    use proptest::prelude::*;
    prop_oneof![
        4 => Just(Step::Write),
        1 => (1_u64..20).prop_map(Step::Others),
        1 => (0_u64..30).prop_map(Step::Failover),
        1 => any::<usize>().prop_map(Step::ResumeOwn),
        2 => (0_u64..3, any::<u64>()).prop_map(|(which, epoch)| Step::ResumeStrange(which, epoch)),
        2 => (1_u64..=crate::position::MAX_OFFSET / 2).prop_map(Step::ResumeForged),
        1 => Just(Step::Doubt),
        4 => Just(Step::Read),
    ]
}

fn at_most_one_question(
    record: &mut Record,
    now: &Token,
    kept: &Token,
    known: &Timelines,
) -> Token {
    if let Need::MasterNow { doubts, .. } = record.need(known) {
        *record = std::mem::take(record).asked(now.clone(), doubts, known);
    }
    let Need::After(mut token) = record.need(known) else {
        panic!("{record:?}");
    };
    // As a pursuit does, with the master in the place of all nodes.
    for _ in 0..3 {
        let (by, state) = if let Some(left) = known.left_of(&token) {
            (left, WriteLost)
        } else if known.is_strange(&token)
            || token.position().is_ahead_by(now.position(), OUT_OF_REACH)
        {
            (kept.clone(), Unknown)
        } else if token.position().is_ahead_by(now.position(), 0) {
            (now.clone(), Unknown)
        } else {
            return token;
        };
        record.instead(&token, &by, state, known);
        token = record.and_own(by, known);
    }
    panic!("{record:?} does not settle for what there is");
}

proptest::proptest! {
    #[test]
    fn a_read_has_every_own_write_that_is_left(steps in proptest::collection::vec(step(), 1..60)) {
        let mut known = one_timeline();
        let (mut name, mut offset, mut kept) = (u64::from('a'), 90, 90);
        let mut record = Record::default();
        let mut written: Vec<Token> = Vec::new();
        let at = |name: u64, offset| {
            let position = crate::position::Position {
                timeline: crate::position::testing::numbered(name),
                offset,
            };
            Token::new(position, 0)
        };
        for step in steps {
            match step {
                Step::Write => {
                    offset += 5;
                    written.push(at(name, offset));
                    record = record.wrote(Some(at(name, offset)), &known);
                }
                Step::Others(bytes) => offset += bytes,
                Step::Failover(lost) => {
                    let cut = offset.saturating_sub(lost).max(kept) + 1;
                    let report = crate::position::report::Report {
                        role: crate::node::Role::Master,
                        position: at(name + 1000, cut).position(),
                        origin: Some(crate::position::report::Origin {
                            parent: at(name, 0).position().timeline,
                            cut,
                        }),
                    };
                    (name, offset, kept) = (name + 1000, cut, cut);
                    known.learn(&report, Some(name));
                }
                Step::ResumeOwn(which) => {
                    if let Some(token) = written.get(which % written.len().max(1)) {
                        record = record.resumed(token.clone(), which % 2 == 0, &known);
                    }
                }
                Step::ResumeStrange(which, epoch) => {
                    let token = Token::new(at(7 + which, 5).position(), epoch);
                    record = record.resumed(token, false, &known);
                }
                Step::ResumeForged(ahead) => {
                    record = record.resumed(at(name, offset + ahead), false, &known);
                }
                Step::Doubt => record = record.outcome_unknown(),
                Step::Read => {
                    if matches!(record.need(&known), Need::Nothing) {
                        continue;
                    }
                    let (now, kept) = (at(name, offset), at(name, kept));
                    let seen = at_most_one_question(&mut record, &now, &kept, &known);
                    let report = crate::position::report::Report {
                        role: crate::node::Role::Replica,
                        position: seen.position(),
                        origin: None,
                    };
                    for write in &written {
                        if known.standing(write) == Standing::Lost {
                            continue;
                        }
                        let further = known.compare(report.position, write.position());
                        proptest::prop_assert!(
                            matches!(further, Some(Ordering::Greater | Ordering::Equal)),
                            "{seen} has not {write}"
                        );
                    }
                    let last = written.last().map(|write| known.standing(write));
                    if last == Some(Standing::Lost) {
                        proptest::prop_assert_eq!(record.state(&known), WriteLost);
                    }
                }
            }
        }
    }
}
