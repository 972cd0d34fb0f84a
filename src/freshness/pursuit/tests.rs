use super::*;
use crate::position::{
    report::NoPosition,
    testing::{heir, master, position, replica, token},
};

const MS: Duration = Duration::from_millis(1);

/// Of the read in most tests: `ReplicaPreferred`, 5 ms of patience, then the master, 3 s in all.
fn terms() -> Terms {
    let began = Instant::now();
    Terms {
        limits: FreshnessLimits::default(),
        read_from: ReadFrom::default(),
        began,
        deadline: began + 3000 * MS,
    }
}

const ALONE: Facts = Facts {
    other_suggests: false,
    has_master: true,
    reaches_master: true,
    is_reached: true,
    on_master: false,
};
const CHOICE: Facts = Facts {
    other_suggests: true,
    ..ALONE
};
const NO_MASTER: Facts = Facts {
    has_master: false,
    ..ALONE
};
/// A read that depends on its connection.
const BOUND: Facts = Facts {
    reaches_master: false,
    ..ALONE
};
/// Nobody knows whether the master has ever got there.
const AHEAD: Facts = Facts {
    is_reached: false,
    ..ALONE
};
const ON_MASTER: Facts = Facts {
    on_master: true,
    ..ALONE
};

/// The master's timeline `a` became `b` at 100.
fn timelines() -> Timelines {
    let mut timelines = Timelines::default();
    timelines.learn(&master('a', 90), Some(1));
    timelines.learn(&heir('b', 120, 'a', 100), Some(2));
    timelines
}

#[test]
fn each_outcome_leads_to_its_step() {
    use Outcome::{Behind, Fresh, NoPosition, Refused, Unknown};
    use Step::{AskMaster, Fail, Master, Pause, TakeStale, TryAnother};

    type Change = fn(&mut Terms);
    let default: Change = |_| {};
    let fail: Change = |terms| terms.limits.otherwise = Otherwise::Fail;
    let stale: Change = |terms| terms.limits.otherwise = Otherwise::Stale;
    let replica: Change = |terms| terms.read_from = ReadFrom::Replica;
    let any: Change = |terms| terms.read_from = ReadFrom::Any;
    let only_master: Change = |terms| terms.read_from = ReadFrom::Master;
    let short: Change = |terms| terms.deadline = terms.began + MS;
    let no_patience: Change = |terms| terms.limits.patience = Duration::ZERO;
    let first = Pause(MS / 4);
    let long = Pause(2 * MS);
    let failed = Fail(Reason::Stale);
    // The settings, what the node answered, the facts, after how many milliseconds, the step.
    let table: &[(Change, Outcome, Facts, u32, Step)] = &[
        (default, Fresh, ALONE, 0, Step::Take),
        (fail, Fresh, NO_MASTER, 9000, Step::Take),
        (default, Refused, CHOICE, 0, Fail(Reason::Refused)),
        (stale, Refused, CHOICE, 0, Fail(Reason::Refused)),
        (default, Unknown, CHOICE, 0, AskMaster),
        (stale, Unknown, ALONE, 5, AskMaster),
        (default, Unknown, NO_MASTER, 0, first),
        (default, Behind, CHOICE, 0, TryAnother),
        (default, NoPosition, CHOICE, 0, TryAnother),
        (default, Behind, CHOICE, 2999, TryAnother),
        (default, Behind, CHOICE, 3000, Master),
        (fail, Behind, CHOICE, 3000, failed),
        (default, Behind, ALONE, 0, first),
        (default, NoPosition, NO_MASTER, 0, first),
        (fail, Behind, ALONE, 4, first),
        (stale, Behind, ALONE, 4, first),
        // Never beyond the patience, nor beyond the deadline.
        (short, Behind, ALONE, 0, first),
        (short, Behind, NO_MASTER, 1, failed),
        (default, Behind, ALONE, 5, Master),
        (any, Behind, ALONE, 5, Master),
        (default, NoPosition, ALONE, 5, Master),
        (no_patience, Behind, ALONE, 0, Master),
        (no_patience, Behind, CHOICE, 0, TryAnother),
        (fail, Behind, ALONE, 5, failed),
        (stale, Behind, ALONE, 5, TakeStale),
        (stale, Behind, NO_MASTER, 3000, TakeStale),
        (replica, Behind, ALONE, 5, long),
        (replica, Behind, ALONE, 2999, Pause(MS)),
        (replica, Behind, ALONE, 3000, failed),
        (default, Behind, NO_MASTER, 5, long),
        (default, Behind, NO_MASTER, 3000, failed),
        (default, Behind, BOUND, 0, first),
        (default, Behind, BOUND, 5, long),
        (default, Behind, BOUND, 3000, failed),
        (default, Unknown, BOUND, 0, AskMaster),
        (fail, Behind, BOUND, 5, failed),
        (stale, Behind, BOUND, 5, TakeStale),
        // What nobody has may be forged: before a read is waited for, or fails, the master is asked.
        (default, Behind, AHEAD, 4, first),
        (default, Behind, AHEAD, 5, Master),
        (replica, Behind, AHEAD, 5, AskMaster),
        (fail, Behind, AHEAD, 5, AskMaster),
        (stale, Behind, AHEAD, 5, AskMaster),
        // A deposed master, or a token that is ahead of this pool.
        (default, Behind, ON_MASTER, 0, first),
        (default, Behind, ON_MASTER, 5, long),
        (only_master, Behind, ON_MASTER, 5, long),
        (default, Behind, ON_MASTER, 3000, failed),
        (fail, Behind, ON_MASTER, 5, failed),
    ];
    for (place, (change, outcome, facts, after, step)) in table.iter().enumerate() {
        let mut terms = terms();
        change(&mut terms);
        let mut pursuit = Pursuit::new(token('b', 110), terms);
        let now = terms.began + *after * MS;
        let found = pursuit.step(*outcome, &timelines(), *facts, now);
        assert_eq!(found, *step, "row {place}");
    }
}

#[test]
fn pauses_grow_and_fill_the_patience_and_no_more() {
    let terms = terms();
    let mut pursuit = Pursuit::new(token('b', 110), terms);
    let mut now = terms.began;
    let mut pauses = Vec::new();
    loop {
        match pursuit.step(Outcome::Behind, &timelines(), NO_MASTER, now) {
            Step::Pause(pause) => {
                pauses.push(pause);
                now += pause;
            }
            step => {
                assert_eq!(step, Step::Fail(Reason::Stale));
                break;
            }
        }
    }
    let micros: Vec<_> = pauses.iter().take(9).map(Duration::as_micros).collect();
    assert_eq!(
        micros,
        [250, 500, 1000, 2000, 1250, 2000, 4000, 8000, 10_000]
    );
    assert_eq!(pauses.iter().sum::<Duration>(), 3000 * MS);
    assert_eq!(usize::try_from(pursuit.pauses()), Ok(pauses.len()));
}

#[test]
fn each_node_is_tried_once_between_two_pauses() {
    let terms = terms();
    let mut pursuit = Pursuit::new(token('b', 110), terms);
    let node = Node::new("10.0.0.1", 6379);
    assert!(!pursuit.has_tried(&node));
    pursuit.note_try(&node);
    pursuit.step(Outcome::Behind, &timelines(), CHOICE, terms.began);
    assert!(pursuit.has_tried(&node));
    pursuit.step(Outcome::Behind, &timelines(), ALONE, terms.began);
    assert!(!pursuit.has_tried(&node));
}

#[test]
fn what_is_left_of_a_lost_write_is_read_and_told() {
    let (terms, timelines) = (terms(), timelines());
    let lost = token('a', 100);
    let mut pursuit = Pursuit::new(lost.clone(), terms);
    let node = master('b', 120);
    assert_eq!(timelines.verdict(&node, &lost), Verdict::Lost);
    let step = pursuit.step(Outcome::Lost, &timelines, ALONE, terms.began);
    assert_eq!(step, Step::Judge);
    assert_eq!(pursuit.told(), SessionState::WriteLost);
    assert_eq!(pursuit.token().position(), position('b', 99));
    assert_eq!(
        timelines.verdict(&node, pursuit.token()),
        Verdict::Fresh,
        "the same answer will do"
    );
}

#[test]
fn a_lost_write_is_an_error_where_that_is_wanted() {
    let mut terms = terms();
    terms.limits.lost = OnLost::Fail;
    let mut pursuit = Pursuit::new(token('a', 100), terms);
    let step = pursuit.step(Outcome::Lost, &timelines(), ALONE, terms.began);
    assert_eq!(step, Step::Fail(Reason::Lost));
    assert_eq!(pursuit.token(), &token('a', 100), "the error shows it");
}

/// What is to be seen, where the master is, what must be seen then, and what is told.
#[test]
fn what_the_master_says_replaces_only_what_it_does_not_know() {
    let timelines = timelines();
    let now = token('b', 120);
    for (name, wanted, state, then) in [
        ("its own", token('b', 110), SessionState::Consistent, None),
        ("older", token('a', 99), SessionState::Consistent, None),
        (
            "lost, to be judged",
            token('a', 100),
            SessionState::Consistent,
            None,
        ),
        (
            "of others",
            token('x', 5),
            SessionState::Unknown,
            Some(&now),
        ),
        ("forged", token('b', 121), SessionState::Unknown, Some(&now)),
    ] {
        let mut pursuit = Pursuit::new(wanted.clone(), terms());
        pursuit.asked(&now, &timelines);
        assert_eq!(pursuit.told(), state, "{name}");
        assert_eq!(pursuit.token(), then.unwrap_or(&wanted), "{name}");
    }
}

#[test]
fn the_master_is_asked_once() {
    let (terms, timelines) = (terms(), timelines());
    let mut pursuit = Pursuit::new(token('x', 5), terms);
    let step =
        |pursuit: &mut Pursuit| pursuit.step(Outcome::Unknown, &timelines, ALONE, terms.began);
    assert_eq!(step(&mut pursuit), Step::AskMaster);
    pursuit.asked(&token('b', 120), &timelines);
    // Of a node of another deployment.
    assert_eq!(step(&mut pursuit), Step::Pause(MS / 4));
}

#[test]
fn a_master_that_does_not_answer_is_none() {
    let mut terms = terms();
    terms.limits.patience = Duration::ZERO;
    let mut pursuit = Pursuit::new(token('x', 5), terms);
    let step = pursuit.step(Outcome::Unknown, &timelines(), ALONE, terms.began);
    assert_eq!(step, Step::AskMaster);
    let step = pursuit.unanswered(ALONE, terms.began);
    assert_eq!(step, Step::Pause(2 * MS));
    let step = pursuit.unanswered(ALONE, terms.deadline);
    assert_eq!(step, Step::Fail(Reason::Stale));
}

#[test]
fn an_answer_is_what_it_says() {
    let timelines = timelines();
    let refused = |line: &str| {
        let reply = redis::parse_redis_value(format!("-{line}\r\n").as_bytes());
        let Ok(redis::Value::ServerError(error)) = reply else {
            panic!("{reply:?}");
        };
        Err(NoAnswer::Refused(error))
    };
    for (answer, outcome) in [
        (Ok(replica('b', 110)), Outcome::Fresh),
        (Ok(replica('b', 109)), Outcome::Behind),
        (Ok(replica('a', 99)), Outcome::Behind),
        (Ok(replica('x', 999)), Outcome::Unknown),
        (Err(NoPosition::NoData.into()), Outcome::NoPosition),
        (Err(NoAnswer::Mixed), Outcome::NoPosition),
        (
            refused("NOPERM User app has no permissions to run the 'info' command"),
            Outcome::Refused,
        ),
        (refused("ERR unknown command 'INFO'"), Outcome::Refused),
        (
            refused("LOADING Redis is loading the dataset in memory"),
            Outcome::NoPosition,
        ),
    ] {
        let answer = Answer::new(answer);
        let found = Outcome::of(Some(&answer), &token('b', 110), &timelines);
        assert_eq!(found, outcome, "{answer:?}");
    }
    let none = Outcome::of(None, &token('b', 110), &timelines);
    assert_eq!(none, Outcome::NoPosition);
    let lost = Answer::new(Ok(replica('b', 110)));
    let found = Outcome::of(Some(&lost), &token('a', 100), &timelines);
    assert_eq!(found, Outcome::Lost);
}

#[test]
fn a_frozen_node_holds_up_a_round_for_a_moment_only() {
    let terms = terms();
    let mut pursuit = Pursuit::new(token('b', 110), terms);
    let ends =
        |pursuit: &Pursuit, after: Duration| pursuit.round_ends(terms.began + after) - terms.began;
    assert_eq!(ends(&pursuit, MS), 5 * MS);
    assert_eq!(ends(&pursuit, 5 * MS), 7 * MS);
    let now = terms.began + 5 * MS;
    pursuit.step(Outcome::Behind, &timelines(), NO_MASTER, now);
    assert_eq!(ends(&pursuit, 7 * MS), 107 * MS);
    assert_eq!(ends(&pursuit, 2950 * MS), 3000 * MS);
}
