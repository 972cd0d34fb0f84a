//! Deployments that have little: one node, an older protocol.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, Error, Freshness, Pool, Protocol, ReadFrom, SessionState};
use testkit::Server;
use tokio::task::block_in_place;

use super::{follow, freshness, get, in_step, only_replicas, pool_on};
use crate::support::{LONG, patient};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plain_redis_is_as_fresh_as_can_be() {
    let server = Server::standalone(&[]);
    for (protocol, read_from) in [
        (Protocol::Resp3, ReadFrom::ReplicaPreferred),
        (Protocol::Resp2, ReadFrom::Any),
    ] {
        let mut config = Config::standalone(server.addr());
        patient(&mut config);
        config.protocol = protocol;
        config.read_from = read_from;
        let pool = Pool::connect(config).await.unwrap();
        let session = pool.session().monotonic(true);
        for value in 0..20 {
            let () = session.writer().set("k", value).await.unwrap();
            assert_eq!(get(session.reader(), "k").await, Some(value));
            let token = pool.token().await.unwrap();
            for freshness in [
                Freshness::After(token),
                Freshness::Within(Duration::ZERO),
                Freshness::Within(LONG),
                Freshness::Master,
            ] {
                let reader = pool.reader().with(freshness);
                assert_eq!(get(reader, "k").await, Some(value));
            }
        }
        assert_eq!(session.state(), SessionState::Consistent);
        let status = freshness(&pool);
        assert_eq!((status.thrown_away, status.waited), (0, 0), "{status:?}");
        let token = session.token().unwrap();
        let short = Duration::from_millis(50);
        let error = pool
            .confirm(&token, 1, short)
            .await
            .expect_err("no replica");
        assert!(
            matches!(error, Error::TooFewCopies { have: 0, .. }),
            "{error}"
        );
        let odd = format!("1.{}.5.0", "a".repeat(40));
        let odd = pool.session().resume(&odd);
        assert_eq!(get(odd.reader(), "k").await, Some(19));
        assert_eq!(odd.state(), SessionState::Unknown);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_replica_begins_another_history_and_a_session_goes_on() {
    let master = Server::standalone(&[]);
    let replica = Server::standalone(&[]);
    let alone = pool_on(std::slice::from_ref(&master), |_| ()).await;
    let session = alone.session();
    let () = session.writer().set("k", 1).await.unwrap();
    assert_eq!(get(session.reader(), "k").await, Some(1));
    // Without replicas a master counts nothing, and with the first one it begins anew.
    let token = session.token().unwrap();
    follow(&replica, &master);
    block_in_place(|| in_step(&master, 1));
    assert_eq!(get(session.reader(), "k").await, Some(1));
    assert_eq!(session.state(), SessionState::Unknown);
    let servers = [master, replica];
    let pool = pool_on(&servers, only_replicas).await;
    let session = pool.session().after(&token);
    assert_eq!(get(session.reader(), "k").await, Some(1));
    for value in 2..30 {
        let () = session.writer().set("k", value).await.unwrap();
        assert_eq!(get(session.reader(), "k").await, Some(value));
    }
    let status = freshness(&pool);
    assert_eq!((status.proven, status.from_master), (29, 0), "{status:?}");
}
