//! Servers that are down, turn clients away or never answer: dials fail or hang, and cost no place.

use std::time::Duration;

use redis_rw_pool::{Config, DialState, Error, Pool};
use testkit::fake::{self, Action, NodeRole, SentinelView};
use tokio::task::JoinSet;

use crate::support::{
    LONG, PROBE, SECOND, Side, Stage, alive_tasks, eventually, prepare, side_by_side,
    tasks_are_back_to, turn, unique_name,
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

#[tokio::test]
async fn dials_that_hang_cost_no_place() {
    for side in Side::BOTH {
        let node = fake::node(NodeRole::Master);
        let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
        let mut config = Config::new([sentinel.addr()], "mymaster");
        prepare(&mut config, &unique_name());
        config.write.max_active = 4;
        config.write.wait_timeout = Some(SECOND);
        config.read = config.write.clone();
        config.connect_timeout = 2 * SECOND;
        config.failover_timeout = SECOND;
        let pool = Pool::connect(config).await.unwrap();
        let base = alive_tasks();
        node.set_override(Some(Action::Silence));
        let callers = side_by_side((0..20).map(|index| {
            let checkout = side.checkout(&pool);
            let patience = Duration::from_millis(50 * index);
            async move { tokio::time::timeout(patience, checkout).await }
        }))
        .await;
        assert!(callers.iter().all(|outcome| !matches!(outcome, Ok(Ok(_)))));
        assert!(
            node.open_connections() <= 4 + PROBE,
            "{}",
            node.open_connections()
        );
        node.set_override(None);
        let lent = side_by_side((0..4).map(|_| async {
            tokio::time::timeout(LONG, side.checkout(&pool))
                .await
                .unwrap()
        }))
        .await;
        assert!(lent.iter().all(Result::is_ok), "{side:?} {lent:?}");
        assert_eq!(side.status(&pool).active, 4);
        pool.refresh().await.unwrap();
        eventually("the hung sockets are closed", LONG, || async {
            node.open_connections() == 4 + PROBE
        })
        .await;
        let fifth = side.checkout(&pool).await.unwrap_err();
        assert!(matches!(fifth, Error::WaitTimeout { .. }), "{fifth:?}");
        drop(lent);
        turn().await;
        tasks_are_back_to(base).await;
        let status = side.status(&pool);
        assert_eq!((status.active, status.idle, status.waiting), (4, 4, 0));
    }
}

#[tokio::test]
async fn no_more_than_four_dials_go_to_a_node_at_once() {
    let node = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    prepare(&mut config, &unique_name());
    config.write.max_active = 16;
    config.write.wait_timeout = Some(Duration::ZERO);
    config.connect_timeout = 10 * LONG;
    let pool = Pool::connect(config).await.unwrap();
    eventually("it has looked at the node", LONG, || async {
        node.open_connections() == PROBE
    })
    .await;
    node.set_override(Some(Action::Silence));
    let mut callers = JoinSet::new();
    for _ in 0..16 {
        let pool = pool.clone();
        callers.spawn(async move { pool.write().await.map(drop) });
    }
    eventually("four dial", LONG, || async {
        node.open_connections() >= 4 + PROBE
    })
    .await;
    // Whoever would dial beside them has had its turn many times over.
    for _ in 0..100 {
        turn().await;
    }
    assert_eq!(node.open_connections(), 4 + PROBE);
    let refused = pool.write().await.unwrap_err();
    let dials = DialState::Dialing(16);
    assert!(
        matches!(&refused, Error::Exhausted { dials: b, .. } if *b == dials),
        "{refused:?}"
    );
}

/// Neither those that are under way nor those that wait for their turn at the node.
#[tokio::test]
async fn dials_that_hang_at_a_master_are_given_up_when_another_takes_its_place() {
    let (old, new) = (fake::node(NodeRole::Master), fake::node(NodeRole::Master));
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.connect_timeout = LONG;
    config.failover_timeout = LONG;
    let pool = Pool::connect(config).await.unwrap();
    old.set_override(Some(Action::Silence));
    let callers: Vec<_> = (0..12)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.write().await })
        })
        .collect();
    eventually("four dial", LONG, || async { old.open_connections() >= 4 }).await;
    let mut view = SentinelView::of_master(new.port());
    view.epoch = 1;
    sentinel.set(view);
    pool.refresh().await.unwrap();
    let switched = tokio::time::Instant::now();
    for caller in callers {
        let conn = caller.await.unwrap().unwrap();
        assert_eq!(conn.node().port(), new.port());
    }
    assert!(switched.elapsed() < LONG / 2, "{:?}", switched.elapsed());
}

#[tokio::test]
async fn dials_that_hang_end_soon_after_the_pool_is_closed() {
    let node = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.connect_timeout = SECOND;
    let base = alive_tasks();
    let pool = Pool::connect(config).await.unwrap();
    node.set_override(Some(Action::Silence));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.write().await })
        })
        .collect();
    eventually("four dial", LONG, || async { node.open_connections() >= 4 }).await;
    pool.close();
    let closed = tokio::time::Instant::now();
    for caller in callers {
        assert!(matches!(caller.await.unwrap(), Err(Error::Closed)));
    }
    drop(pool);
    tasks_are_back_to(base).await;
    // One after another the four turns at the node would take four times that.
    assert!(closed.elapsed() < 2 * SECOND, "{:?}", closed.elapsed());
}

/// A service may check out on many runtimes, and some of them may end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dial_whose_runtime_ends_costs_no_place() {
    let node = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.write.max_active = 1;
    config.failover_timeout = 5 * SECOND;
    let pool = Pool::connect(config).await.unwrap();
    node.set_override(Some(Action::Silence));
    let elsewhere = pool.clone();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        let hasty = async { tokio::time::timeout(SECOND / 10, elsewhere.write()).await };
        assert!(runtime.block_on(hasty).is_err());
    })
    .join()
    .unwrap();
    node.set_override(None);
    let _conn = pool.write().await.unwrap();
}
