//! Closing a pool, and dropping its last handle.

use std::{sync::Arc, time::Duration};

use redis::cmd;
use redis_rw_pool::{Config, Discard, Error, Pool, redis};
use testkit::{
    Server,
    fake::{self, SentinelView},
};
use tokio::task::JoinSet;

use crate::support::{
    LONG, Side, Stage, alive_tasks, ask, deployment, eventually, poll_then_drop, prepare,
    tasks_are_back_to, turn, unique_name,
};

fn is_closed<T>(outcome: &Result<T, Error>) -> bool {
    matches!(outcome, Err(error @ Error::Closed) if error.is_closed())
}

#[tokio::test]
async fn waiters_are_told_at_once() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 1;
            config.write.wait_timeout = None;
        })
        .await;
        let conn = stage.take().await;
        let mut callers = JoinSet::new();
        for _ in 0..10 {
            let pool = stage.pool.clone();
            callers.spawn(async move { side.checkout(&pool).await.map(drop) });
        }
        stage.waiting_is(10).await;
        stage.pool.close();
        let outcomes = tokio::time::timeout(LONG, callers.join_all()).await;
        assert!(outcomes.unwrap().iter().all(is_closed), "{side:?}");
        assert_eq!((stage.status().active, stage.status().waiting), (1, 0));
        drop(conn);
        assert_eq!(stage.status().active, 0);
        stage.settled().await;
    }
}

#[tokio::test]
async fn a_connection_in_use_works_on_and_is_closed_on_return() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 4).await;
        let mut lent = stage.take_many(4).await;
        lent.truncate(1);
        assert_eq!(stage.status().idle, 3);
        stage.pool.close();
        assert_eq!(stage.status().active, 1, "what was idle is closed now");
        assert_eq!(stage.status().idle, 0);
        stage.settled().await;
        cmd("PING").exec_async(&mut lent[0]).await.unwrap();
        drop(lent);
        let status = stage.status();
        assert_eq!((status.active, status.created), (0, 4));
        assert_eq!(stage.discarded(Discard::PoolClosed), 4, "{status:?}");
        stage.settled().await;
    }
}

#[tokio::test]
async fn a_closed_pool_lends_nothing() {
    let stage = Stage::shared(Side::Write, |config| {
        config.write.max_active = 2;
        config.write.min_idle = 1;
        config.write.wait_timeout = None;
    })
    .await;
    drop(stage.take().await);
    stage.pool.close();
    let pool = stage.pool.clone();
    assert!(is_closed(&pool.write().await));
    assert!(is_closed(&pool.read().await));
    assert!(is_closed(&pool.refresh().await));
    assert!(pool.topology().master.is_some(), "still there to look at");
    assert!(!Error::Closed.is_transient() && !Error::Closed.is_timeout());
    stage.active_is(0).await;
    stage.settled().await;
}

#[tokio::test]
async fn closing_again_changes_nothing() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 4).await;
    let lent = stage.take_many(4).await;
    drop(lent.into_iter().take(2).collect::<Vec<_>>());
    stage.pool.close();
    let first = stage.status();
    stage.pool.close();
    stage.pool.clone().close();
    assert_eq!(stage.status(), first);
    assert_eq!(first.created, first.discards.total() + first.active as u64);
    stage.settled().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_from_many_threads_in_the_middle_of_traffic_loses_nothing() {
    for round in 0..12_u64 {
        for side in Side::BOTH {
            let stage = Stage::shared(side, |config| {
                config.write.max_active = 3;
                config.write.wait_timeout = None;
            })
            .await;
            let mut callers = JoinSet::new();
            for _ in 0..16 {
                let pool = stage.pool.clone();
                callers.spawn(async move {
                    loop {
                        match side.checkout(&pool).await {
                            // Whoever has a connection can use it to the end.
                            Ok(mut conn) => cmd("PING").exec_async(&mut conn).await.unwrap(),
                            outcome => return is_closed(&outcome),
                        }
                    }
                });
            }
            tokio::time::sleep(Duration::from_millis(round % 4)).await;
            std::thread::scope(|scope| {
                for _ in 0..3 {
                    scope.spawn(|| stage.pool.close());
                }
            });
            let outcomes = tokio::time::timeout(LONG, callers.join_all()).await;
            assert!(outcomes.unwrap().iter().all(|closed| *closed));
            stage.active_is(0).await;
            stage.settled().await;
            let status = stage.status();
            assert_eq!(status.created, status.discards.total(), "{status:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_while_waits_expire_harms_nobody() {
    for round in 0..30 {
        let stage = Stage::shared(Side::Write, |config| {
            config.write.max_active = 1;
            config.write.wait_timeout = Some(Duration::from_millis(2));
        })
        .await;
        let conn = stage.take().await;
        let mut callers = JoinSet::new();
        for _ in 0..50 {
            let pool = stage.pool.clone();
            callers.spawn(async move { pool.write().await.map(drop) });
        }
        // From well before the waits expire to well after.
        tokio::time::sleep(Duration::from_micros(round * 120)).await;
        stage.pool.close();
        while let Some(outcome) = callers.join_next().await {
            let error = outcome.expect("nobody panics").unwrap_err();
            let expected = matches!(error, Error::Closed | Error::WaitTimeout { .. });
            assert!(expected, "{error:?}");
        }
        drop(conn);
        assert_eq!((stage.status().active, stage.status().waiting), (0, 0));
    }
}

#[tokio::test]
async fn a_caller_that_waits_for_a_dial_is_told_at_once_and_the_dial_ends() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| config.write.max_active = 4).await;
        let base = alive_tasks();
        stage.server().pause();
        let mut callers = JoinSet::new();
        for _ in 0..6 {
            let pool = stage.pool.clone();
            callers.spawn(async move { side.checkout(&pool).await.map(drop) });
        }
        // Four of them have a permit and dial.
        stage.waiting_is(2).await;
        turn().await;
        stage.pool.close();
        let outcomes = tokio::time::timeout(LONG, callers.join_all()).await;
        assert!(outcomes.unwrap().iter().all(is_closed), "{side:?}");
        stage.server().resume();
        eventually("the dials have ended", LONG, || async {
            alive_tasks() < base && stage.on_server() == 0
        })
        .await;
        let status = stage.status();
        assert_eq!(status.active, 0, "{status:?}");
        assert_eq!(status.created, status.discards.total(), "{status:?}");
    }
}

/// It has its permit and its connection already, and only waits for the PONG.
#[tokio::test]
async fn a_checkout_in_the_middle_of_its_test_gets_nothing_either() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| {
            config.write.max_active = 1;
            config.write.test_idle_after = Some(Duration::ZERO);
        })
        .await;
        drop(stage.take().await);
        stage.server().pause();
        let pool = stage.pool.clone();
        let caller = tokio::spawn(async move { side.checkout(&pool).await.map(drop) });
        eventually("it tests the connection", LONG, || async {
            stage.status().idle == 0
        })
        .await;
        stage.pool.close();
        stage.server().resume();
        let outcome = tokio::time::timeout(LONG, caller).await.unwrap().unwrap();
        assert!(is_closed(&outcome), "{outcome:?}");
        assert_eq!(stage.discarded(Discard::PoolClosed), 1, "{side:?}");
        stage.active_is(0).await;
        stage.settled().await;
    }
}

#[tokio::test]
async fn dropping_the_last_handle_ends_tasks_and_connections() {
    let server = Server::standalone(&[]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let name = unique_name();
    let mut config = Config::new([sentinel.addr()], "mymaster");
    prepare(&mut config, &name);
    config.write.min_idle = 2;
    let base = alive_tasks();
    let pool = Pool::connect(config).await.unwrap();
    drop((pool.write().await.unwrap(), pool.read().await.unwrap()));
    eventually("min_idle is made", LONG, || async {
        pool.status().write.idle == 2
    })
    .await;
    let other = pool.clone();
    drop(pool);
    turn().await;
    cmd("PING")
        .exec_async(&mut other.write().await.unwrap())
        .await
        .unwrap();
    assert!(alive_tasks() > base && sentinel.open_connections() > 0);
    drop(other);
    tasks_are_back_to(base).await;
    eventually("the server sees nobody", LONG, || async {
        server.client_count_named(&name) == 0 && sentinel.open_connections() == 0
    })
    .await;
}

#[tokio::test]
async fn a_weak_handle_leads_to_the_pool_while_others_have_it_and_keeps_nothing_running() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let weak = stage.pool.downgrade();
    let conn = stage.take().await;
    let pool = weak.clone().upgrade().expect("the stage has it");
    assert_eq!(pool.status().write.active, 1);
    let writer = pool.writer();
    drop(pool);
    let (name, server) = (stage.name.clone(), stage.into_server());
    assert!(weak.upgrade().is_some(), "a multiplexed handle has it");
    drop(writer);
    assert!(weak.upgrade().is_none(), "a guard does not count");
    drop(conn);
    eventually("the server sees nobody", LONG, || async {
        server.client_count_named(&name) == 0
    })
    .await;
}

#[tokio::test]
async fn a_connection_outlives_the_last_handle_and_closes_on_return() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| config.write.max_active = 2).await;
        let mut conn = stage.take().await;
        let (name, server) = (stage.name.clone(), stage.into_server());
        cmd("PING").exec_async(&mut conn).await.unwrap();
        assert_eq!(server.client_count_named(&name), 1);
        drop(conn);
        eventually("the server sees nobody", LONG, || async {
            server.client_count_named(&name) == 0
        })
        .await;
    }
}

#[tokio::test]
async fn a_connect_that_is_dropped_leaves_nothing_behind() {
    let deployment = deployment();
    let base = alive_tasks();
    let name = unique_name();
    for polls in 1..40 {
        let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
        prepare(&mut config, &name);
        let connect = poll_then_drop(Pool::connect(config), polls);
        let done = connect.await.is_some();
        tasks_are_back_to(base).await;
        if done {
            break;
        }
        assert!(polls < 39, "never connected");
    }
    eventually("the servers see nobody", LONG, || async {
        let nodes = deployment.nodes().iter();
        nodes
            .map(|node| node.client_count_named(&name))
            .sum::<usize>()
            == 0
    })
    .await;
}

#[test]
fn a_pool_may_be_dropped_after_its_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let (stage, lent) = runtime.block_on(async {
        let stage = Stage::shared(Side::Write, |config| config.write.max_active = 4).await;
        let mut lent = stage.take_many(3).await;
        lent.pop();
        (stage, lent)
    });
    let stage = Arc::new(stage);
    drop(runtime);
    let mut lent = lent.into_iter();
    drop(lent.next());
    stage.pool.close();
    drop(lent);
    assert_eq!(stage.status().active, 0);
}

/// As many as wait, from before `close` on.
fn waiters(stage: &Stage, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    (0..count)
        .map(|_| {
            let pool = stage.pool.clone();
            tokio::spawn(async move { pool.closed().await })
        })
        .collect()
}

#[tokio::test]
async fn the_end_of_the_last_lent_connection_can_be_awaited() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| config.write.max_active = 4).await;
        let mut lent = stage.take_many(2).await;
        drop(stage.take().await);
        let mut writer = stage.pool.writer();
        let _: String = ask(&mut writer, "ECHO warm").await;
        let mut all = waiters(&stage, 5);
        let none_is_back =
            |all: &[tokio::task::JoinHandle<()>]| all.iter().all(|one| !one.is_finished());
        turn().await;
        assert!(none_is_back(&all), "it is not closed");
        stage.pool.close();
        all.extend(waiters(&stage, 3));
        // One that is given up harms nobody.
        all.pop().unwrap().abort();
        lent.pop();
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(none_is_back(&all), "one is lent");
        cmd("PING").exec_async(&mut lent[0]).await.unwrap();
        drop(lent);
        for one in all {
            tokio::time::timeout(LONG, one).await.unwrap().unwrap();
        }
        stage.pool.closed().await;
        assert_eq!(
            (stage.status().active, stage.on_server()),
            (0, 0),
            "{side:?}"
        );
    }
}

#[tokio::test]
async fn after_closed_no_socket_and_no_task_is_left() {
    for round in 0..10 {
        let server = Server::standalone(&[]);
        let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
        let name = unique_name();
        let mut config = Config::new([sentinel.addr()], "mymaster");
        prepare(&mut config, &name);
        config.write.min_idle = 2;
        let base = alive_tasks();
        let pool = Pool::connect(config).await.unwrap();
        if round % 2 == 0 {
            let _: String = ask(&mut pool.writer(), "ECHO warm").await;
            let _: String = ask(&mut pool.reader(), "ECHO warm").await;
            drop((pool.write().await.unwrap(), pool.read().await.unwrap()));
        }
        // In the middle of what it does by itself.
        let look = pool.refresh();
        assert!(poll_then_drop(look, 1).await.is_none());
        tokio::time::sleep(Duration::from_millis(round)).await;
        pool.close();
        tokio::time::timeout(LONG, pool.closed()).await.unwrap();
        assert!(alive_tasks() <= base, "{} tasks", alive_tasks() - base);
        // Closed here; the other end may hear of it a moment later.
        eventually("nobody is connected", Duration::from_secs(2), || async {
            server.client_count_named(&name) == 0 && sentinel.open_connections() == 0
        })
        .await;
    }
}

#[tokio::test]
async fn closed_waits_for_the_answers_to_what_was_sent() {
    let stage = Stage::own(Side::Write, |config| config.write.max_active = 1).await;
    let mut writer = stage.pool.writer();
    let _: String = ask(&mut writer, "ECHO warm").await;
    stage.server().pause();
    let call = tokio::spawn(async move { cmd("PING").query_async::<String>(&mut writer).await });
    eventually("it is on its way", LONG, || async {
        stage.pool.status().writer.in_flight == 1
    })
    .await;
    turn().await;
    stage.pool.close();
    let early = tokio::time::timeout(Duration::from_millis(100), stage.pool.closed());
    assert!(early.await.is_err());
    stage.server().resume();
    tokio::time::timeout(LONG, stage.pool.closed())
        .await
        .unwrap();
    assert_eq!(call.await.unwrap().unwrap(), "PONG");
}
