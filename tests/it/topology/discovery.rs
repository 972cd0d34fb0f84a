//! Finding the master, whatever the Sentinels are like.

use std::{error::Error as _, time::Duration};

use redis_rw_pool::{Config, Error, Node, Pool, redis::AsyncCommands};
use testkit::{
    Deployment,
    fake::{self, FakeNode, FakeServer, NodeRole},
};

use crate::support::{self, eventually, local, sentinel_at};

pub(super) const LIMIT: Duration = Duration::from_secs(20);
/// For real Sentinels: before Redis 7.0 they look every ten seconds, whatever they are told.
pub(super) const PATIENT: Duration = Duration::from_secs(120);
/// Longer than any test may wait, so that waiting for a hung Sentinel cannot go unnoticed.
pub(super) const NEVER: Duration = Duration::from_secs(60);

pub(super) fn to(sentinels: &[&FakeServer]) -> Config {
    let sentinels = sentinels.iter().map(|sentinel| sentinel.addr());
    let mut config = Config::new(sentinels, "mymaster");
    config.connect_timeout = Duration::from_secs(30);
    config.refresh_interval = Duration::from_millis(300);
    config
}

pub(super) fn master() -> FakeNode {
    fake::node(NodeRole::Master)
}

/// Everything that an error shows when it is printed.
pub(super) fn whole_text(error: &Error) -> String {
    let mut text = format!("{error} {error:?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?}"));
        source = cause.source();
    }
    text
}

pub(super) async fn write(pool: &Pool) -> Node {
    let mut conn = pool.write().await.expect("there is a master");
    let () = conn.set("k", "v").await.expect("it takes writes");
    conn.node()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sentinel_gets_its_own_credentials_and_never_those_of_the_nodes() {
    let deployment = Deployment::builder()
        .password("data-secret")
        .sentinel_config("user app on >sentinel-secret ~* &* +@all")
        .start();
    let mut config = support::config(&deployment);
    config.password = Some("data-secret".into());
    config.sentinel_username = Some("app".into());
    config.sentinel_password = Some("sentinel-secret".into());
    let pool = Pool::connect(config.clone()).await.expect("both are right");
    assert_eq!(write(&pool).await, local(deployment.master().port()));
    eventually("events and answers of all three", LIMIT, || async {
        pool.status().sentinel.reachable == 3
    })
    .await;

    config.sentinel_password = Some("hunter2".into());
    let error = Pool::connect(config).await.expect_err("a wrong password");
    let text = whole_text(&error);
    assert!(matches!(error, Error::NoSentinel { .. }), "{text}");
    assert!(text.contains("WRONGPASS"), "{text}");
    assert!(!text.contains("hunter2"), "{text}");

    let node = master();
    node.set_password(Some("data-secret"));
    let sentinel = sentinel_at(1, node.port());
    sentinel.update(|view| view.password = Some("sentinel-secret".into()));
    let mut config = to(&[&sentinel]);
    config.password = Some("data-secret".into());
    config.sentinel_password = Some("sentinel-secret".into());
    config.db = 3;
    config.client_name = Some("app".into());
    let pool = Pool::connect(config).await.expect("both are right");
    pool.refresh().await.expect("it answers");
    let words = sentinel.commands().concat();
    assert!(words.contains(&"sentinel-secret".to_owned()));
    for word in ["data-secret", "SELECT"] {
        assert!(!words.contains(&word.to_owned()), "{word}");
    }
    assert!(!node.commands().concat().contains(&"sentinel-secret".into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sentinels_that_are_reset_take_nothing_away() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |_| {}).await;
    let before = pool.topology();
    assert_eq!(before.readable().count(), 2);
    let mut topologies = pool.watch();
    topologies.mark_unchanged();
    for sentinel in deployment.sentinels() {
        sentinel.cmd(&["SENTINEL", "RESET", "mymaster"]);
    }
    for _ in 0..20 {
        assert_eq!(write(&pool).await, local(deployment.nodes()[0].port()));
        let topology = pool.refresh().await.expect("they answer");
        assert_eq!(topology.master, before.master);
        assert_eq!(topology.readable().count(), 2, "{topology:?}");
    }
    deployment.wait_healthy(LIMIT);
    assert_eq!(pool.topology().readable().count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_is_removed_and_monitored_anew_elsewhere_is_followed() {
    let deployment = Deployment::start();
    let first = deployment.master().port();
    let pool = support::pool(&deployment, |_| {}).await;
    deployment.failover();
    let second = deployment.wait_for_master_other_than(first, PATIENT).port();
    deployment.wait_healthy(PATIENT);
    eventually("the pool has followed", PATIENT, || async {
        pool.topology().master == Some(local(second)) && pool.topology().epoch > 0
    })
    .await;

    for sentinel in deployment.sentinels() {
        sentinel.cmd(&["SENTINEL", "REMOVE", "mymaster"]);
    }
    eventually("a refresh finds that nobody knows it", PATIENT, || async {
        matches!(pool.refresh().await, Err(Error::UnknownMaster { .. }))
    })
    .await;
    assert_eq!(write(&pool).await, local(second), "the last good one stays");

    // Epochs begin anew at zero.
    deployment.node(first).cmd(&["REPLICAOF", "NO", "ONE"]);
    let port = first.to_string();
    for node in deployment.nodes().iter().filter(|n| n.port() != first) {
        node.cmd(&["REPLICAOF", "127.0.0.1", &port]);
    }
    for sentinel in deployment.sentinels() {
        sentinel.cmd(&["SENTINEL", "MONITOR", "mymaster", "127.0.0.1", &port, "2"]);
    }
    eventually("the pool has moved to the new one", PATIENT, || async {
        pool.topology().master == Some(local(first))
    })
    .await;
    assert_eq!(write(&pool).await, local(first));
    eventually("its replicas are readable", PATIENT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
}
