//! The tests of `checkout::dialing` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, DialState, Error, Pool};
use testkit::fake::{self, Action, NodeRole, SentinelView};
use tokio::task::JoinSet;

use crate::support::{
    LONG, PROBE, SECOND, Side, alive_tasks, eventually, prepare, side_by_side, tasks_are_back_to,
    turn, unique_name,
};

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
