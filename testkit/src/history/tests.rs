//! Each rule is broken once by a made-up history, and kept by one that differs little.

use std::time::Duration;

use super::*;

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn call(action: Action, (start, end): (u64, u64), outcome: Outcome) -> Call {
    Call {
        caller: "caller".to_owned(),
        action,
        start: at(start),
        end: at(end),
        limit: None,
        outcome,
        node: None,
        reply: None,
        fresh: None,
        error: String::new(),
    }
}

fn set(times: (u64, u64), node: u16) -> Call {
    Call {
        node: Some(node),
        ..call(Action::set("k", "k|1"), times, Outcome::Ok)
    }
}

fn incr(times: (u64, u64), outcome: Outcome) -> Call {
    let key = "counter".to_owned();
    call(Action::Incr { key }, times, outcome)
}

fn push(element: &str, outcome: Outcome) -> Call {
    let action = Action::Push {
        key: "list".to_owned(),
        element: element.to_owned(),
    };
    call(action, (10, 20), outcome)
}

fn replied(action: Action, reply: &str) -> Call {
    Call {
        reply: Some(reply.to_owned()),
        ..call(action, (10, 20), Outcome::Ok)
    }
}

/// One key, a counter and a list.
fn state(value: Option<&str>, count: i64, elements: &[&str]) -> State {
    let mut state = State::default();
    if let Some(value) = value {
        state.keys.insert("k".to_owned(), value.to_owned());
    }
    state.counters.insert("counter".to_owned(), count);
    state.add_list("list", elements.iter().map(|element| (*element).to_owned()));
    state
}

fn kept() -> State {
    state(Some("k|1"), 0, &[])
}

fn sign(master: u16) -> Event {
    let text = "+try-failover".to_owned();
    Event::Sign { master, text }
}

fn lossy() -> Event {
    let what = "killed".to_owned();
    Event::Lossy { master: 1, what }
}

fn broken(calls: &[Call], events: &[(u64, Event)], end: &State) -> Vec<Rule> {
    let events: Vec<_> = events
        .iter()
        .map(|(millis, event)| (at(*millis), event.clone()))
        .collect();
    let violations = verdict(calls, &events, end, &Rules::default());
    violations.iter().map(|violation| violation.rule).collect()
}

const SWITCH: Event = Event::Switch { old: 1, new: 2 };
const IN_STEP: Event = Event::InStep { master: 1 };
const PLANNED: Event = Event::Planned { master: 1 };

#[test]
fn who_is_being_replaced_acknowledges_no_write() {
    let over = (900, Event::Stands { master: 1 });
    let table: [(_, &[(u64, Event)], _); 9] = [
        (set((500, 510), 1), &[(100, sign(1))], true),
        (set((500, 510), 1), &[(100, SWITCH)], true),
        (set((500, 510), 1), &[(100, sign(2))], false),
        (set((500, 510), 2), &[(100, SWITCH)], false),
        // Within the time that word takes.
        (set((300, 310), 1), &[(100, sign(1))], false),
        // Written before, answered late; and later than any answer may be.
        (set((50, 3000), 1), &[(100, sign(1))], false),
        (set((50, 3500), 1), &[(100, sign(1))], true),
        // A false sign.
        (set((500, 950), 1), &[(100, sign(1)), over.clone()], false),
        (set((500, 510), 1), &[(100, sign(1)), over], true),
    ];
    for (call, events, violates) in table {
        let expected: &[Rule] = if violates { &[Rule::Fenced] } else { &[] };
        assert_eq!(
            broken(std::slice::from_ref(&call), events, &kept()),
            expected,
            "{call} {events:?}"
        );
    }
}

#[test]
fn word_does_not_spread_while_this_process_stands_still() {
    let lasted = at(600);
    let starved = |millis| (millis, Event::Starved { lasted });
    let call = |start| [set((start, start + 10), 1)];
    let table: [(_, &[(u64, Event)], _); 4] = [
        (900, &[(100, sign(1)), starved(750)], false),
        (1100, &[(100, sign(1)), starved(750)], true),
        (1100, &[(100, sign(1)), starved(750), starved(1000)], false),
        (1700, &[(100, sign(1)), starved(1600)], true),
    ];
    for (start, events, violates) in table {
        let expected: &[Rule] = if violates { &[Rule::Fenced] } else { &[] };
        let broken = broken(&call(start), events, &kept());
        assert_eq!(broken, expected, "{start} {events:?}");
    }
}

#[test]
fn who_is_master_again_may_acknowledge() {
    let events = [(100, SWITCH), (2000, Event::Switch { old: 2, new: 1 })];
    assert_eq!(broken(&[set((2500, 2510), 1)], &events, &kept()), []);
    let events = [(100, SWITCH)];
    assert_eq!(
        broken(&[set((2500, 2510), 1)], &events, &kept()),
        [Rule::Fenced]
    );
}

#[test]
fn what_was_acknowledged_is_kept() {
    let calls = [
        set((10, 20), 1),
        push("a", Outcome::Ok),
        incr((10, 20), Outcome::Ok),
    ];
    assert_eq!(broken(&calls, &[], &state(Some("k|1"), 1, &["a"])), []);
    for lost in [
        state(None, 1, &["a"]),
        state(Some("k|2"), 1, &["a"]),
        state(Some("k|1"), 0, &["a"]),
        state(Some("k|1"), 1, &[]),
    ] {
        assert_eq!(broken(&calls, &[], &lost), [Rule::Kept], "{lost:?}");
    }
}

#[test]
fn what_was_not_acknowledged_may_be_gone() {
    let calls = [
        call(Action::set("k", "k|1"), (10, 20), Outcome::Unknown),
        push("a", Outcome::Failed),
        incr((10, 20), Outcome::NotExecuted),
    ];
    assert_eq!(broken(&calls, &[], &state(None, 0, &[])), []);
}

#[test]
fn a_master_that_dies_may_take_with_it_what_it_had_not_replicated_and_nothing_else() {
    let killed = [
        (100, IN_STEP),
        (200, lossy()),
        (300, sign(1)),
        (900, SWITCH),
    ];
    let none = state(None, 0, &[]);
    // By whom it was acknowledged, when, and whether it may be gone.
    let table = [
        ((150, 160), Some(1), true),
        ((150, 160), None, true),
        ((80, 90), Some(1), false),
        ((150, 160), Some(2), false),
        ((950, 960), Some(2), false),
        ((950, 960), None, false),
    ];
    for (times, node, may_be_gone) in table {
        let call = Call {
            node,
            ..set(times, 0)
        };
        let expected: &[Rule] = if may_be_gone { &[] } else { &[Rule::Kept] };
        assert_eq!(
            broken(std::slice::from_ref(&call), &killed, &none),
            expected,
            "{call}"
        );
    }
    let calls = [incr((80, 90), Outcome::Ok), incr((150, 160), Outcome::Ok)];
    assert_eq!(broken(&calls, &killed, &state(None, 1, &[])), []);
    assert_eq!(broken(&calls, &killed, &none), [Rule::Kept]);
}

#[test]
fn a_planned_failover_loses_nothing_unless_this_process_stood_still() {
    let planned = [
        (100, IN_STEP),
        (200, PLANNED),
        (300, sign(1)),
        (900, SWITCH),
    ];
    let lost = [set((250, 260), 1)];
    let none = state(None, 0, &[]);
    assert_eq!(broken(&lost, &planned, &none), [Rule::Kept]);
    let starved = |millis, lasted| {
        let lasted = at(lasted);
        let mut events = planned.to_vec();
        events.push((millis, Event::Starved { lasted }));
        events.sort_by_key(|(at, _)| *at);
        broken(&lost, &events, &none)
    };
    assert_eq!(starved(400, 90), []);
    assert_eq!(starved(290, 90), [Rule::Kept], "over before the sign");
    assert_eq!(starved(900, 90), [Rule::Kept], "long after the sign");
}

#[test]
fn a_planned_failover_may_lose_what_the_replicas_had_no_time_for_before_the_promotion() {
    let promotion = Event::Sign {
        master: 1,
        text: "+failover-state-wait-promotion".to_owned(),
    };
    let lost = [set((250, 260), 1)];
    for (master, since, lasted, allowed) in [
        (1, 240, 270, true),
        (1, 240, 250, false),
        (1, 310, 190, false),
        (2, 240, 270, false),
    ] {
        let lasted = at(lasted);
        let events = [
            (100, IN_STEP),
            (200, PLANNED),
            (since, Event::Lagged { master, lasted }),
            (300, sign(1)),
            (500, promotion.clone()),
            (900, SWITCH),
        ];
        let expected: &[Rule] = if allowed { &[] } else { &[Rule::Kept] };
        let broken = broken(&lost, &events, &state(None, 0, &[]));
        assert_eq!(broken, expected, "{master} {since} {lasted:?}");
    }
}

#[test]
fn a_planned_failover_without_events_may_lose_what_was_acknowledged_around_the_promotion() {
    let promotion = Event::Sign {
        master: 1,
        text: "+failover-state-wait-promotion".to_owned(),
    };
    let events = [
        (100, IN_STEP),
        (200, PLANNED),
        (300, sign(1)),
        (500, promotion),
        (900, SWITCH),
    ]
    .map(|(millis, event)| (at(millis), event));
    let unheard = Some(Unheard {
        until_seen: at(1000),
        may_be_lost: at(50),
    });
    for (times, node, allowed) in [
        ((440, 449), 1, false),
        ((440, 450), 1, true),
        ((540, 550), 1, true),
        // One that began before and was acknowledged later.
        ((490, 551), 1, false),
        ((490, 500), 2, false),
    ] {
        let broken = |unheard| {
            let rules = Rules {
                unheard,
                ..Rules::default()
            };
            let calls = [set(times, node)];
            !verdict(&calls, &events, &state(None, 0, &[]), &rules).is_empty()
        };
        assert_eq!(broken(unheard), !allowed, "{times:?} at {node}");
        assert!(broken(None), "{times:?} at {node}");
    }
    // A pause is an excuse where it is at the promotion, and for as long as it lasts.
    for (until, excused) in [(450, false), (700, true)] {
        let mut events = events.to_vec();
        let lasted = at(200);
        events.push((at(until), Event::Starved { lasted }));
        events.sort_by_key(|(at, _)| *at);
        let rules = Rules {
            unheard,
            ..Rules::default()
        };
        let calls = [set((840, 850), 1)];
        let broken = verdict(&calls, &events, &state(None, 0, &[]), &rules);
        assert_eq!(broken.is_empty(), excused, "a pause until {until}");
    }
    // It may be acknowledged for longer than with events, as long as it is kept.
    let unheard = |times| {
        let rules = Rules {
            unheard,
            ..Rules::default()
        };
        verdict(&[set(times, 1)], &events, &kept(), &rules).is_empty()
    };
    assert!(unheard((1290, 1299)));
    assert!(!unheard((1301, 1310)));
}

#[test]
fn a_failover_that_nobody_asked_for_is_the_servers_affair() {
    let events = [(100, IN_STEP), (300, sign(1)), (900, SWITCH)];
    assert_eq!(
        broken(&[set((250, 260), 1)], &events, &state(None, 0, &[])),
        []
    );
    // One of a node that was not the master here excuses nothing.
    let events = [(300, sign(1)), (900, SWITCH)];
    assert_eq!(
        broken(&[set((250, 260), 1)], &events, &state(None, 0, &[])),
        [Rule::Kept]
    );
}

#[test]
fn what_was_sent_once_is_done_at_most_once() {
    let unknown = [
        incr((10, 20), Outcome::Unknown),
        incr((30, 40), Outcome::Ok),
    ];
    assert_eq!(broken(&unknown, &[], &state(None, 2, &[])), []);
    assert_eq!(
        broken(&unknown, &[], &state(None, 3, &[])),
        [Rule::AtMostOnce]
    );
    let pushed = [push("a", Outcome::Unknown)];
    assert_eq!(broken(&pushed, &[], &state(None, 0, &["a"])), []);
    assert_eq!(
        broken(&pushed, &[], &state(None, 0, &["a", "a"])),
        [Rule::AtMostOnce]
    );
}

#[test]
fn what_was_not_executed_has_no_effect() {
    let refused = Outcome::NotExecuted;
    let table = [
        (call(Action::set("k", "k|1"), (10, 20), refused), kept()),
        (push("a", refused), state(None, 0, &["a"])),
        (incr((10, 20), refused), state(None, 1, &[])),
    ];
    for (call, end) in table {
        assert_eq!(
            broken(std::slice::from_ref(&call), &[], &end),
            [Rule::AtMostOnce],
            "{call}"
        );
        assert_eq!(broken(&[call], &[], &state(None, 0, &[])), []);
    }
}

#[test]
fn every_reply_is_its_own() {
    let get = || Action::Get {
        key: "k".to_owned(),
    };
    let echo = || Action::Echo {
        text: "nonce".to_owned(),
    };
    let counter = || Action::Incr {
        key: "counter".to_owned(),
    };
    let table = [
        (replied(get(), "k|1"), true),
        (replied(get(), "k2|1"), false),
        (replied(get(), "OK"), false),
        (call(get(), (10, 20), Outcome::Ok), true),
        (replied(echo(), "nonce"), true),
        (replied(echo(), "k|1"), false),
        (call(echo(), (10, 20), Outcome::Ok), false),
        (replied(Action::set("k", "k|1"), "k|1"), true),
        (replied(Action::set("k", "k|1"), "k|7"), false),
        (replied(counter(), "1"), true),
        (replied(counter(), "2"), false),
        (replied(counter(), "k|1"), false),
    ];
    let end = state(Some("k|1"), 1, &[]);
    for (call, own) in table {
        let expected: &[Rule] = if own { &[] } else { &[Rule::OwnReply] };
        let others =
            (!matches!(call.action, Action::Incr { .. })).then(|| incr((1, 2), Outcome::Ok));
        let calls: Vec<Call> = others.into_iter().chain([call.clone()]).collect();
        assert_eq!(broken(&calls, &[], &end), expected, "{call}");
    }
}

#[test]
fn no_write_reaches_a_replica() {
    let refused = |node, writes| Event::Refused { node, writes };
    assert_eq!(broken(&[], &[(10, refused(2, 0))], &kept()), []);
    assert_eq!(broken(&[], &[(10, refused(2, 1))], &kept()), [Rule::Routed]);
    // What was on its way to a master that froze meets a replica when it thaws.
    let frozen = [
        (100, IN_STEP),
        (200, lossy()),
        (900, SWITCH),
        (5000, refused(1, 1)),
    ];
    assert_eq!(broken(&[], &frozen, &kept()), []);
    let planned = [
        (100, IN_STEP),
        (200, PLANNED),
        (900, SWITCH),
        (5000, refused(1, 1)),
    ];
    assert_eq!(broken(&[], &planned, &kept()), [Rule::Routed]);
}

#[test]
fn every_call_ends_in_time() {
    let limited = |end| Call {
        limit: Some(at(1000)),
        ..set((0, end), 1)
    };
    assert_eq!(broken(&[limited(2900)], &[], &kept()), []);
    assert_eq!(broken(&[limited(3100)], &[], &kept()), [Rule::Live]);
    assert_eq!(broken(&[set((0, 3100), 1)], &[], &kept()), []);
}

#[test]
fn a_new_master_is_written_to_soon() {
    let events =
        [(100, IN_STEP), (300, sign(1)), (900, SWITCH)].map(|(millis, event)| (at(millis), event));
    let rules = Rules {
        resume: Some(at(1000)),
        ..Rules::default()
    };
    let table = [
        (set((1800, 1850), 2), 950, false),
        (set((1800, 1950), 2), 1050, true),
        // Known to be the master before a Sentinel says so.
        (set((800, 850), 2), 0, false),
        // Never, as far as one can tell.
        (set((2800, 2900), 1), 2000, true),
    ];
    for (call, took, violates) in table {
        let calls = [call];
        assert_eq!(longest_resumption(&calls, &events, &rules), Some(at(took)));
        let violations = verdict(&calls, &events, &kept(), &rules);
        let late = violations.iter().any(|v| v.rule == Rule::Live);
        assert_eq!(late, violates, "{violations:?}");
    }
}

#[test]
fn when_all_is_quiet_nothing_is_left() {
    let quiet = Quiet {
        active: 3,
        idle: 3,
        shared: 2,
        on_servers: 5,
        ..Quiet::default()
    };
    assert_eq!(quiet.verdict(at(0)), []);
    for unquiet in [
        Quiet {
            idle: 2,
            ..quiet.clone()
        },
        Quiet {
            waiting: 1,
            ..quiet.clone()
        },
        Quiet {
            in_flight: 1,
            ..quiet.clone()
        },
        Quiet {
            on_servers: 6,
            ..quiet.clone()
        },
        Quiet {
            on_servers: 4,
            ..quiet.clone()
        },
    ] {
        let rules: Vec<Rule> = unquiet.verdict(at(0)).iter().map(|v| v.rule).collect();
        assert_eq!(rules, [Rule::Conserved], "{unquiet:?}");
    }
}

#[test]
fn what_sentinels_say_is_understood() {
    let sign = |text: &str| {
        let text = text.to_owned();
        Some(Event::Sign { master: 1, text })
    };
    let table = [
        (
            "+try-failover",
            "master mymaster 127.0.0.1 1",
            sign("+try-failover"),
        ),
        (
            "+odown",
            "master mymaster 127.0.0.1 1 #quorum 2/2",
            sign("+odown"),
        ),
        (
            "+selected-slave",
            "slave 127.0.0.1:2 127.0.0.1 2 @ mymaster 127.0.0.1 1",
            sign("+selected-slave"),
        ),
        (
            "+config-update-from",
            "sentinel abc 127.0.0.1 9 @ mymaster 127.0.0.1 1",
            sign("+config-update-from"),
        ),
        (
            "+switch-master",
            "mymaster 127.0.0.1 1 127.0.0.1 2",
            Some(SWITCH),
        ),
        (
            "-odown",
            "master mymaster 127.0.0.1 1",
            Some(Event::Stands { master: 1 }),
        ),
        (
            "-failover-abort-no-good-slave",
            "master mymaster 127.0.0.1 1",
            Some(Event::Stands { master: 1 }),
        ),
        ("+odown", "master other 127.0.0.1 1 #quorum 2/2", None),
        ("+switch-master", "other 127.0.0.1 1 127.0.0.1 2", None),
        ("+sdown", "master mymaster 127.0.0.1 1", None),
        ("+new-epoch", "7", None),
        ("+odown", "master mymaster", None),
        ("", "", None),
    ];
    for (channel, payload, expected) in table {
        assert_eq!(
            parse(channel, payload, "mymaster"),
            expected,
            "{channel} {payload}"
        );
    }
}

#[test]
fn a_call_that_is_dropped_counts_as_unknown() {
    let history = History::default();
    drop(history.begin("caller", Action::set("k", "k|1")));
    let calls = history.calls();
    assert_eq!((calls.len(), calls[0].outcome), (1, Outcome::Unknown));
}

#[test]
fn a_summary_counts_and_finds_the_longest_stall() {
    let failed = |error: &str| Call {
        error: error.to_owned(),
        ..set((0, 5), 1)
    };
    let calls = [
        failed("lost 127.0.0.1"),
        set((0, 10), 1),
        set((0, 250), 1),
        set((0, 300), 1),
    ];
    let mut summary = Summary::default();
    summary.add(&calls);
    summary.add(&[failed("lost 127.0.9.17")]);
    assert_eq!(summary.outcomes[&("set", Outcome::Ok)], 5);
    assert_eq!(summary.errors["lost #.#.#.#"], 2);
    assert_eq!(summary.write_stall, at(240));
}
