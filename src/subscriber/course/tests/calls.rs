//! What callers wait for.

use super::*;

#[test]
fn unsubscribing_takes_a_confirmation_where_there_is_something_to_end() {
    let mut stage = Stage::serving(Source::Master, "x y*");
    stage.unsubscribe(2, "never x*");
    stage.did_only(&["call 2 done"]);
    stage.unsubscribe(3, "x never y*");
    stage.did_only(&["1: unsubscribe x", "1: unsubscribe y*"]);
    stage.reply(1, Reply::Unsubscribed(subject("x")));
    stage.did_only(&[]);
    stage.reply(1, Reply::Unsubscribed(subject("y*")));
    stage.did_only(&["call 3 done"]);
    assert_eq!(stage.course.counts(), (0, 0));
    // The connection stays: somebody may subscribe again.
    stage.subscribe(4, "x");
    stage.did_only(&["1: subscribe x"]);
    stage.confirmed(1, "x");
    stage.did_only(&["call 4 done"]);
}

#[test]
fn with_nothing_to_subscribe_to_nothing_is_followed_and_no_gap_is_told() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.did();
    stage.unsubscribe(2, "x");
    stage.did_only(&["call 2 done"]);
    assert!(!stage.dialled(2, "a"));
    stage.did_only(&[]);
    stage.subscribe(3, "y");
    stage.did_only(&["dial a"]);
    stage.dialled(3, "a");
    stage.confirmed(3, "y");
    stage.did_only(&["3: subscribe y", "serves a again", "call 3 done"]);
    stage.unsubscribe(4, "y");
    stage.reply(3, Reply::Unsubscribed(subject("y")));
    stage.did();
    stage.view("b", false);
    stage.did_only(&["close 3", "serves nobody"]);
}

#[test]
fn a_call_that_ends_the_last_subscription_ends_with_a_connection_that_is_left() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.did();
    stage.unsubscribe(2, "x");
    stage.did_only(&[
        "1: unsubscribe x",
        "close 1",
        "serves nobody",
        "call 2 done",
    ]);
}

#[test]
fn a_subscription_that_is_ended_and_made_at_once_is_confirmed_by_its_own_confirmation() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.unsubscribe(2, "x");
    stage.subscribe(3, "x");
    stage.did_only(&["1: unsubscribe x", "1: subscribe x"]);
    stage.reply(1, Reply::Unsubscribed(subject("x")));
    stage.did_only(&[]);
    stage.confirmed(1, "x");
    let mut did = stage.did();
    did.sort();
    assert_eq!(did, ["call 2 done", "call 3 done"]);
    assert_eq!(stage.course.counts(), (1, 0));
}

#[test]
fn a_server_that_refuses_to_unsubscribe_leaves_all_as_it_was() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.unsubscribe(2, "x");
    stage.did();
    stage.refused(1);
    stage.did_only(&["call 2 refused x"]);
    assert_eq!(stage.course.counts(), (1, 0));
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(
        did.contains(&"gap a>b master_changed 0".to_owned()),
        "{did:?}"
    );
}

#[test]
fn a_call_ends_in_time_and_what_it_asked_for_stays_wanted() {
    let mut stage = Stage::new(Source::Master);
    stage.subscribe(1, "x");
    assert_eq!(stage.course.due_at(), Some(stage.now + WAIT));
    stage.ticks(4999);
    stage.did_only(&[]);
    stage.ticks(1);
    stage.did_only(&["call 1 late 5000"]);
    stage.passes(60_000);
    stage.view("a", false);
    stage.dialled(1, "a");
    stage.did_only(&["dial a", "1: subscribe x"]);
    stage.confirmed(1, "x");
    stage.did_only(&["serves a"]);
    // The second time it is there already.
    stage.subscribe(2, "x");
    stage.did_only(&["call 2 done"]);
}

#[test]
fn calls_end_when_waiting_is_useless() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.did();
    stage.course.dial_failed(1, false, stage.now);
    stage.did_only(&["dial a"]);
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&["call 1 hopeless"]);
    assert_eq!(stage.course.counts(), (0, 0));
    // What was confirmed once is wanted all the same.
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.subscribe(2, "y");
    stage.did();
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&["call 2 hopeless", "dial a"]);
    assert_eq!(stage.course.counts(), (1, 0));
}

#[test]
fn a_call_during_an_outage_is_done_when_the_next_connection_has_confirmed_all() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.closed(1);
    stage.subscribe(2, "y");
    stage.subscribe(3, "x");
    stage.did();
    stage.dialled(2, "a");
    stage.did_only(&["2: subscribe x y"]);
    stage.confirmed(2, "x");
    stage.did_only(&[]);
    stage.confirmed(2, "y");
    let mut did = stage.did();
    did.sort();
    assert_eq!(
        did,
        [
            "call 2 done",
            "call 3 done",
            "gap a>a connection_lost 5000",
            "serves a again"
        ]
    );
}
