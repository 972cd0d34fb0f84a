//! The tests of `multiplexed::limits` that need no redis-server.

use redis::{RedisResult, Value, pipe};

use crate::support::{SOON, SilentMaster, cmd, eventually, poll_then_drop_on_wake, turn};

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
async fn a_caller_that_leaves_the_line_leaves_no_trace() {
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
async fn a_caller_that_leaves_when_its_turn_has_come_makes_way_for_the_next() {
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
