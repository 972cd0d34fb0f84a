//! Shared connections to servers that are late, or say nothing any more.

use std::time::Duration;

use redis::{RedisError, RedisResult, Value, pipe};
use testkit::Client;
use tokio::time::Instant;

use crate::support::{SOON, Side, Stage, ask, eventually, failure, run, side_by_side};

pub(super) const SHORT: Duration = Duration::from_millis(300);

pub(super) fn assert_unknown(result: RedisResult<impl std::fmt::Debug>) -> RedisError {
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
