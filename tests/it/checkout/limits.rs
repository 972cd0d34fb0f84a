//! How many connections there are: max_active, max_idle, min_idle, and what is counted.
//!
//! redigo's pool tests, and where they are here (`left_behind::…` is about what a caller leaves
//! behind):
//!
//! | redigo | here |
//! |---|---|
//! | TestPoolReuse | `limits::returned_connections_are_lent_again` |
//! | TestPoolMaxIdle | `limits::no_more_than_max_idle_stay_open` |
//! | TestPoolError | `limits::a_connection_that_failed_is_closed_on_return` |
//! | TestPoolClose | `close::*` |
//! | TestPoolClosedConn | the compiler: a returned guard is gone |
//! | TestPoolIdleTimeout | `idle::a_connection_idle_for_too_long_is_replaced` |
//! | TestPoolMaxLifetime | `idle::a_connection_open_for_too_long_is_replaced` |
//! | TestPoolConcurrenSendReceive | the compiler: one command at a time; pipelines in `commands::…` |
//! | TestPoolBorrowCheck | `idle::a_connection_that_fails_its_test_is_replaced`, `idle::zero_tests_at_every_checkout`, `idle::a_connection_whose_test_was_cancelled_is_closed` |
//! | TestPoolMaxActive | `limits::without_waiting_the_one_too_many_fails_with_the_numbers` |
//! | TestPoolWaitStats | `waiting::a_wait_is_counted_and_timed` |
//! | TestPoolMonitorCleanup, TestPoolPubSubCleanup, TestPoolTransactionCleanup | `left_behind::…` |
//! | TestWaitPool | `waiting::ten_waiters_share_one_connection` |
//! | TestWaitPoolClose | `close::waiters_are_told_at_once` |
//! | TestWaitPoolCommandError | `waiting::every_waiter_is_served_though_each_breaks_its_connection` |
//! | TestWaitPoolDialError | `waiting::every_waiter_hears_that_the_server_refuses` |
//! | TestLocking_TestOnBorrowFails_PoolDoesntCrash | `idle::a_hundred_connections_that_all_fail_their_test_are_replaced` |
//! | TestWaitPoolGetContext | `waiting::ten_waiters_share_one_connection` |
//! | TestWaitPoolGetContextIssue520 | `connection_counts::a_checkout_dropped_on_its_way_loses_nothing` |
//! | TestWaitPoolGetContextWithDialContext, TestPoolGetContext_DialContext | `limits::dials_that_outlive_their_callers_count_and_are_not_wasted` |
//! | TestPoolGetContext_DialContext_CanceledContext | `connection_counts::a_checkout_dropped_on_its_way_loses_nothing` |
//! | TestWaitPoolGetAfterClose | `close::a_closed_pool_lends_nothing` |
//! | TestWaitPoolGetCanceledContext | `connection_counts::a_checkout_dropped_on_its_way_loses_nothing` |
//!
//! And what redigo does not do:
//!
//! | redigo's gap | here |
//! |---|---|
//! | close racing an expired wait panics | `close::closing_while_waits_expire_harms_nobody` |
//! | the test comes before the lifetime check | `idle::an_expired_connection_is_not_tested_first` |
//! | the caller closes what has expired | `idle::what_has_expired_is_closed_by_nobody_s_checkout` |
//! | nothing is closed without traffic | `idle::a_pool_without_traffic_lets_go_of_its_connections` |
//! | a panic leaks a permit | `connection_counts::a_panic_with_a_connection_in_hand_leaks_nothing` |

use std::time::Duration;

use redis::cmd;
use redis_rw_pool::{Connection, Discard, Error, redis};

use crate::support::{
    self, LONG, SECOND, Side, Stage, Watcher, eventually, side_by_side, skip, turn,
};

async fn ping(conn: &mut Connection) -> redis::RedisResult<()> {
    cmd("PING").exec_async(conn).await
}

async fn id(conn: &mut Connection) -> String {
    support::id(conn).await.to_string()
}

#[tokio::test]
async fn returned_connections_are_lent_again() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 2).await;
        for _ in 0..10 {
            let mut lent = stage.take_many(2).await;
            for conn in &mut lent {
                ping(conn).await.unwrap();
            }
        }
        let status = stage.status();
        assert_eq!((status.created, status.active, status.idle), (2, 2, 2));
        assert_eq!(stage.on_server(), 2, "{side:?}");
    }
}

#[tokio::test]
async fn writes_reuse_the_connection_returned_last_and_reads_take_turns() {
    for (side, expected) in [(Side::Write, 1), (Side::Read, 3)] {
        let stage = Stage::shared(side, |config| config.write.max_active = 3).await;
        drop(stage.take_many(3).await);
        let mut seen = std::collections::HashSet::new();
        for _ in 0..9 {
            seen.insert(id(&mut stage.take().await).await);
        }
        assert_eq!(seen.len(), expected, "{side:?}");
    }
}

#[tokio::test]
async fn no_more_than_max_idle_stay_open() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 3;
            config.write.max_idle = Some(2);
        })
        .await;
        for round in 1..=10 {
            drop(stage.take_many(3).await);
            assert_eq!(stage.status().created, 2 + round);
            assert_eq!(stage.status().idle, 2);
        }
        assert_eq!(stage.discarded(Discard::MaxIdle), 10);
        stage.settled().await;
        assert_eq!(stage.on_server(), 2, "{side:?}");
    }
}

#[tokio::test]
async fn a_max_idle_of_zero_keeps_nothing() {
    let stage = Stage::shared(Side::Write, |config| {
        config.write.max_active = 3;
        config.write.max_idle = Some(0);
    })
    .await;
    drop(stage.take_many(3).await);
    assert_eq!(stage.status().active, 0);
    assert_eq!(stage.discarded(Discard::MaxIdle), 3);
    stage.settled().await;
}

#[tokio::test]
async fn returns_at_the_same_moment_leave_no_more_than_max_idle() {
    let stage = Stage::shared(Side::Write, |config| {
        config.write.max_active = 16;
        config.write.max_idle = Some(1);
    })
    .await;
    let lent = stage.take_many(16).await;
    std::thread::scope(|scope| {
        for conn in lent {
            scope.spawn(move || drop(conn));
        }
    });
    // Those that did not see each other are left to the reaper.
    stage.active_is(1).await;
    assert_eq!(stage.discarded(Discard::MaxIdle), 15);
}

#[tokio::test]
async fn a_connection_that_failed_is_closed_on_return() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 1).await;
        let mut conn = stage.take().await;
        let victim = id(&mut conn).await;
        stage.server().cmd(&["CLIENT", "KILL", "ID", &victim]);
        // It could not mean the same on another connection, so it is told that this one is gone.
        let wait = cmd("WAIT").arg(0).arg(1).exec_async(&mut conn).await;
        assert!(wait.is_err(), "{side:?}");
        drop(conn);
        assert_eq!(stage.status().active, 0, "{side:?}");
        assert_eq!(stage.discarded(Discard::Broken), 1);
        ping(&mut stage.take().await).await.unwrap();
        assert_eq!(stage.status().created, 2);
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_is_not_kept_on_return() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 1).await;
    let mut conn = stage.take().await;
    let victim = id(&mut conn).await;
    stage.server().cmd(&["CLIENT", "KILL", "ID", &victim]);
    turn().await;
    drop(conn);
    assert_eq!(stage.status().active, 0);
    assert_eq!(stage.discarded(Discard::Broken), 1);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_not_lent() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 1).await;
        let victim = id(&mut stage.take().await).await;
        stage.server().cmd(&["CLIENT", "KILL", "ID", &victim]);
        turn().await;
        ping(&mut stage.take().await).await.unwrap();
        assert_eq!(stage.discarded(Discard::Broken), 1);
    }
}

#[tokio::test]
async fn without_waiting_the_one_too_many_fails_with_the_numbers() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 2;
            config.write.wait_timeout = Some(Duration::ZERO);
        })
        .await;
        let mut lent = stage.take_many(2).await;
        // The one that fails changes nothing, however often.
        for _ in 0..3 {
            let error = stage.checkout().await.unwrap_err();
            let Error::Exhausted {
                pool,
                max_active,
                open,
                in_use,
                ..
            } = &error
            else {
                panic!("{error:?}");
            };
            assert_eq!((*max_active, *open, *in_use), (2, 2, 2));
            assert_eq!(pool.to_string(), format!("{side:?}").to_lowercase());
            assert!(error.to_string().contains("all 2"), "{error}");
            assert!(error.is_transient() && !error.is_timeout() && !error.is_closed());
        }
        lent.pop();
        let conn = stage.take().await;
        stage.checkout().await.unwrap_err();
        drop(conn);
        assert_eq!(stage.status().wait_count, 0, "nobody waited");
        assert_eq!(stage.status().created, 2);
    }
}

#[tokio::test]
async fn the_two_pools_do_not_take_from_each_other() {
    let stage = Stage::shared(Side::Write, |config| {
        config.write.max_active = 1;
        config.write.wait_timeout = Some(Duration::ZERO);
    })
    .await;
    let _write = stage.take().await;
    stage.checkout().await.unwrap_err();
    let _read = stage.pool.read().await.unwrap();
    stage.pool.read().await.unwrap_err();
}

/// A frozen server holds every dial up; their callers leave, others come, and then it goes on.
#[tokio::test]
async fn dials_that_outlive_their_callers_count_and_are_not_wasted() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| config.write.max_active = 4).await;
        stage.server().pause();
        for _ in 0..3 {
            let callers = (0..20).map(|_| async {
                tokio::time::timeout(Duration::from_millis(30), stage.checkout()).await
            });
            for outcome in side_by_side(callers).await {
                outcome.unwrap_err();
            }
        }
        let survivors = side_by_side((0..4).map(|_| stage.checkout()));
        let resume = async {
            turn().await;
            stage.server().resume();
            Watcher::start(stage.server(), &stage.name)
        };
        let (survivors, watcher) = tokio::join!(survivors, resume);
        let survivors: Vec<_> = survivors.into_iter().map(Result::unwrap).collect();
        stage.settled().await;
        assert_eq!(stage.status().active, 4, "{side:?}");
        drop(survivors);
        stage.assert_conserved().await;
        assert_eq!(watcher.most(), 4, "{side:?}");
        assert_eq!(stage.status().created, 4, "none was dialled in vain");
    }
}

#[tokio::test]
async fn min_idle_is_kept_ready_without_traffic_and_within_max_active() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.min_idle = 3;
        })
        .await;
        let watcher = Watcher::start(stage.server(), &stage.name);
        stage.idle_is(3).await;
        stage.settled().await;
        let lent = stage.take_many(2).await;
        stage.idle_is(2).await;
        assert_eq!(stage.status().active, 4);
        drop(lent);
        let lent = stage.take_many(4).await;
        // Give the reaper its chance to make one too many.
        skip(10 * SECOND).await;
        turn().await;
        assert_eq!(stage.status().active, 4);
        drop(lent);
        assert_eq!(stage.status().created, 4, "{side:?}");
        // On a busy machine it may not have looked in time to see all of them.
        assert!(watcher.most() <= 4, "{side:?}");
    }
}

#[tokio::test]
async fn min_idle_is_made_again_after_pruning() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.min_idle = 3;
            config.write.idle_timeout = Some(60 * SECOND);
        })
        .await;
        stage.idle_is(3).await;
        for round in 1..=3_u64 {
            skip(61 * SECOND).await;
            let again = || async { stage.status().created == 3 + 3 * round };
            eventually("three more are made", LONG, again).await;
            stage.idle_is(3).await;
            assert_eq!(stage.discarded(Discard::Idle), 3 * round, "{side:?}");
        }
        stage.settled().await;
    }
}

#[tokio::test]
async fn every_connection_made_is_open_or_was_closed_for_a_reason() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.max_idle = Some(2);
            config.write.idle_timeout = Some(60 * SECOND);
            config.write.max_lifetime = Some(600 * SECOND);
        })
        .await;
        let mut lent = stage.take_many(4).await;
        let victim = id(&mut lent[0]).await;
        stage.server().cmd(&["CLIENT", "KILL", "ID", &victim]);
        ping(&mut lent[0]).await.unwrap();
        cmd("WATCH")
            .arg("k")
            .exec_async(&mut lent[1])
            .await
            .unwrap();
        let mut blocked = cmd("XREAD");
        blocked
            .arg("BLOCK")
            .arg(0)
            .arg("STREAMS")
            .arg("no-such-stream")
            .arg("$");
        let cancelled = blocked.exec_async(&mut lent[2]);
        let _ = tokio::time::timeout(Duration::from_millis(20), cancelled).await;
        drop(lent);
        drop(stage.take_many(3).await);
        skip(61 * SECOND).await;
        stage.active_is(0).await;
        let conn = stage.take().await;
        skip(700 * SECOND).await;
        drop(conn);
        stage.active_is(0).await;
        let conn = stage.take().await;
        stage.pool.close();
        drop(conn);
        let status = stage.status();
        let expected = [
            (Discard::Broken, 1),
            (Discard::Dirty, 1),
            (Discard::Cancelled, 1),
            (Discard::MaxIdle, 1),
            (Discard::Lifetime, 1),
            (Discard::PoolClosed, 1),
        ];
        for (reason, count) in expected {
            assert_eq!(
                status.discards.get(reason),
                count,
                "{side:?} {reason}: {status:?}"
            );
        }
        assert_eq!(status.created, status.discards.total(), "{status:?}");
        assert_eq!(status.active, 0);
        stage.settled().await;
    }
}
