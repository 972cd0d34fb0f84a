//! Which connection serves, and when a gap is told.

use super::*;

#[test]
fn the_first_subscription_dials_and_has_no_gap() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.did_only(&[]);
    stage.subscribe(1, "x y* z");
    stage.did_only(&["dial a"]);
    assert!(stage.dialled(1, "a"));
    stage.did_only(&["1: subscribe x z", "1: subscribe y*"]);
    stage.confirmed(1, "x");
    assert!(!stage.message(1, 1), "not before all is confirmed");
    stage.confirmed(1, "z");
    stage.did_only(&[]);
    stage.confirmed(1, "y*");
    stage.did_only(&["serves a", "message 1", "call 1 done"]);
    assert!(stage.message(1, 2));
}

#[test]
fn without_a_node_to_go_to_nothing_is_dialled_until_there_is_one() {
    let mut stage = Stage::new(Source::Master);
    stage.subscribe(1, "x");
    stage.did_only(&[]);
    assert!(stage.course.is_nowhere());
    stage.view("a", false);
    stage.did_only(&["dial a"]);
}

#[test]
fn a_new_master_is_subscribed_to_before_the_old_one_is_left() {
    let mut stage = Stage::serving(Source::Master, "x y");
    stage.view("a", true);
    stage.did_only(&[]);
    stage.passes(100);
    stage.master_since = 2;
    stage.view("b", false);
    stage.did_only(&["1: ping", "dial b"]);
    assert!(stage.message(1, 1), "the old one still serves");
    stage.reply(1, Reply::Pong);
    assert!(stage.dialled(2, "b"));
    stage.did_only(&["2: subscribe x y"]);
    stage.passes(50);
    stage.confirmed(2, "x");
    stage.did_only(&[]);
    assert!(stage.message(1, 2));
    assert!(!stage.message(2, 3));
    stage.confirmed(2, "y");
    stage.did_only(&[
        "drain 1",
        "close 1",
        "gap a>b master_changed 150",
        "serves b again",
        "message 3",
    ]);
    assert!(!stage.message(1, 4), "it is closed");
    assert!(stage.message(2, 5));
}

#[test]
fn a_fence_that_comes_down_on_the_same_master_is_no_gap() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("a", true);
    stage.passes(1000);
    stage.view("a", false);
    stage.did_only(&[]);
    stage.passes(1000);
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
fn a_connection_that_may_have_been_dead_for_a_while_has_a_longer_gap() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    stage.passes(3000);
    stage.view("b", false);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(
        did.contains(&"gap a>b master_changed 4000".to_owned()),
        "{did:?}"
    );
}

#[test]
fn a_lost_connection_is_made_again_and_the_gap_reaches_back_to_what_was_heard_last() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    stage.passes(3000);
    stage.closed(1);
    stage.did_only(&["close 1", "report a closed", "serves nobody", "dial a"]);
    stage.course.dial_failed(2, false, stage.now);
    stage.did_only(&["dial a"]);
    stage.passes(500);
    assert!(stage.dialled(3, "a"));
    stage.confirmed(3, "x");
    // One more second, for what was on its way.
    stage.did_only(&[
        "3: subscribe x",
        "gap a>a connection_lost 4500",
        "serves a again",
    ]);
}

#[test]
fn a_connection_that_is_lost_at_once_counts_as_a_failed_dial() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.dialled(1, "a");
    stage.did();
    stage.passes(10);
    stage.closed(1);
    stage.did_only(&["close 1", "shun a", "report a closed", "dial a"]);
}

#[test]
fn the_first_cause_is_told_but_a_failover_explains_what_it_did() {
    // Was the fence up when the connection was lost, where does the next one lead, what is told?
    let cases = [
        (false, "b", "connection_lost"),
        (true, "b", "master_changed"),
        (true, "a", "connection_lost"),
    ];
    for (fenced, node, why) in cases {
        let mut stage = Stage::serving(Source::Master, "x");
        stage.view("a", fenced);
        stage.closed(1);
        stage.view("a", true);
        stage.master_since += u64::from(node == "b");
        stage.view(node, false);
        let number = stage.course.dials;
        if node == "b" {
            // The dial to the old one ends by itself.
            stage.course.dial_failed(number, false, stage.now);
        }
        let number = stage.course.dials;
        assert!(stage.dialled(number, node), "{fenced} {node}");
        stage.confirmed(number, "x");
        let did = stage.did().join("; ");
        assert!(
            did.contains(&format!("gap a>{node} {why}")),
            "{fenced} {did}"
        );
    }
}

#[test]
fn a_dial_to_a_node_that_is_not_wanted_any_more_is_not_used() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.view("b", false);
    stage.did();
    assert!(!stage.dialled(1, "a"));
    stage.did_only(&["dial b"]);
    assert!(!stage.dialled(1, "a"), "it is over");
}

#[test]
fn nothing_comes_twice_from_a_node_whose_connection_is_replaced() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.reply(1, Reply::Pong);
    stage.passes(70);
    stage.dialled(2, "a");
    stage.did_only(&["2: subscribe x"]);
    assert!(!stage.message(2, 1));
    stage.confirmed(2, "x");
    stage.did_only(&["drain 1", "close 1", "2: ping"]);
    assert!(
        !stage.message(2, 2),
        "the old one had it too, or it falls into the gap"
    );
    stage.reply(2, Reply::Pong);
    stage.did_only(&["gap a>a retired 70", "serves a again"]);
    assert!(stage.message(2, 3));
}

#[test]
fn nothing_comes_twice_where_the_old_connection_is_lost_meanwhile() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.dialled(2, "a");
    assert!(!stage.message(2, 1));
    stage.closed(1);
    stage.did();
    stage.confirmed(2, "x");
    stage.did_only(&["2: ping"]);
    stage.reply(2, Reply::Pong);
    stage.did_only(&["gap a>a connection_lost 5000", "serves a again"]);
}

#[test]
fn what_is_subscribed_to_while_a_connection_is_sealed_is_waited_for() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.reply(1, Reply::Pong);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.did();
    stage.subscribe(2, "y");
    stage.did_only(&["2: subscribe y"]);
    stage.reply(2, Reply::Pong);
    stage.did_only(&[]);
    stage.confirmed(2, "y");
    stage.did_only(&["gap a>a retired 0", "serves a again", "call 2 done"]);
}

#[test]
fn a_replacement_that_fails_is_tried_again_later_and_the_old_connection_serves_on() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.reply(1, Reply::Pong);
    stage.course.dial_failed(2, true, stage.now);
    stage.did_only(&[]);
    assert!(stage.message(1, 1));
    let at = stage.course.due_at().unwrap();
    assert!(at > stage.now && at <= stage.now + REPLY);
    stage.now = at;
    stage.course.tick(at);
    stage.did_only(&["1: ping", "dial a beside"]);
    stage.course.dial_failed(3, false, stage.now);
    stage.course.replace_at_once();
    stage.course.outdated(true, stage.now);
    stage.did_only(&["1: ping", "dial a beside"]);
}
