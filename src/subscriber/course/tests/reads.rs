//! Messages from the nodes that reads go to.

use super::*;

#[test]
fn reads_leave_a_node_that_may_not_be_read_from_any_more() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.view("a b", false);
    stage.did_only(&[]);
    stage.view("b", false);
    stage.did_only(&["1: ping", "dial b"]);
    assert!(stage.message(1, 1));
    stage.reply(1, Reply::Pong);
    stage.passes(30);
    // It is back, but may have missed something.
    stage.view("a b", false);
    stage.did_only(&[]);
    stage.dialled(2, "b");
    stage.confirmed(2, "x");
    stage.did_only(&[
        "2: subscribe x",
        "drain 1",
        "close 1",
        "gap a>b node_left 30",
        "serves b again",
    ]);
}

#[test]
fn reads_keep_their_last_node_while_there_is_no_other_and_tell_the_gap_later() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.view("", false);
    stage.did_only(&["1: ping"]);
    stage.reply(1, Reply::Pong);
    assert!(stage.message(1, 1));
    stage.passes(100);
    stage.view("a", false);
    stage.did_only(&["dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.did_only(&["2: subscribe x", "drain 1", "close 1", "2: ping"]);
    stage.reply(2, Reply::Pong);
    let did = stage.did();
    assert!(did[0].starts_with("gap a>a node_left"), "{did:?}");
}

#[test]
fn a_replica_that_follows_another_master_now_may_have_missed_something() {
    let mut stage = Stage::serving(Source::Reads, "x");
    stage.master_since = 2;
    stage.view("a", false);
    stage.did_only(&["1: ping", "dial a"]);
    stage.dialled(2, "a");
    stage.confirmed(2, "x");
    stage.reply(2, Reply::Pong);
    let did = stage.did().join("; ");
    assert!(did.contains("gap a>a master_changed"), "{did}");
    // Of the master alone it is known by its own version.
    let mut stage = Stage::serving(Source::Master, "x");
    stage.master_since = 2;
    stage.view("a", false);
    stage.did_only(&[]);
}

#[test]
fn of_what_comes_early_the_newest_is_kept() {
    let mut stage = Stage::serving(Source::Master, "x");
    stage.view("b", false);
    stage.dialled(2, "b");
    for message in 1..=5 {
        assert!(!stage.message(2, message));
    }
    stage.did();
    stage.confirmed(2, "x");
    let did = stage.did();
    assert_eq!(did[did.len() - 2..], ["message 4", "message 5"]);
}
