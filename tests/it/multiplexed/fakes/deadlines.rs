//! The tests of `multiplexed::deadlines` that need no redis-server.

use std::time::Duration;

use testkit::fake::Action;
use tokio::time::Instant;

use super::super::deadlines::{SHORT, assert_unknown};
use crate::support::{SOON, SilentMaster, bulk, eventually, failure};

#[tokio::test]
async fn the_next_command_uses_a_new_connection() {
    let silent = SilentMaster::with(
        |config| config.command_timeout = Some(SHORT),
        |_, words| match words[0].as_str() {
            "GETDEL" if words[1] == "silence" => Some(Action::Silence),
            "GETDEL" => Some(Action::Reply(bulk(&words[1]))),
            _ => None,
        },
    )
    .await;
    assert_eq!(silent.get("a").await.unwrap().unwrap(), "a");
    assert_unknown(silent.get("silence").await.unwrap());
    assert_eq!(silent.get("b").await.unwrap().unwrap(), "b");
    assert_eq!(silent.status().created, 2);
    assert_eq!(silent.arrived(), ["a", "silence", "b"]);
    let lines = silent.lines();
    eventually("the first is closed", SOON, || async {
        !lines[0].is_open()
    })
    .await;
    assert!(lines[1].is_open());
}

#[tokio::test]
async fn those_in_line_on_a_silent_connection_go_on_over_the_next() {
    let silent = SilentMaster::with(
        |config| {
            config.command_timeout = Some(SHORT);
            config.multiplexed.max_in_flight = 1;
        },
        |_, words| match words[0].as_str() {
            "GETDEL" if words[1] == "silence" => Some(Action::Silence),
            "GETDEL" => Some(Action::Reply(bulk(&words[1]))),
            _ => None,
        },
    )
    .await;
    let unanswered = silent.get("silence");
    silent.arrived_are(&["silence"]).await;
    let mut line = Vec::new();
    for key in ["a", "b", "c"] {
        line.push(silent.get_in_line(key).await);
    }
    assert_unknown(unanswered.await.unwrap());
    for (caller, key) in line.into_iter().zip(["a", "b", "c"]) {
        assert_eq!(caller.await.unwrap().unwrap(), key);
    }
    assert_eq!(silent.status().created, 2);
    silent.at_rest().await;
}

#[tokio::test]
async fn nobody_in_line_waits_for_the_deadlines_of_all_ahead() {
    let silent = SilentMaster::start(|config| {
        config.command_timeout = Some(SHORT);
        config.multiplexed.max_in_flight = 1;
    })
    .await;
    let first = silent.get("0");
    silent.arrived_are(&["0"]).await;
    let mut line = Vec::new();
    for key in ["1", "2", "3", "4", "5", "6"] {
        line.push(silent.get_in_line(key).await);
    }
    assert_unknown(first.await.unwrap());
    for (caller, key) in line.into_iter().zip(["1", "2", "3", "4", "5", "6"]) {
        let (error, text) = failure(caller.await.unwrap());
        assert!(error.is_timeout(), "{text}");
        // Nobody says of what stood in line all the time that it may have been executed.
        let known = match silent.arrived().iter().any(|arrived| arrived == key) {
            true => "the outcome is unknown",
            false => "was not executed",
        };
        assert!(text.contains(known), "{key}: {text}");
    }
    // Each connection costs one deadline: the second one's is already the last.
    let status = silent.status();
    assert!(status.created <= 2, "{status:?}");
    silent.at_rest().await;
}

#[tokio::test]
async fn a_command_that_is_in_line_for_too_long_was_not_executed() {
    let silent = SilentMaster::start(|config| {
        config.command_timeout = Some(SHORT);
        config.multiplexed.max_in_flight = 1;
    })
    .await;
    let written = silent.get("written");
    silent.arrived_are(&["written"]).await;
    let waits = silent.get_in_line("waits").await;
    // The server is alive: it sends, if slowly.
    silent.push(b"$100000\r\n");
    while !(written.is_finished() && waits.is_finished()) {
        silent.push(b"x");
        tokio::time::sleep(SHORT / 30).await;
    }
    assert_unknown(written.await.unwrap());
    let (error, text) = failure(waits.await.unwrap());
    assert!(text.contains("was not executed"), "{text}");
    assert!(error.is_timeout(), "{text}");
    let status = silent.status();
    assert_eq!(
        (status.connections, status.created, status.waiting),
        (1, 1, 0)
    );
    assert_eq!(silent.arrived(), ["written"]);
}

#[tokio::test]
async fn a_deadline_that_passes_while_replies_come_leaves_the_others_alone() {
    const TIMEOUT: Duration = Duration::from_secs(2);
    let silent = SilentMaster::start(|config| config.command_timeout = Some(TIMEOUT)).await;
    let begun = Instant::now();
    let slow = silent.get("slow");
    silent.arrived_are(&["slow"]).await;
    silent.push(b"$1000000\r\n");
    let mut sent = 0;
    let mut others = Vec::new();
    while !slow.is_finished() {
        silent.push(b"x");
        sent += 1;
        if others.is_empty() && begun.elapsed() > TIMEOUT.mul_f32(0.75) {
            others.push(silent.get("a"));
            others.push(silent.get("b"));
        }
        tokio::time::sleep(TIMEOUT / 50).await;
    }
    let mut rest = vec![b'x'; 1_000_000 - sent];
    rest.extend(b"\r\n");
    silent.push(&rest);
    silent.answer("a");
    silent.answer("b");
    assert_unknown(slow.await.unwrap());
    assert_eq!(others.len(), 2);
    for (caller, key) in others.into_iter().zip(["a", "b"]) {
        assert_eq!(caller.await.unwrap().unwrap(), key);
    }
    let status = silent.status();
    assert_eq!((status.connections, status.created), (1, 1), "{status:?}");
    silent.at_rest().await;
}
