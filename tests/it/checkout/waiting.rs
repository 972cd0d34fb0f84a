//! Waiting for a connection: in order, for as long as was said, and nobody is forgotten.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::cmd;
use redis_rw_pool::{Connection, Discard, Error, redis};
use tokio::task::JoinSet;

use crate::support::{LONG, SECOND, Side, Stage, Watcher, skip};

/// A task that takes a connection and does something with it.
fn caller<T, F>(
    stage: &Stage,
    callers: &mut JoinSet<T>,
    then: impl FnOnce(Result<Connection, Error>) -> F + Send + 'static,
) where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let (pool, side) = (stage.pool.clone(), stage.side);
    callers.spawn(async move { then(side.checkout(&pool).await).await });
}

async fn all<T: 'static>(callers: JoinSet<T>) -> Vec<T> {
    tokio::time::timeout(LONG, callers.join_all())
        .await
        .expect("nobody waits for ever")
}

#[tokio::test]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 1).await;
        let conn = stage.take().await;
        let served = Arc::new(Mutex::new(Vec::new()));
        let mut callers = JoinSet::new();
        for index in 0..20 {
            let served = Arc::clone(&served);
            caller(&stage, &mut callers, move |conn| async move {
                let mut conn = conn.unwrap();
                served.lock().push(index);
                cmd("PING").exec_async(&mut conn).await.unwrap();
            });
            stage.waiting_is(index + 1).await;
        }
        drop(conn);
        // Whoever comes now comes last.
        drop(stage.take().await);
        assert_eq!(*served.lock(), (0..20).collect::<Vec<_>>(), "{side:?}");
        all(callers).await;
        assert_eq!(stage.status().created, 1);
    }
}

#[tokio::test]
async fn a_waiter_who_leaves_does_not_hold_up_those_behind() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 1).await;
    let conn = stage.take().await;
    let served = Arc::new(Mutex::new(Vec::new()));
    let mut callers = JoinSet::new();
    let mut handles = Vec::new();
    for index in 0..6 {
        let (pool, served) = (stage.pool.clone(), Arc::clone(&served));
        handles.push(callers.spawn(async move {
            let _conn = pool.write().await.unwrap();
            served.lock().push(index);
        }));
        stage.waiting_is(index + 1).await;
    }
    for index in [0, 3] {
        handles[index].abort();
    }
    stage.waiting_is(4).await;
    drop(conn);
    drop(stage.take().await);
    assert_eq!(*served.lock(), [1, 2, 4, 5]);
    while callers.join_next().await.is_some() {}
    stage.assert_conserved().await;
}

#[tokio::test]
async fn ten_waiters_share_one_connection() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 1).await;
        let conn = stage.take().await;
        let mut callers = JoinSet::new();
        for _ in 0..10 {
            caller(&stage, &mut callers, async |conn| {
                cmd("PING").exec_async(&mut conn.unwrap()).await
            });
        }
        stage.waiting_is(10).await;
        drop(conn);
        assert!(all(callers).await.iter().all(Result::is_ok));
        let status = stage.status();
        assert_eq!((status.created, status.active, status.idle), (1, 1, 1));
        assert_eq!((status.waiting, status.wait_count), (0, 10));
    }
}

#[tokio::test]
async fn a_wait_is_counted_and_timed() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 1).await;
    let conn = stage.take().await;
    let before = stage.status();
    assert_eq!(
        (before.wait_count, before.wait_duration),
        (0, Duration::ZERO)
    );
    let started = tokio::time::Instant::now();
    let mut callers = JoinSet::new();
    for _ in 0..2 {
        caller(&stage, &mut callers, async |conn| drop(conn.unwrap()));
    }
    stage.waiting_is(2).await;
    skip(3 * SECOND).await;
    drop(conn);
    all(callers).await;
    let status = stage.status();
    assert_eq!((status.waiting, status.wait_count), (0, 2));
    assert!(status.wait_duration >= 6 * SECOND, "{status:?}");
    assert!(status.wait_duration <= 2 * started.elapsed(), "{status:?}");
    drop(stage.take().await);
    assert_eq!(
        stage.status().wait_count,
        2,
        "who finds one free does not wait"
    );
}

#[tokio::test]
async fn a_wait_that_was_given_up_is_counted_too() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 1).await;
    let conn = stage.take().await;
    let mut callers = JoinSet::new();
    caller(&stage, &mut callers, async |conn| drop(conn));
    stage.waiting_is(1).await;
    skip(SECOND).await;
    callers.shutdown().await;
    drop(conn);
    let status = stage.status();
    assert_eq!((status.waiting, status.wait_count), (0, 1));
    assert!(status.wait_duration >= SECOND, "{status:?}");
}

#[tokio::test]
async fn a_wait_that_is_over_fails_with_the_numbers() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 2;
            config.write.wait_timeout = Some(5 * SECOND);
        })
        .await;
        let lent = stage.take_many(2).await;
        let mut callers = JoinSet::new();
        caller(&stage, &mut callers, async |conn| conn.err());
        stage.waiting_is(1).await;
        skip(4 * SECOND).await;
        caller(&stage, &mut callers, async |conn| conn.err());
        stage.waiting_is(2).await;
        skip(2 * SECOND).await;
        let error = callers.join_next().await.unwrap().unwrap().unwrap();
        let Error::WaitTimeout {
            pool,
            waited,
            max_active,
            open,
            in_use,
            waiting,
            ..
        } = &error
        else {
            panic!("{error:?}");
        };
        assert_eq!((*max_active, *open, *in_use, *waiting), (2, 2, 2, 1));
        assert_eq!(pool.to_string(), format!("{side:?}").to_lowercase());
        assert!(*waited >= 5 * SECOND, "{waited:?}");
        assert!(error.is_timeout() && error.is_transient() && !error.is_closed());
        assert_eq!(stage.status().waiting, 1, "the other one goes on waiting");
        drop(lent);
        assert!(all(callers).await.pop().unwrap().is_none());
        stage.assert_conserved().await;
    }
}

#[tokio::test]
async fn without_a_limit_a_caller_waits_for_ever() {
    let stage = Stage::shared(Side::Write, |config| {
        config.write.max_active = 1;
        config.write.wait_timeout = None;
    })
    .await;
    let conn = stage.take().await;
    let mut callers = JoinSet::new();
    caller(&stage, &mut callers, async |conn| conn.is_ok());
    stage.waiting_is(1).await;
    skip(Duration::from_secs(7 * 24 * 3600)).await;
    assert!(callers.try_join_next().is_none());
    assert_eq!(stage.status().waiting, 1);
    drop(conn);
    assert_eq!(all(callers).await, [true]);
}

#[tokio::test]
async fn every_waiter_is_served_though_each_breaks_its_connection() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 1).await;
        let conn = stage.take().await;
        let mut callers = JoinSet::new();
        for _ in 0..10 {
            caller(&stage, &mut callers, async |conn| {
                cmd("QUIT").exec_async(&mut conn.unwrap()).await
            });
        }
        stage.waiting_is(10).await;
        drop(conn);
        assert_eq!(all(callers).await.len(), 10);
        let status = stage.status();
        assert_eq!(status.created, 10, "{side:?} {status:?}");
        assert_eq!(status.active, 0, "{status:?}");
        stage.assert_conserved().await;
    }
}

/// The refusal is final, so nobody waits for the server to think better of it.
#[tokio::test]
async fn every_waiter_hears_that_the_server_refuses() {
    let stage = Stage::own(Side::Write, |config| config.write.max_active = 1).await;
    let mut conn = stage.take().await;
    let mut callers = JoinSet::new();
    for _ in 0..9 {
        caller(&stage, &mut callers, async |conn| conn.map(drop));
    }
    stage.waiting_is(9).await;
    let mut admin = stage.server().connect().unwrap();
    admin
        .call(&["CONFIG", "SET", "requirepass", "secret"])
        .unwrap();
    cmd("WATCH").arg("k").exec_async(&mut conn).await.unwrap();
    drop(conn);
    for outcome in all(callers).await {
        let error = outcome.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error:?}");
        assert!(!error.is_transient(), "{error:?}");
    }
    assert_eq!((stage.status().created, stage.status().active), (1, 0));
    assert_eq!(stage.discarded(Discard::Dirty), 1);
    admin.call(&["CONFIG", "SET", "requirepass", ""]).unwrap();
    stage.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_waiters_on_four_connections_and_no_dial_after_demand_ends() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 4).await;
        let watcher = Watcher::start(stage.server(), &stage.name);
        let mut callers = JoinSet::new();
        for _ in 0..1000 {
            caller(&stage, &mut callers, async |conn| {
                cmd("PING").exec_async(&mut conn.unwrap()).await
            });
        }
        assert!(all(callers).await.iter().all(Result::is_ok));
        let status = stage.status();
        assert!(status.created <= 4, "{side:?} {status:?}");
        assert!(status.wait_count <= 1000, "{status:?}");
        // Dials that were under way may still arrive, more must not begin.
        stage.settled().await;
        stage.assert_conserved().await;
        let status = stage.status();
        assert_eq!((status.created, status.active), (4, 4), "{status:?}");
        assert_eq!(watcher.most(), 4, "{side:?}");
    }
}
