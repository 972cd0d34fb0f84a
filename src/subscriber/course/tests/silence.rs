//! Servers that say nothing, and readers that are slow.

use super::*;

#[test]
fn a_silent_node_is_asked_and_then_left() {
    let mut stage = Stage::serving(Source::Master, "x");
    assert!(stage.message(1, 1));
    let due = stage.course.due_at().unwrap();
    assert_eq!(due, stage.now + PING);
    stage.ticks(9999);
    stage.did_only(&[]);
    stage.ticks(1);
    stage.did_only(&["1: ping"]);
    assert_eq!(stage.course.due_at().unwrap(), stage.now + REPLY);
    // Anything that it sends is a sign of life.
    stage.passes(1999);
    assert!(stage.message(1, 2));
    stage.ticks(1999);
    stage.did_only(&[]);
    stage.reply(1, Reply::Pong);
    stage.ticks(10_000);
    stage.did_only(&["1: ping"]);
    stage.ticks(2000);
    stage.did_only(&["close 1", "report a silent", "serves nobody", "dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    let did = stage.did();
    assert!(did.contains(&"gap a>a silent 13000".to_owned()), "{did:?}");
}

#[test]
fn a_server_that_does_not_confirm_is_left() {
    let mut stage = Stage::new(Source::Master);
    stage.view("a", false);
    stage.subscribe(1, "x");
    stage.dialled(1, "a");
    stage.did();
    stage.ticks(2000);
    stage.did_only(&["close 1", "report a silent", "dial a"]);
}

#[test]
fn while_it_is_not_read_silence_proves_nothing() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.course.stopped(true, stage.now);
    stage.ticks(3_600_000);
    stage.did_only(&[]);
    assert_eq!(stage.course.due_at(), None);
    stage.course.stopped(false, stage.now);
    stage.did_only(&["1: ping"]);
    stage.ticks(1999);
    stage.did_only(&[]);
    stage.reply(1, Reply::Pong);
    stage.ticks(9999);
    stage.did_only(&[]);
}

#[test]
fn a_connection_that_ends_before_it_has_caught_up_was_overrun() {
    // Is it stopped, does the PONG come that stands behind what the server has kept, what is told?
    let cases = [
        (false, false, "connection_lost"),
        (true, false, "overrun"),
        (true, true, "connection_lost"),
    ];
    for (stopped, caught_up, why) in cases {
        let mut stage = Stage::serving(Source::Master, "x");
        if stopped {
            stage.course.stopped(true, stage.now);
            stage.passes(60_000);
            stage.course.stopped(false, stage.now);
        }
        assert!(stage.message(1, 1));
        if caught_up {
            stage.reply(1, Reply::Pong);
            stage.passes(2000);
        }
        stage.closed(1);
        stage.dialled(2, "a");
        stage.confirmed(2, "x");
        let did = stage.did().join("; ");
        let since = match (why, caught_up) {
            ("overrun", _) => 61_000,
            (_, true) => 2000,
            _ => 1000,
        };
        assert!(did.contains(&format!("gap a>a {why} {since}")), "{did}");
    }
}
