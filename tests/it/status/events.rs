//! What happens is told to whoever listens, in order, and readiness outlasts a failover.

use std::{sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis_rw_pool::{Event, EventKind, Events, Lifted, Need, Node, Pool, ReadFrom};
use testkit::Deployment;

use crate::support::{self, FAILOVER_LIMIT, LONG, Side, Stage, eventually, local};

async fn next(events: &mut Events) -> Option<Event> {
    tokio::time::timeout(LONG, events.next())
        .await
        .expect("something happens")
}

/// The place of the first event like this one.
fn place(told: &[Event], like: impl Fn(&EventKind) -> bool) -> usize {
    let place = told.iter().position(|event| like(&event.kind));
    place.unwrap_or_else(|| panic!("not among {told:#?}"))
}

fn readable(pool: &Pool) -> usize {
    pool.topology().readable().count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_told_in_order_and_the_pool_stays_ready() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| config.read_from = ReadFrom::Any).await;
    let replicas = deployment.replicas().len();
    eventually("all replicas are readable", LONG, || async {
        readable(&pool) == replicas
    })
    .await;
    let old = pool.topology().master.clone().expect("it was found");
    let told = Arc::new(Mutex::new(Vec::new()));
    let (mut events, all) = (pool.events(), Arc::clone(&told));
    let listener = pool.clone();
    let listening = tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let version = listener.topology().version;
            assert!(event.topology <= version, "{event:?} came before {version}");
            all.lock().push(event);
        }
    });
    let (watched, before) = (pool.clone(), old.clone());
    let ready = tokio::spawn(async move {
        let mut least = watched.health();
        loop {
            let health = watched.health();
            assert!(health.is_ready(Need::Both), "{health}");
            if !health.writes.is_able() {
                least = health;
            } else if watched.topology().master.as_ref() != Some(&before) {
                return least;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    tokio::task::block_in_place(|| deployment.failover());
    let least = tokio::time::timeout(FAILOVER_LIMIT, ready)
        .await
        .expect("it ends");
    let least = least.expect("it stays ready");
    let new = pool.topology().master.clone().expect("it was found");
    assert_ne!(new, old);
    assert!(
        least.writes.to_string().contains(&old.to_string()),
        "{least}"
    );
    eventually(
        "the old master is a readable replica",
        FAILOVER_LIMIT,
        || async {
            let topology = pool.topology();
            let back = topology.readable().any(|node| *node == old);
            back && topology.readable().count() == replicas
        },
    )
    .await;
    // It takes no part in it: nothing is told any more after this.
    pool.close();
    listening.await.expect("it hears of the end");

    let told = told.lock().clone();
    let raised = place(&told, |kind| matches!(kind, EventKind::FenceRaised { .. }));
    let changed = place(
        &told,
        |kind| matches!(kind, EventKind::MasterChanged { old: Some(from), new: to, .. } if *from == old && *to == new),
    );
    let lifted = place(
        &told,
        |kind| matches!(kind, EventKind::FenceLifted { held, outcome: Lifted::NewMaster, .. } if !held.is_zero()),
    );
    let gone = place(
        &told,
        |kind| matches!(kind, EventKind::ReplicaRemoved { node } if *node == new),
    );
    let added = place(
        &told,
        |kind| matches!(kind, EventKind::ReplicaAdded { node } if *node == old),
    );
    let back = place(
        &told,
        |kind| matches!(kind, EventKind::ReplicaReadable { node } if *node == old),
    );
    assert!(
        raised < changed && changed < lifted && added < back,
        "{told:#?}"
    );
    assert!(changed < gone && changed < added, "{told:#?}");
    assert!(told.is_sorted_by_key(|event| event.topology), "{told:#?}");
    assert!(told.is_sorted_by_key(|event| event.at), "{told:#?}");
    let missed = |event: &Event| matches!(event.kind, EventKind::Missed { .. });
    assert!(!told.iter().any(missed), "{told:#?}");
}

#[tokio::test]
async fn callers_that_begin_to_wait_are_told_of_once() {
    let stage = Stage::shared(Side::Read, |config| config.write.max_active = 1).await;
    let mut events = stage.pool.events();
    let held = stage.take().await;
    let (pool, side) = (stage.pool.clone(), stage.side);
    let waiter = tokio::spawn(async move { side.checkout(&pool).await.map(drop) });
    stage.waiting_is(1).await;
    let event = next(&mut events).await.expect("it is open");
    let EventKind::Saturated { pool, waiting, .. } = event.kind else {
        panic!("{event:?}");
    };
    assert_eq!((pool.as_str(), waiting), ("read", 1));
    drop(held);
    waiter.await.unwrap().unwrap();
    // A listener that comes late hears nothing of it, and all hear of the end.
    let mut late = stage.pool.events();
    stage.pool.close();
    assert_eq!(next(&mut late).await, None);
    assert_eq!(next(&mut events).await, None);
    assert_eq!(next(&mut stage.pool.events()).await, None);
}

#[tokio::test]
async fn the_loss_of_all_sentinels_is_told_and_so_is_their_return() {
    use testkit::fake::{FakeSentinel, SentinelView};

    let server = testkit::Server::standalone(&[]);
    let port = testkit::ports::unused();
    let view = || SentinelView::of_master(server.port());
    let sentinel = FakeSentinel::start_on(port, view());
    let mut config = redis_rw_pool::Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_millis(100);
    let pool = Pool::connect(config).await.unwrap();
    let mut events = pool.events();
    drop(sentinel);
    let event = next(&mut events).await.unwrap();
    assert!(
        matches!(event.kind, EventKind::SentinelsLost { .. }),
        "{event:?}"
    );
    let health = pool.health();
    assert!(
        !health.sentinels.is_able() && health.is_ready(Need::Both),
        "{health}"
    );
    let _sentinel = FakeSentinel::start_on(port, view());
    let event = next(&mut events).await.unwrap();
    assert!(
        matches!(event.kind, EventKind::SentinelsBack { reachable: 1, .. }),
        "{event:?}"
    );
    eventually("all is well", LONG, || async {
        pool.health().sentinels.is_able()
    })
    .await;
    let node: Node = local(server.port());
    assert_eq!(pool.status().master.node, Some(node));
}
