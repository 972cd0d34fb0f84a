//! Shared connections to servers that are late, or say nothing any more.

use std::time::Duration;

use redis::{RedisError, RedisResult, Value, pipe};
use testkit::{Client, fake::Action};
use tokio::time::Instant;

use crate::support::{
    SOON, Side, SilentMaster, Stage, ask, bulk, eventually, failure, run, side_by_side,
};

const SHORT: Duration = Duration::from_millis(300);

fn assert_unknown(result: RedisResult<impl std::fmt::Debug>) -> RedisError {
    let (error, text) = failure(result);
    assert!(text.contains("outcome is unknown"), "{text}");
    assert!(error.is_timeout(), "{text}");
    error
}

#[tokio::test]
async fn a_frozen_server_fails_what_was_written_to_it_as_unknown() {
    let stage = Stage::own(Side::Write, |config| config.command_timeout = Some(SHORT)).await;
    let mut writer = stage.pool.writer();
    let _: String = ask(&mut writer, "PING").await;
    stage.server().pause();
    let begun = Instant::now();
    let all = (0..50).map(|n| {
        let mut writer = writer.clone();
        async move {
            match n % 3 {
                0 => run::<Value>(&mut writer, "INCR frozen").await,
                1 => pipe().incr("frozen", 1).query_async(&mut writer).await,
                _ => {
                    let mut transaction = pipe();
                    transaction.atomic().incr("frozen", 1);
                    transaction.query_async(&mut writer).await
                }
            }
        }
    });
    let all = tokio::time::timeout(SOON, side_by_side(all)).await.unwrap();
    assert!(begun.elapsed() >= SHORT, "{:?}", begun.elapsed());
    for result in all {
        assert_unknown(result);
    }
    eventually("the connection is given up", SOON, || async {
        let status = stage.pool.status().writer;
        (status.connections, status.in_flight, status.waiting) == (0, 0, 0)
    })
    .await;
    stage.server().resume();
    let echo: String = ask(&mut writer, "ECHO after").await;
    assert_eq!(echo, "after");
    assert_eq!(stage.pool.status().writer.created, 2);
}

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
async fn whoever_is_in_line_too_long_was_not_executed() {
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

#[tokio::test]
async fn a_script_that_takes_too_long_is_unknown_and_shifts_no_reply() {
    let stage = Stage::own(Side::Write, |config| config.command_timeout = Some(SHORT)).await;
    let mut writer = stage.pool.writer();
    let mut observer = Client::connect(stage.server().port(), SOON).unwrap();
    let script = script_that_takes(&mut observer, SHORT.mul_f32(1.2));
    for round in 0..2 {
        let mut late = redis::cmd("EVAL");
        late.arg(&script).arg(0);
        assert_unknown(late.query_async::<String>(&mut writer).await);
        for n in 0..10 {
            // The server may still be at it when the next ones come.
            let text = format!("{round}:{n}");
            match run::<String>(&mut writer, &format!("ECHO {text}")).await {
                Ok(echo) => assert_eq!(echo, text),
                Err(error) => drop(assert_unknown(Err::<(), _>(error))),
            }
        }
        observer.call(&["PING"]).expect("the script has ended");
        let echo: String = ask(&mut writer, "ECHO after").await;
        assert_eq!(echo, "after");
    }
}

/// A script that keeps a processor busy for so long at least. It counts, because there is no clock
/// that goes on within a script on every version.
fn script_that_takes(client: &mut Client, time: Duration) -> String {
    let mut count = 4_000_000_u64;
    loop {
        let script = format!("for _=1,{count} do end return 'late'");
        let before = processor_seconds(client);
        client.call(&["EVAL", &script, "0"]).unwrap();
        if processor_seconds(client) - before >= time.as_secs_f64() {
            return script;
        }
        count += count / 2;
    }
}

fn processor_seconds(client: &mut Client) -> f64 {
    let info = client.call(&["INFO", "cpu"]).unwrap();
    let mut lines = info.as_str().lines();
    let used = lines.find_map(|line| line.strip_prefix("used_cpu_user:"));
    used.unwrap().trim().parse().unwrap()
}
