//! Configurations with which no pool can be connected: the error comes soon and says what to do.

use std::time::Duration;

use redis_rw_pool::{Config, Error, Pool};
use testkit::{Deployment, Server};
use tokio::time::Instant;

use super::{addresses, config, deployment};
use crate::support::{SECOND, local};

/// A connect that must fail: its error, and how long it took.
async fn fails(config: Config) -> (Error, Duration) {
    let began = Instant::now();
    let error = Pool::connect(config).await.expect_err("it is hopeless");
    (error, began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hopeless_fails_at_once_and_names_the_cause() {
    let deployment = Deployment::builder()
        .replicas(1)
        .sentinels(1)
        .password("secret")
        .start();
    let cluster = Server::standalone(&["cluster-enabled yes"]);
    let nodes = || addresses(deployment.nodes());
    let sentinels = || deployment.sentinel_addrs();
    let with_password = |mut config: Config| {
        config.password = Some("secret".into());
        config
    };
    let mut wrong_password = Config::nodes(nodes());
    wrong_password.password = Some("wrong".into());
    let mut wrong_user = wrong_password.clone();
    wrong_user.username = Some("nobody".into());
    let mut unknown_db = with_password(Config::nodes(nodes()));
    unknown_db.db = 99;
    let mut unknown_db_of_sentinels = with_password(Config::new(sentinels(), "mymaster"));
    unknown_db_of_sentinels.db = 99;
    let mut sentinel_with_db = Config::nodes(sentinels());
    sentinel_with_db.db = 3;
    let both = [addresses([&cluster]), nodes()].concat();
    for (config, expected) in [
        (wrong_password, "WRONGPASS"),
        (wrong_user, "WRONGPASS"),
        (Config::nodes(nodes()), "NOAUTH"),
        (unknown_db, "DB index is out of range"),
        (unknown_db_of_sentinels, "DB index is out of range"),
        (
            with_password(Config::new(sentinels(), "other")),
            "\"other\"",
        ),
        (Config::nodes(sentinels()), "this is a Sentinel"),
        (sentinel_with_db, "this is a Sentinel"),
        (Config::new(nodes(), "mymaster"), "not a Sentinel"),
        (config([&cluster]), "cluster mode"),
        (Config::nodes(both), "cluster mode"),
    ] {
        let (error, took) = fails(config).await;
        let text = error.to_string();
        assert!(text.contains(expected), "{expected}: {text}");
        assert!(!error.is_transient(), "{text}");
        assert!(took < SECOND, "{text}: {took:?}");
    }
    // A call of a lazy pool is told the same, and as soon.
    let pool = Pool::connect_lazy(config([&cluster])).unwrap();
    let began = Instant::now();
    for text in [
        pool.write().await.unwrap_err().to_string(),
        pool.connected(super::super::support::LONG)
            .await
            .unwrap_err()
            .to_string(),
    ] {
        assert!(text.contains("cluster mode"), "{text}");
    }
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wrong_node_does_not_keep_the_others_from_being_used() {
    let servers = deployment(0);
    let master = &servers.nodes()[0];
    let stranger = Server::standalone(&["requirepass other"]);
    let cluster = Server::standalone(&["cluster-enabled yes"]);
    let down = Server::standalone(&[]);
    down.kill();
    let pool = Pool::connect(config([&stranger, &cluster, &down, master]))
        .await
        .unwrap();
    let topology = pool.topology();
    assert_eq!(topology.master, Some(local(master.port())));
    assert_eq!(topology.readable().count(), 0);
    let why = |server: &Server| {
        let mut replicas = topology.replicas.iter();
        let replica = replicas.find(|r| r.node == local(server.port())).unwrap();
        replica.excluded.as_ref().unwrap().to_string()
    };
    assert!(why(&stranger).contains("NOAUTH"), "{}", why(&stranger));
    assert!(why(&cluster).contains("cluster mode"), "{}", why(&cluster));
    assert!(why(&down).contains("refused"), "{}", why(&down));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_alone_is_waited_for_and_the_error_names_its_master() {
    let servers = deployment(1);
    let [master, replica] = servers.nodes() else {
        unreachable!()
    };
    let mut config = config([replica]);
    config.connect_timeout = Duration::from_millis(300);
    config.failover_timeout = Duration::from_millis(700);
    let (error, took) = fails(config).await;
    let text = error.to_string();
    assert!(
        matches!(error, Error::NoMaster { .. }) && error.is_transient(),
        "{text}"
    );
    assert!(
        text.contains(&format!("says it is a replica of {}", local(master.port()))),
        "{text}"
    );
    assert!(
        took > Duration::from_millis(600) && took < 5 * SECOND,
        "{took:?}"
    );
}
