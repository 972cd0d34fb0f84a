//! What a shared connection carries at most, and who waits beyond that.

use redis::{RedisResult, Value, pipe};

use crate::support::{
    SOON, Side, SilentMaster, Stage, ask, cmd, eventually, poll_then_drop_on_wake, side_by_side,
    turn, value_of,
};

const KEYS: [&str; 8] = ["0", "1", "2", "3", "4", "5", "6", "7"];

#[tokio::test]
async fn no_more_than_the_limit_are_sent_and_the_others_follow_in_their_order() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 3).await;
    let mut callers = Vec::new();
    for (n, key) in KEYS.iter().enumerate() {
        if n < 3 {
            callers.push(silent.get(key));
            silent.arrived_are(&KEYS[..=n]).await;
        } else {
            callers.push(silent.get_in_line(key).await);
        }
    }
    turn().await;
    assert_eq!(silent.arrived(), KEYS[..3]);
    for (n, key) in KEYS.iter().enumerate() {
        silent.answer(key);
        silent.arrived_are(&KEYS[..(n + 4).min(KEYS.len())]).await;
        let status = silent.status();
        assert!(status.in_flight <= 3, "{status:?}");
    }
    for (caller, key) in callers.into_iter().zip(KEYS) {
        assert_eq!(caller.await.unwrap().unwrap(), key);
    }
    silent.at_rest().await;
}

#[tokio::test]
async fn whoever_leaves_the_line_leaves_no_trace() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 1).await;
    let first = silent.get("0");
    silent.arrived_are(&["0"]).await;
    let mut line = Vec::new();
    for key in &KEYS[1..6] {
        line.push(silent.get_in_line(key).await);
    }
    for gone in [0, 2, 4] {
        line[gone].abort();
    }
    silent.waiting_is(2).await;
    for (n, key) in ["0", "2", "4"].iter().enumerate() {
        silent.answer(key);
        silent.arrived_are(&["0", "2", "4"][..(n + 2).min(3)]).await;
    }
    assert_eq!(first.await.unwrap().unwrap(), "0");
    for (n, key) in [(1, "2"), (3, "4")] {
        assert_eq!((&mut line[n]).await.unwrap().unwrap(), key);
    }
    silent.at_rest().await;
    assert_eq!(silent.arrived(), ["0", "2", "4"]);
}

#[tokio::test]
async fn whoever_leaves_when_its_turn_has_come_makes_way_for_the_next() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 1).await;
    let first = silent.get("0");
    silent.arrived_are(&["0"]).await;
    let mut writer = silent.writer.clone();
    let leaves = tokio::spawn(async move {
        let get = cmd("GET never");
        poll_then_drop_on_wake(get.query_async::<Value>(&mut writer), 1).await
    });
    silent.waiting_is(1).await;
    let next = silent.get_in_line("1").await;
    silent.answer("0");
    silent.arrived_are(&["0", "1"]).await;
    silent.answer("1");
    assert_eq!(leaves.await.unwrap(), None);
    assert_eq!(first.await.unwrap().unwrap(), "0");
    assert_eq!(next.await.unwrap().unwrap(), "1");
    silent.at_rest().await;
}

#[tokio::test]
async fn the_last_in_line_who_leaves_when_its_turn_has_come_is_not_counted() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 1).await;
    let first = silent.get("0");
    silent.arrived_are(&["0"]).await;
    let mut writer = silent.writer.clone();
    let leaves = tokio::spawn(async move {
        let get = cmd("GET never");
        poll_then_drop_on_wake(get.query_async::<Value>(&mut writer), 1).await
    });
    silent.waiting_is(1).await;
    silent.answer("0");
    assert_eq!(first.await.unwrap().unwrap(), "0");
    assert_eq!(leaves.await.unwrap(), None);
    silent.at_rest().await;
    assert_eq!(silent.arrived(), ["0"]);
}

#[tokio::test]
async fn each_command_of_a_pipeline_counts() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 3).await;
    let mut pipeline = pipe();
    for key in KEYS {
        pipeline.cmd("GETDEL").arg(key);
    }
    let mut writer = silent.writer.clone();
    let caller = tokio::spawn(async move {
        let values: RedisResult<Vec<String>> = pipeline.query_async(&mut writer).await;
        values
    });
    eventually("the first ones arrived", SOON, || async {
        silent.arrived().len() >= 3
    })
    .await;
    turn().await;
    for (n, key) in KEYS.iter().enumerate() {
        let arrived = silent.arrived().len();
        assert!(arrived <= n + 3, "{arrived} arrived, {n} are answered");
        silent.answer(key);
        eventually("the next one arrives", SOON, || async {
            silent.arrived().len() > n + 1 || n + 1 == KEYS.len()
        })
        .await;
    }
    assert_eq!(caller.await.unwrap().unwrap(), KEYS);
    silent.at_rest().await;
}

#[tokio::test]
async fn a_transaction_larger_than_the_limit_goes_in_one_piece() {
    for max_in_flight in [1, 5] {
        let stage = Stage::own(Side::Write, |config| {
            config.multiplexed.max_in_flight = max_in_flight;
        })
        .await;
        let writer = stage.pool.writer();
        let all = (0..12).map(|caller| {
            let mut writer = writer.clone();
            async move {
                for round in 0..10 {
                    let mut transaction = pipe();
                    transaction.atomic();
                    for n in 0..20 {
                        transaction.cmd("ECHO").arg(format!("{caller} {round} {n}"));
                    }
                    let echoes: Vec<String> = transaction.query_async(&mut writer).await.unwrap();
                    let expected = (0..20).map(|n| format!("{caller} {round} {n}"));
                    assert!(echoes.into_iter().eq(expected));
                    let echo: String = ask(&mut writer, &format!("ECHO {round}")).await;
                    assert_eq!(echo, round.to_string());
                }
            }
        });
        tokio::time::timeout(SOON, side_by_side(all)).await.unwrap();
        let status = stage.pool.status().writer;
        assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
    }
}

#[tokio::test]
async fn callers_wait_in_line_while_too_many_bytes_are_pending() {
    const CALLERS: usize = 32;
    let stage = Stage::own(Side::Write, |config| {
        config.multiplexed.max_pending_bytes = 64 * 1024;
        config.command_timeout = Some(SOON);
    })
    .await;
    let mut writer = stage.pool.writer();
    let _: String = ask(&mut writer, "PING").await;
    // What the sockets take without anybody reading is far less than what is sent.
    stage.server().pause();
    let mut callers = Vec::new();
    for n in 0..CALLERS {
        let mut writer = writer.clone();
        callers.push(tokio::spawn(async move {
            let key = format!("pending:{n}");
            let mut set = pipe();
            set.set(&key, value_of(&key, 1 << 20)).ignore();
            set.cmd("GETRANGE").arg(&key).arg(0).arg(key.len() + 8);
            let (begin,): (String,) = set.query_async(&mut writer).await.unwrap();
            assert_eq!(begin, format!("value of {key}"));
        }));
    }
    eventually("some wait", SOON, || async {
        let status = stage.pool.status().writer;
        status.waiting > 0 && status.waiting + status.in_flight / 2 >= CALLERS
    })
    .await;
    stage.server().resume();
    for caller in callers {
        caller.await.unwrap();
    }
    let status = stage.pool.status().writer;
    assert_eq!(
        (status.in_flight, status.waiting, status.created),
        (0, 0, 1)
    );
}
