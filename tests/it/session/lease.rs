//! A guard is a lease on a role, not on a socket; and what was not executed goes where it can be.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{RedisResult, Value, aio::ConnectionLike, pipe};
use redis_rw_pool::Discard;
use tokio::task::JoinSet;

use crate::support::{
    Random, ask, chain, cmd, discarded, failure, id, master, poll_then_drop, run, single, turn,
};

/// Ends the connection of a guard from the server's side, and lets the runtime see it.
async fn kill(id: i64) {
    let killed = master().cmd(&["CLIENT", "KILL", "ID", &id.to_string()]);
    assert_eq!(killed.as_int(), 1);
    turn().await;
}

#[tokio::test]
async fn a_guard_goes_on_when_the_server_has_closed_its_connection() {
    let pool = single("lease-closed", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    for round in 1..=5 {
        let before = id(&mut conn).await;
        kill(before).await;
        let count: i64 = ask(&mut conn, "INCR lease:closed").await;
        assert_eq!(count, round);
        assert_ne!(id(&mut conn).await, before);
    }
    assert_eq!(discarded(&pool, Discard::Broken), 5);
    let status = pool.status().write;
    assert_eq!((status.active, status.created), (1, 6), "{status:?}");
    drop(conn);
    assert_eq!(pool.status().write.idle, 1);
}

#[tokio::test]
async fn what_the_caller_has_set_up_is_not_lost_without_a_word() {
    let pool = single("lease-state", |_| {}).await;
    for setup in [
        &["MULTI"][..],
        &["MULTI", "SET lease:state 1"],
        &["WATCH lease:state"],
        &["SELECT 3"],
        &["CLIENT SETNAME other"],
    ] {
        let mut conn = pool.write().await.unwrap();
        let victim = id(&mut conn).await;
        for line in setup {
            let _: Value = ask(&mut conn, line).await;
        }
        kill(victim).await;
        for _ in 0..2 {
            let (_, text) = failure(run::<Value>(&mut conn, "SET lease:state 2").await);
            assert!(text.contains("was not executed"), "{setup:?}: {text}");
        }
    }
    // Nor where it was the failed command itself that was to set it up.
    let mut conn = pool.write().await.unwrap();
    let victim = id(&mut conn).await;
    let mut pipeline = pipe();
    pipeline.cmd("WATCH").arg("lease:state");
    pipeline.cmd("CLIENT").arg("KILL").arg("ID").arg(victim);
    pipeline
        .cmd("CLIENT")
        .arg("KILL")
        .arg("SKIPME")
        .arg("no")
        .arg("ID")
        .arg(victim);
    let _ = pipeline.query_async::<Value>(&mut conn).await;
    turn().await;
    let (_, text) = failure(run::<Value>(&mut conn, "SET lease:state 2").await);
    assert!(text.contains("was not executed"), "{text}");
    assert_eq!(master().cmd(&["EXISTS", "lease:state"]).as_int(), 0);
}

#[tokio::test]
async fn after_a_transaction_that_was_proven_over_the_guard_goes_on() {
    let pool = single("lease-proven", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    for line in ["WATCH lease:proven", "MULTI", "INCR lease:proven", "EXEC"] {
        let _: Value = ask(&mut conn, line).await;
    }
    kill(id(&mut conn).await).await;
    assert_eq!(ask::<i64>(&mut conn, "INCR lease:proven").await, 2);
    let mut pipeline = pipe();
    pipeline.atomic().incr("lease:proven", 1);
    assert_eq!(
        pipeline.query_async::<Vec<i64>>(&mut conn).await.unwrap(),
        [3]
    );
    kill(id(&mut conn).await).await;
    assert_eq!(
        pipeline.query_async::<Vec<i64>>(&mut conn).await.unwrap(),
        [4]
    );
}

#[tokio::test]
async fn a_wait_is_about_its_own_connection() {
    let pool = single("lease-wait", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let _: Value = ask(&mut conn, "SET lease:wait 1").await;
    kill(id(&mut conn).await).await;
    let (_, text) = failure(run::<Value>(&mut conn, "WAIT 1 100").await);
    assert!(text.contains("was not executed"), "{text}");
    let _: Value = ask(&mut conn, "SET lease:wait 2").await;
    assert_eq!(ask::<i64>(&mut conn, "WAIT 1 20000").await, 1);
    // Nor about a connection that another command has put in its place.
    kill(id(&mut conn).await).await;
    let _: Value = ask(&mut conn, "SET lease:other 1").await;
    let (_, text) = failure(run::<Value>(&mut conn, "WAIT 1 20000").await);
    assert!(text.contains("was not executed"), "{text}");
    let _: Value = ask(&mut conn, "SET lease:wait 3").await;
    assert_eq!(ask::<i64>(&mut conn, "WAIT 1 20000").await, 1);
}

#[tokio::test]
async fn a_guard_whose_first_command_took_a_fresh_connection_may_wait() {
    let pool = single("lease-first-wait", |_| {}).await;
    kill(id(&mut pool.write().await.unwrap()).await).await;
    let mut conn = pool.write().await.unwrap();
    let _: Value = ask(&mut conn, "SET lease:first 1").await;
    assert_eq!(ask::<i64>(&mut conn, "WAIT 1 20000").await, 1);
}

#[tokio::test]
async fn a_refused_command_does_not_change_what_a_wait_is_about() {
    let pool = single("lease-refused-wait", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let own = id(&mut conn).await;
    let _: Value = ask(&mut conn, "SET lease:refused 1").await;
    let mut refused = pipe();
    for line in ["WAIT 1 100", "CLIENT REPLY OFF"] {
        refused.add_command(cmd(line));
    }
    let refused: RedisResult<Value> = refused.query_async(&mut conn).await;
    assert_eq!(refused.unwrap_err().kind(), redis::ErrorKind::Client);
    kill(own).await;
    let _: Value = ask(&mut conn, "SET lease:other 1").await;
    let (_, text) = failure(run::<Value>(&mut conn, "WAIT 1 20000").await);
    assert!(text.contains("was not executed"), "{text}");

    // And where nothing else was sent, there is nothing that it would not be about.
    let own = id(&mut conn).await;
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    let refused = run::<Value>(&mut conn, "MONITOR").await;
    assert_eq!(refused.unwrap_err().kind(), redis::ErrorKind::Client);
    kill(own).await;
    let _: Value = ask(&mut conn, "SET lease:refused 2").await;
    assert_eq!(ask::<i64>(&mut conn, "WAIT 1 20000").await, 1);
}

#[tokio::test]
async fn replacing_a_connection_dropped_at_any_await_point_leaves_a_guard_that_goes_on() {
    let pool = single("lease-dropped", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    for polls in 1.. {
        kill(id(&mut conn).await).await;
        let echo = run::<String>(&mut conn, "ECHO cut");
        let done = poll_then_drop(echo, polls).await;
        let status = pool.status().write;
        assert!(status.active <= 1, "after {polls} polls: {status:?}");
        assert_eq!(ask::<String>(&mut conn, "ECHO next").await, "next");
        if let Some(echo) = done {
            assert_eq!(echo.unwrap(), "cut");
            assert!(polls > 1, "it was never dropped");
            break;
        }
    }
    drop(conn);
    // Nor does a guard that is dropped without a connection keep its place.
    let mut conn = pool.write().await.unwrap();
    kill(id(&mut conn).await).await;
    let cut = poll_then_drop(run::<String>(&mut conn, "ECHO cut"), 1).await;
    assert!(cut.is_none());
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    assert_eq!(ask::<String>(&mut conn, "ECHO next").await, "next");
    let status = pool.status().write;
    let accounted = status.discards.total() + u64::try_from(status.active).unwrap();
    assert_eq!(status.created, accounted, "{status:?}");
}

/// One caller's counter: what it was told, beside what the server did.
pub(super) async fn count(
    mut conn: impl ConnectionLike,
    key: String,
    stop: Arc<AtomicBool>,
) -> (i64, i64, String) {
    let (mut acknowledged, mut unknown) = (0, 0);
    while !stop.load(SeqCst) {
        match run::<i64>(&mut conn, &format!("INCR {key}")).await {
            Ok(_) => acknowledged += 1,
            Err(error) => {
                let text = chain(&error);
                assert!(text.contains("the outcome is unknown"), "{text}");
                unknown += 1;
            }
        }
    }
    (acknowledged, unknown, key)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counters_under_random_kills_are_never_raised_twice() {
    let pool = single("lease-counters", |config| config.write.max_active = 4).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for caller in 0..4 {
        let conn = pool.write().await.unwrap();
        callers.spawn(count(conn, format!("lease:guard:{caller}"), stop.clone()));
        let key = format!("lease:handle:{caller}");
        callers.spawn(count(pool.writer(), key, stop.clone()));
    }
    let mut random = Random::new(7);
    for _ in 0..150 {
        let clients = master().client_list();
        let ours: Vec<_> = clients
            .iter()
            .filter(|client| client["name"] == "lease-counters")
            .collect();
        if !ours.is_empty() {
            let drawn = random.below(ours.len() as u64);
            let victim = &ours[usize::try_from(drawn).unwrap()]["id"];
            master().cmd(&["CLIENT", "KILL", "ID", victim]);
        }
        tokio::time::sleep(Duration::from_millis(random.below(10))).await;
    }
    stop.store(true, SeqCst);
    let (mut lost, mut total) = (0, 0);
    while let Some(result) = callers.join_next().await {
        let (acknowledged, unknown, key) = result.expect("it goes on after every kill");
        let applied: i64 = master().cmd(&["GET", &key]).as_str().parse().unwrap();
        assert!(acknowledged <= applied, "{key}: {acknowledged} {applied}");
        let attempts = acknowledged + unknown;
        assert!(applied <= attempts, "{key}: {applied} of {attempts}");
        lost += unknown;
        total += acknowledged;
    }
    assert!(
        total > 0 && lost > 0,
        "{total} acknowledged, {lost} unknown"
    );
}

#[tokio::test]
async fn a_command_of_several_words_is_the_same_on_the_fresh_connection() {
    let pool = single("lease-words", |config| config.db = 2).await;
    let mut conn = pool.write().await.unwrap();
    kill(id(&mut conn).await).await;
    let info: String = cmd("CLIENT INFO").query_async(&mut conn).await.unwrap();
    assert!(
        info.contains(" db=2 ") && info.contains("name=lease-words"),
        "{info}"
    );
}
