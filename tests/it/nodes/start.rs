//! The start of a pool while there is no master yet.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, Error, Outcome, Pool, outcome};
use testkit::{Deployment, Server, ports};
use tokio::{task::block_in_place, time::Instant};

use super::config;
use crate::support::{self, FAILOVER_LIMIT, LONG, SECOND, alive_tasks, local, tasks_are_back_to};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_connects_while_the_master_is_being_replaced() {
    let deployment = Deployment::start();
    let old = deployment.master().port();
    let mut config = support::config(&deployment);
    config.failover_timeout = FAILOVER_LIMIT;
    block_in_place(|| deployment.node(old).kill());
    let lazy = Pool::connect_lazy(config.clone()).unwrap();
    let began = Instant::now();
    let (pool, found) = tokio::join!(Pool::connect(config), lazy.connected(FAILOVER_LIMIT));
    let pool = pool.expect("there will be a master");
    found.expect("there will be a master");
    println!("connected after {:?}", began.elapsed());
    for pool in [pool, lazy] {
        let () = pool.writer().set("k", 1).await.unwrap();
        assert_ne!(pool.topology().master, Some(local(old)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pool_can_be_made_before_any_server_exists() {
    let server = Server::standalone(&[]);
    server.kill();
    let began = Instant::now();
    let pool = Pool::connect_lazy(config([&server])).unwrap();
    assert!(began.elapsed() < SECOND && pool.topology().master.is_none());
    let error = pool
        .connected(Duration::from_millis(200))
        .await
        .expect_err("it is down");
    let text = error.to_string();
    assert!(
        matches!(error, Error::NoMaster { .. }) && error.is_transient(),
        "{text}"
    );
    assert!(
        text.contains(&server.addr()) && text.contains("refused"),
        "{text}"
    );

    let calls = [
        tokio::spawn({
            let pool = pool.clone();
            async move { pool.writer().set::<_, _, ()>("a", 1).await.is_ok() }
        }),
        tokio::spawn({
            let pool = pool.clone();
            async move { pool.reader().get::<_, Option<i64>>("a").await.is_ok() }
        }),
        tokio::spawn({
            let pool = pool.clone();
            async move { pool.write().await.is_ok() }
        }),
        tokio::spawn({
            let pool = pool.clone();
            async move { pool.read().await.is_ok() }
        }),
    ];
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(calls.iter().all(|call| !call.is_finished()), "they wait");
    block_in_place(|| server.restart());
    pool.connected(Duration::MAX).await.unwrap();
    for call in calls {
        assert!(call.await.unwrap());
    }
    pool.connected(Duration::ZERO).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_before_there_is_a_master_wait_no_longer_than_in_an_outage() {
    let port = ports::take(1)[0];
    let base = alive_tasks();
    for config in [
        Config::standalone(format!("127.0.0.1:{port}")),
        Config::new([format!("127.0.0.1:{port}")], "mymaster"),
    ] {
        let mut config = config;
        config.connect_timeout = Duration::from_millis(300);
        config.failover_timeout = Duration::from_millis(500);
        let pool = Pool::connect_lazy(config.clone()).unwrap();
        let began = Instant::now();
        let (write, read, set) = tokio::join!(pool.write(), pool.read(), async {
            pool.writer().set::<_, _, ()>("k", 1).await
        });
        let waited = began.elapsed();
        assert!(
            waited > Duration::from_millis(450) && waited < 3 * SECOND,
            "{waited:?}"
        );
        for text in [
            write.unwrap_err().to_string(),
            read.unwrap_err().to_string(),
        ] {
            assert!(
                text.contains(&format!("127.0.0.1:{port}: ")) && text.contains("refused"),
                "{text}"
            );
        }
        let error = set.unwrap_err();
        assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");

        let began = Instant::now();
        let error = Pool::connect(config).await.expect_err("nobody is there");
        let waited = began.elapsed();
        assert!(
            error.is_transient() && error.to_string().contains("refused"),
            "{error}"
        );
        assert!(
            waited > Duration::from_millis(450) && waited < 3 * SECOND,
            "{waited:?}"
        );

        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.connected(LONG).await }
        });
        tokio::time::sleep(Duration::from_millis(50)).await;
        pool.close();
        assert!(waiting.await.unwrap().unwrap_err().is_closed());
        pool.closed().await;
        drop(pool);
    }
    tasks_are_back_to(base).await;
}

#[test]
#[should_panic(expected = "must be called from the context of a Tokio")]
fn a_lazy_pool_needs_a_runtime() {
    let _ = Pool::connect_lazy(Config::standalone("127.0.0.1"));
}
