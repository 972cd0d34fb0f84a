//! Servers that are down, turn clients away or never answer: dials fail or hang, and cost no place.

use std::time::Duration;

use redis_rw_pool::{Config, Error};
use tokio::task::JoinSet;

use crate::support::{
    LONG, SECOND, Side, Stage, alive_tasks, eventually, side_by_side, tasks_are_back_to, turn,
};

fn impatient(config: &mut Config) {
    config.write.max_active = 4;
    config.connect_timeout = 2 * SECOND;
    config.failover_timeout = Duration::from_millis(500);
}

#[tokio::test]
async fn dials_to_a_server_that_is_down_cost_no_place() {
    for side in Side::BOTH {
        let stage = Stage::own(side, impatient).await;
        stage.assert_conserved().await;
        let base = alive_tasks();
        stage.server().kill();
        turn().await;
        let callers = side_by_side((0..8).map(|_| stage.checkout())).await;
        assert!(callers.iter().all(Result::is_err), "{side:?}");
        let some_no_master = callers
            .iter()
            .any(|outcome| matches!(outcome, Err(Error::NoMaster { .. })));
        // A read says what it met last, since it could have gone to any of several nodes.
        assert_eq!(some_no_master, side == Side::Write, "{callers:?}");
        stage.active_is(0).await;
        assert!(stage.status().dial_failures > 0);
        stage.server().restart();
        stage.assert_conserved().await;
        tasks_are_back_to(base).await;
    }
}

#[tokio::test]
async fn dials_that_the_server_turns_away_cost_no_place() {
    let stage = Stage::own(Side::Write, |config| {
        impatient(config);
        config.failover_timeout = LONG;
    })
    .await;
    let lent = stage.take_many(2).await;
    let mut admin = stage.server().connect().unwrap();
    admin.call(&["CONFIG", "SET", "maxclients", "3"]).unwrap();
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (pool, side) = (stage.pool.clone(), stage.side);
        callers.spawn(async move { drop(side.checkout(&pool).await.unwrap()) });
    }
    let failed = || async { stage.status().dial_failures >= 4 };
    eventually("the server turns some away", LONG, failed).await;
    assert_eq!(stage.status().active, 2);
    admin
        .call(&["CONFIG", "SET", "maxclients", "1000"])
        .unwrap();
    tokio::time::timeout(LONG, callers.join_all())
        .await
        .expect("no caller is stranded");
    drop(lent);
    stage.assert_conserved().await;
}

#[tokio::test]
async fn connections_that_come_back_serve_callers_whose_dials_fail() {
    let stage = Stage::own(Side::Write, |config| {
        impatient(config);
        config.failover_timeout = LONG;
        config.write.max_active = 2;
    })
    .await;
    let conn = stage.take().await;
    let mut admin = stage.server().connect().unwrap();
    admin.call(&["CONFIG", "SET", "maxclients", "2"]).unwrap();
    let waiter = {
        let pool = stage.pool.clone();
        tokio::spawn(async move { pool.write().await.map(drop) })
    };
    let failed = || async { stage.status().dial_failures >= 2 };
    eventually("its dials fail", LONG, failed).await;
    drop(conn);
    assert_eq!(stage.status().idle, 0, "it went to the waiter at once");
    let outcome = tokio::time::timeout(10 * SECOND, waiter).await;
    admin
        .call(&["CONFIG", "SET", "maxclients", "1000"])
        .unwrap();
    outcome
        .expect("an idle connection is there for it")
        .unwrap()
        .unwrap();
    stage.assert_conserved().await;
}
