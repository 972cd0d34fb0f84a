//! What a server does not let us subscribe to.

use super::*;

#[test]
fn a_channel_without_permission_fails_its_call_alone() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "secret");
    stage.did_only(&["1: subscribe secret"]);
    stage.refused(1);
    stage.did_only(&["call 2 refused secret"]);
    assert_eq!(stage.course.counts(), (1, 0));
    stage.view("b", false);
    stage.dialled(2, "b");
    stage.did_only(&["1: ping", "dial b", "2: subscribe x"]);
}

#[test]
fn of_a_call_with_one_forbidden_channel_nothing_stays() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "x y secret z*");
    stage.did_only(&["1: subscribe y secret", "1: subscribe z*"]);
    stage.refused(1);
    // One of them may be what is refused.
    stage.did_only(&["1: subscribe y", "1: subscribe secret"]);
    stage.confirmed(1, "z*");
    stage.confirmed(1, "y");
    stage.did_only(&[]);
    stage.refused(1);
    stage.did_only(&[
        "call 2 refused secret",
        "1: unsubscribe y",
        "1: unsubscribe z*",
    ]);
    assert_eq!(stage.course.counts(), (1, 0));
    assert!(stage.message(1, 1));
}

#[test]
fn what_another_call_wants_too_stays_when_one_is_refused() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.subscribe(2, "y secret");
    stage.subscribe(3, "y");
    stage.refused(1);
    stage.did_only(&[
        "1: subscribe y secret",
        "1: subscribe y",
        "1: subscribe secret",
    ]);
    stage.confirmed(1, "y");
    stage.did_only(&["call 3 done"]);
    stage.refused(1);
    stage.did_only(&["call 2 refused secret"]);
    assert_eq!(stage.course.counts(), (2, 0));
}

#[test]
fn another_refusal_ends_the_connection() {
    let mut stage = Stage::serving(Source::Master, "x");
    let error = noperm();
    stage.reply(
        1,
        Reply::Error {
            error,
            denied: false,
        },
    );
    let did = stage.did();
    assert!(did.contains(&"close 1".to_owned()), "{did:?}");
    assert!(did.contains(&"dial a".to_owned()), "{did:?}");
    // And so does a reply that is not the next one.
    for reply in [
        Reply::Pong,
        Reply::Subscribed(subject("y")),
        Reply::Unsubscribed(subject("x")),
    ] {
        let mut stage = Stage::serving(Source::Master, "x");
        stage.reply(1, reply);
        assert!(stage.did().contains(&"close 1".to_owned()));
    }
}

#[test]
fn what_the_new_node_refuses_is_in_the_gap_and_asked_for_again() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    stage.passes(10);
    stage.refused(2);
    stage.did_only(&[
        "1: ping",
        "dial b",
        "2: subscribe x",
        "drain 1",
        "close 1",
        "gap a>b master_changed 10 without x",
        "serves b again",
    ]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping", "2: subscribe x"]);
    stage.reply(2, Reply::Pong);
    stage.refused(2);
    stage.did_only(&[]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping", "2: subscribe x"]);
    stage.reply(2, Reply::Pong);
    stage.confirmed(2, "x");
    stage.did_only(&["gap b>b refused 20010"]);
    stage.ticks(10_000);
    stage.did_only(&["2: ping"]);
}

#[test]
fn the_gap_after_a_refusal_reaches_back_to_where_it_began() {
    let mut stage = Stage::serving(Source::Master, "x y");
    stage.view("b", false);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "b");
    // Two at once, then one by one.
    stage.refused(2);
    stage.refused(2);
    stage.confirmed(2, "y");
    let did = stage.did().join("; ");
    assert!(did.contains("gap a>b master_changed 0 without x"), "{did}");
    stage.passes(7000);
    stage.view("c", false);
    stage.reply(2, Reply::Pong);
    stage.dialled(3, "c");
    stage.confirmed(3, "x");
    stage.confirmed(3, "y");
    let did = stage.did().join("; ");
    assert!(did.contains("gap b>c master_changed 7000"), "{did}");
}
