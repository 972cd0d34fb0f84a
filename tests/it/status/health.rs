//! What a pool can do, as it changes.

use std::time::Duration;

use redis_rw_pool::{Ability, Config, Error, Need, Pool, ReadFrom};
use testkit::{Server, ports};

use crate::support::{SOON, eventually};

fn config(port: u16) -> Config {
    Config::standalone(format!("127.0.0.1:{port}")).with(|config| {
        config.failover_timeout = Duration::from_millis(700);
        config.connect_timeout = Duration::from_millis(500);
    })
}

#[tokio::test]
async fn a_pool_is_ready_once_it_has_a_master_and_until_callers_get_errors() {
    let port = ports::unused();
    let pool = Pool::connect_lazy(config(port)).unwrap();
    let health = pool.health();
    assert!(
        health.writes.is_unable() && health.reads.is_unable(),
        "{health}"
    );
    assert!(!health.is_ready(Need::Reads), "{health}");
    let error = pool
        .ping(Duration::from_millis(50))
        .await
        .expect_err("there is no server");
    assert!(matches!(error, Error::NoMaster { .. }), "{error:?}");

    let server = Server::standalone(&[]);
    let pool = Pool::connect(config(server.port())).await.unwrap();
    let health = pool.ping(SOON).await.expect("it answers");
    assert_eq!(health, pool.health());
    assert_eq!(health.writes, Ability::Able);
    assert!(
        health.reads.is_able() && health.sentinels.is_able(),
        "{health}"
    );

    server.kill();
    eventually("the loss is known", SOON, || async {
        !pool.health().writes.is_able()
    })
    .await;
    let health = pool.health();
    assert_eq!(
        (health.writes.as_str(), health.reads.as_str()),
        ("waiting", "waiting")
    );
    assert!(health.is_ready(Need::Both), "{health}");
    let error = pool
        .ping(Duration::from_millis(100))
        .await
        .expect_err("it is dead");
    assert!(error.is_timeout(), "{error:?}");
    eventually("patience is over", SOON, || async {
        !pool.health().is_ready(Need::Writes)
    })
    .await;
    let health = pool.health();
    let Ability::Unable { since, why, .. } = &health.writes else {
        panic!("{health}");
    };
    assert!(*since >= Duration::from_millis(700), "{health}");
    assert!(why.contains("cannot be reached"), "{health}");

    server.restart();
    eventually("all is well", SOON, || async {
        pool.health().is_ready(Need::Both)
    })
    .await;
    assert!(pool.ping(SOON).await.expect("it answers").writes.is_able());
    pool.close();
    let health = pool.health();
    assert!(
        !health.is_ready(Need::Reads) && !health.is_ready(Need::Writes),
        "{health}"
    );
    let error = pool.ping(SOON).await.expect_err("it is closed");
    assert!(error.is_closed(), "{error:?}");
}

#[tokio::test]
async fn a_server_that_refuses_pings_is_alive_and_reads_need_their_own_nodes() {
    let server = Server::standalone(&[]);
    server.cmd(&[
        "ACL", "SETUSER", "app", "on", ">secret", "~*", "+@all", "-ping",
    ]);
    let login = |config: &mut Config| {
        config.username = Some("app".to_owned());
        config.password = Some("secret".into());
    };
    let pool = Pool::connect(config(server.port()).with(login))
        .await
        .unwrap();
    pool.ping(SOON).await.expect("it is alive");

    let only_replicas = config(server.port()).with(|config| config.read_from = ReadFrom::Replica);
    let pool = Pool::connect(only_replicas).await.unwrap();
    let health = pool.health();
    assert!(
        health.is_ready(Need::Writes) && !health.is_ready(Need::Both),
        "{health}"
    );
    let error = pool.ping(SOON).await.expect_err("there is no replica");
    assert!(matches!(error, Error::NoReplica { .. }), "{error:?}");
}
