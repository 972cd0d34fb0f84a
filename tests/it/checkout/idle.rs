//! What happens to a connection that nobody uses, or that has been open for long.

use std::time::Duration;

use redis_rw_pool::{Config, Discard};

use crate::support::{LONG, SECOND, Side, Stage, eventually, id, side_by_side, skip, turn};

const MINUTE: Duration = Duration::from_secs(60);

fn no_limits(config: &mut Config) {
    config.write.max_active = 4;
    config.write.idle_timeout = None;
    config.write.max_lifetime = None;
    config.write.test_idle_after = None;
}

/// How often the server was sent a PING, which in the own deployment only the pool does.
fn pings(stage: &Stage) -> u64 {
    stage.server().command_stat("ping")
}

#[tokio::test]
async fn a_connection_idle_for_too_long_is_replaced() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            no_limits(config);
            config.write.idle_timeout = Some(MINUTE);
        })
        .await;
        let first = id(&mut stage.take().await).await;
        skip(MINUTE - SECOND).await;
        assert_eq!(id(&mut stage.take().await).await, first);
        skip(MINUTE + SECOND).await;
        assert_ne!(id(&mut stage.take().await).await, first);
        let status = stage.status();
        assert_eq!((status.created, status.active), (2, 1), "{side:?}");
        assert_eq!(stage.discarded(Discard::Idle), 1);
    }
}

#[tokio::test]
async fn idle_time_counts_from_the_return() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            no_limits(config);
            config.write.idle_timeout = Some(MINUTE);
        })
        .await;
        let mut conn = stage.take().await;
        let first = id(&mut conn).await;
        skip(10 * MINUTE).await;
        drop(conn);
        skip(MINUTE - SECOND).await;
        turn().await;
        assert_eq!(id(&mut stage.take().await).await, first, "{side:?}");
        assert_eq!(stage.status().discards.total(), 0);
    }
}

#[tokio::test]
async fn a_connection_open_for_too_long_is_replaced() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            no_limits(config);
            config.write.max_lifetime = Some(10 * MINUTE);
        })
        .await;
        let first = id(&mut stage.take().await).await;
        // Never idle for long, and yet it grows old: the lifetime is drawn from 9 to 11 minutes.
        for _ in 0..8 {
            skip(MINUTE).await;
            assert_eq!(id(&mut stage.take().await).await, first);
        }
        skip(4 * MINUTE).await;
        assert_ne!(id(&mut stage.take().await).await, first);
        assert_eq!(stage.discarded(Discard::Lifetime), 1, "{side:?}");
        assert_eq!(stage.status().active, 1);
    }
}

#[tokio::test]
async fn a_connection_that_expires_while_lent_works_on_and_is_closed_on_return() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            no_limits(config);
            config.write.max_lifetime = Some(10 * MINUTE);
        })
        .await;
        let mut conn = stage.take().await;
        let first = id(&mut conn).await;
        skip(20 * MINUTE).await;
        turn().await;
        assert_eq!(id(&mut conn).await, first);
        assert_eq!(stage.discarded(Discard::Lifetime), 0);
        drop(conn);
        // At once: not by the next caller, nor by the reaper.
        assert_eq!(stage.discarded(Discard::Lifetime), 1, "{side:?}");
        assert_eq!(stage.status().active, 0);
        stage.settled().await;
    }
}

#[tokio::test]
async fn connections_made_together_do_not_expire_together() {
    let stage = Stage::shared(Side::Write, |config| {
        no_limits(config);
        config.write.max_active = 32;
        config.write.max_lifetime = Some(100 * MINUTE);
    })
    .await;
    let lent = stage.take_many(32).await;
    skip(89 * MINUTE).await;
    drop(lent);
    assert_eq!(stage.discarded(Discard::Lifetime), 0, "not before 90 %");
    let lent = stage.take_many(32).await;
    skip(11 * MINUTE).await;
    drop(lent);
    let expired = stage.discarded(Discard::Lifetime);
    // All or none of 32 on one side of the middle: once in two thousand million runs.
    assert!((1..32).contains(&expired), "{expired}");
    let lent = stage.take_many(32).await;
    skip(11 * MINUTE).await;
    drop(lent);
    assert_eq!(stage.discarded(Discard::Lifetime), 32, "all after 110 %");
}

#[tokio::test]
async fn a_pool_without_traffic_lets_go_of_its_connections() {
    for side in Side::BOTH {
        for reason in [Discard::Idle, Discard::Lifetime] {
            let stage = Stage::shared(side, |config| {
                no_limits(config);
                match reason {
                    Discard::Idle => config.write.idle_timeout = Some(10 * MINUTE),
                    _ => config.write.max_lifetime = Some(10 * MINUTE),
                }
            })
            .await;
            drop(stage.take_many(4).await);
            skip(12 * MINUTE).await;
            stage.active_is(0).await;
            assert_eq!(stage.discarded(reason), 4, "{side:?}");
            stage.settled().await;
        }
    }
}

/// While a pool is empty nobody looks at the clock for it.
#[tokio::test]
async fn a_pool_that_was_empty_for_long_counts_time_from_its_next_connection() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            no_limits(config);
            config.write.idle_timeout = Some(10 * MINUTE);
        })
        .await;
        for round in 1..=2 {
            skip(60 * MINUTE).await;
            turn().await;
            let first = id(&mut stage.take().await).await;
            turn().await;
            skip(10 * MINUTE - 2 * SECOND).await;
            turn().await;
            assert_eq!(id(&mut stage.take().await).await, first, "{side:?}");
            skip(12 * MINUTE).await;
            stage.active_is(0).await;
            assert_eq!(stage.discarded(Discard::Idle), round, "{side:?}");
        }
    }
}

#[tokio::test]
async fn a_connection_that_the_server_closed_goes_without_traffic() {
    let stage = Stage::own(Side::Write, no_limits).await;
    drop(stage.take_many(4).await);
    stage.server().cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
    stage.active_is(0).await;
    assert_eq!(stage.discarded(Discard::Broken), 4);
}

/// The reaper has been there before; the caller finds nothing to close and one that is good.
#[tokio::test]
async fn what_has_expired_is_closed_by_nobody_s_checkout() {
    let stage = Stage::shared(Side::Write, |config| {
        no_limits(config);
        config.write.idle_timeout = Some(MINUTE);
    })
    .await;
    let lent = stage.take_many(4).await;
    skip(MINUTE / 2).await;
    let mut lent = lent.into_iter();
    drop(lent.by_ref().take(3).collect::<Vec<_>>());
    skip(MINUTE / 2).await;
    drop(lent);
    skip(MINUTE / 2 + SECOND).await;
    let pruned = || async { stage.discarded(Discard::Idle) == 3 };
    eventually("the three that are too old are closed", LONG, pruned).await;
    assert_eq!(stage.status().idle, 1);
    drop(stage.take().await);
    assert_eq!(stage.status().created, 4);
}

#[tokio::test]
async fn an_expired_connection_is_not_tested_first() {
    let stage = Stage::own(Side::Write, |config| {
        no_limits(config);
        config.write.max_lifetime = Some(10 * MINUTE);
        config.write.test_idle_after = Some(Duration::ZERO);
    })
    .await;
    drop(stage.take_many(4).await);
    let before = pings(&stage);
    skip(12 * MINUTE).await;
    drop(stage.take().await);
    assert_eq!(pings(&stage), before);
    assert_eq!(stage.discarded(Discard::Lifetime), 4);
    assert_eq!(stage.status().created, 5);
}

#[tokio::test]
async fn a_test_is_spent_only_after_the_threshold() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| {
            no_limits(config);
            config.write.test_idle_after = Some(MINUTE);
        })
        .await;
        let first = id(&mut stage.take().await).await;
        let before = pings(&stage);
        for _ in 0..3 {
            skip(MINUTE - SECOND).await;
            drop(stage.take().await);
        }
        assert_eq!(pings(&stage), before, "{side:?}: never idle for a minute");
        for round in 1..=3 {
            skip(MINUTE + SECOND).await;
            assert_eq!(id(&mut stage.take().await).await, first);
            assert_eq!(pings(&stage), before + round, "{side:?}");
            drop(stage.take().await);
            assert_eq!(pings(&stage), before + round, "just used");
        }
        assert_eq!(stage.status().created, 1);
    }
}

#[tokio::test]
async fn zero_tests_at_every_checkout() {
    let stage = Stage::own(Side::Write, |config| {
        no_limits(config);
        config.write.test_idle_after = Some(Duration::ZERO);
    })
    .await;
    let before = pings(&stage);
    for round in 0..10 {
        drop(stage.take().await);
        // A connection just made has proven itself.
        assert_eq!(pings(&stage), before + round);
    }
    assert_eq!(stage.status().created, 1);
}

#[tokio::test]
async fn without_a_threshold_nothing_is_tested() {
    let stage = Stage::own(Side::Write, no_limits).await;
    let before = pings(&stage);
    for _ in 0..3 {
        drop(stage.take().await);
        skip(100 * MINUTE).await;
    }
    assert_eq!(pings(&stage), before);
    assert_eq!(stage.status().created, 1);
}

#[tokio::test]
async fn a_connection_whose_test_was_cancelled_is_closed() {
    let stage = Stage::own(Side::Write, |config| {
        no_limits(config);
        config.write.test_idle_after = Some(Duration::ZERO);
    })
    .await;
    drop(stage.take().await);
    stage.server().pause();
    let checkout = tokio::time::timeout(Duration::from_millis(50), stage.checkout());
    checkout.await.unwrap_err();
    stage.server().resume();
    assert_eq!(stage.status().active, 0, "its reply belongs to nobody");
    assert_eq!(stage.status().discards.total(), 1, "{:?}", stage.status());
    stage.settled().await;
    stage.assert_conserved().await;
}

#[tokio::test]
async fn many_idle_connections_to_a_frozen_server_cost_one_timeout() {
    side_by_side(Side::BOTH.map(async |side| {
        let stage = Stage::own(side, |config| {
            no_limits(config);
            config.write.max_active = 20;
            config.write.test_idle_after = Some(Duration::ZERO);
            config.connect_timeout = 2 * SECOND;
            config.failover_timeout = 2 * SECOND;
        })
        .await;
        drop(stage.take_many(20).await);
        stage.server().pause();
        let started = tokio::time::Instant::now();
        stage.checkout().await.unwrap_err();
        // A test and a dial that find nobody; one test after the other would take forty seconds.
        let elapsed = started.elapsed();
        assert!(elapsed < 20 * SECOND, "{elapsed:?}");
        assert_eq!(stage.discarded(Discard::TestFailed), 20, "{side:?}");
        stage.server().resume();
        stage.assert_conserved().await;
    }))
    .await;
}
