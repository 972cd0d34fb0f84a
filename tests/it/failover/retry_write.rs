//! `Pool::retry_write` and `retry_writer`: work that may be done twice is done again until it succeeds.

use std::{
    error::Error,
    future::pending,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, RedisError, RedisResult};
use redis_rw_pool::{Config, Outcome, Pool, Retry, outcome};
use testkit::{Deployment, Server, fake::FakeSentinel};
use tokio::{
    task::{JoinSet, block_in_place},
    time::Instant,
};

use crate::support::{
    self, FAILOVER_LIMIT, SOON, eventually, poll_then_drop, sentinel_of, watched_by,
};

const SHORT: Duration = Duration::from_millis(300);

async fn alone(change: impl FnOnce(&mut Config)) -> (Server, FakeSentinel, Pool) {
    let server = block_in_place(|| Server::standalone(&[]));
    let sentinel = sentinel_of(server.port());
    let mut config = watched_by(&sentinel);
    change(&mut config);
    let pool = Pool::connect(config).await.expect("it is healthy");
    (server, sentinel, pool)
}

async fn set(pool: &Pool, policy: Retry, key: &str) -> RedisResult<()> {
    let work = |mut conn: redis_rw_pool::Connection| async move { conn.set(key, "v").await };
    pool.retry_write(policy, work).await
}

async fn set_shared(pool: &Pool, policy: Retry, key: &str) -> RedisResult<()> {
    let work = |mut writer: redis_rw_pool::Multiplexed| async move { writer.set(key, "v").await };
    pool.retry_writer(policy, work).await
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_notice_that_the_master_was_killed() {
    let deployment = block_in_place(|| Deployment::builder().replicas(2).sentinels(3).start());
    let pool = support::pool(&deployment, |config| {
        config.command_timeout = Some(Duration::from_secs(1));
    })
    .await;
    let (stop, written) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (pool, stop, written) = (pool.clone(), Arc::clone(&stop), Arc::clone(&written));
        writers.spawn(async move {
            while !stop.load(SeqCst) {
                let (policy, key) = (Retry::within(FAILOVER_LIMIT), format!("key:{writer}"));
                if writer % 2 == 0 {
                    set(&pool, policy, &key).await?;
                } else {
                    set_shared(&pool, policy, &key).await?;
                }
                written.fetch_add(1, SeqCst);
            }
            RedisResult::Ok(())
        });
    }
    let go_on = async || {
        let wanted = written.load(SeqCst) + 500;
        eventually("writes succeed", FAILOVER_LIMIT, || async {
            written.load(SeqCst) >= wanted
        })
        .await;
    };
    go_on().await;
    let old = deployment.master().port();
    block_in_place(|| deployment.node(old).kill());
    go_on().await;
    let new = block_in_place(|| {
        deployment
            .wait_for_master_other_than(old, FAILOVER_LIMIT)
            .port()
    });
    stop.store(true, SeqCst);
    while let Some(writer) = writers.join_next().await {
        assert_eq!(writer.expect("no caller panics"), Ok(()));
    }
    for writer in 0..8 {
        let exists = deployment
            .node(new)
            .cmd(&["EXISTS", &format!("key:{writer}")]);
        assert_eq!(exists.as_int(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_answered_is_not_asked_again() {
    let (server, _sentinel, pool) = alone(|_| {}).await;
    block_in_place(|| server.cmd(&["RPUSH", "list", "a"]));
    let attempts = AtomicUsize::new(0);
    let result: RedisResult<i64> = pool
        .retry_write(Retry::default(), |mut conn| {
            attempts.fetch_add(1, SeqCst);
            async move { conn.incr("list", 1).await }
        })
        .await;
    assert_eq!(outcome(&result.unwrap_err()), Outcome::Executed);
    assert_eq!(attempts.load(SeqCst), 1);
    let result: RedisResult<i64> = pool
        .retry_writer(Retry::default(), |mut writer| {
            attempts.fetch_add(1, SeqCst);
            async move { writer.incr("list", 1).await }
        })
        .await;
    assert_eq!(outcome(&result.unwrap_err()), Outcome::Executed);
    assert_eq!(attempts.load(SeqCst), 2);
}

#[derive(Debug, thiserror::Error)]
enum AppError {
    #[error("no connection")]
    Pool(#[from] redis_rw_pool::Error),
    #[error("Redis failed")]
    Redis(#[from] RedisError),
    #[error("there is no such user")]
    NoUser,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_caller_s_own_ends_it_and_the_cause_inside_of_one_does_not() {
    let (server, _sentinel, pool) = alone(|_| {}).await;
    let attempts = AtomicUsize::new(0);
    let result = pool.retry_write(Retry::default(), |mut conn| {
        attempts.fetch_add(1, SeqCst);
        async move {
            if conn.exists("user").await? {
                return Ok(());
            }
            Err(AppError::NoUser)
        }
    });
    assert!(matches!(result.await, Err(AppError::NoUser)));
    assert_eq!(attempts.load(SeqCst), 1);

    // Full, for two attempts of each.
    let (refused, server) = (&AtomicUsize::new(0), &server);
    let after = async |result: RedisResult<()>| {
        if result.is_err() && refused.fetch_add(1, SeqCst) % 2 == 1 {
            block_in_place(|| server.cmd(&["CONFIG", "SET", "maxmemory", "0"]));
        }
        result
    };
    let after = &after;
    block_in_place(|| server.cmd(&["CONFIG", "SET", "maxmemory", "1"]));
    let result = pool.retry_write(Retry::default(), |mut conn| async move {
        after(conn.set("k", "v").await).await?;
        Ok::<_, AppError>(())
    });
    assert!(result.await.is_ok());
    block_in_place(|| server.cmd(&["CONFIG", "SET", "maxmemory", "1"]));
    let result = pool.retry_writer(Retry::default(), |mut writer| async move {
        after(writer.set("k", "v").await).await?;
        Ok::<_, Box<dyn Error + Send + Sync>>(())
    });
    assert!(result.await.is_ok());
    assert_eq!(refused.load(SeqCst), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_attempt_can_mend_is_told_at_once() {
    let (_server, _sentinel, pool) = alone(|_| {}).await;
    let attempts = AtomicUsize::new(0);
    let patient = || Retry::within(FAILOVER_LIMIT);
    let result: RedisResult<()> = pool
        .retry_write(patient(), |mut conn| {
            attempts.fetch_add(1, SeqCst);
            async move { redis::cmd("NOSUCHCOMMAND").query_async(&mut conn).await }
        })
        .await;
    assert_eq!(outcome(&result.unwrap_err()), Outcome::NotExecuted);
    assert_eq!(attempts.load(SeqCst), 1);
    pool.close();
    let told = tokio::time::timeout(SOON, set(&pool, patient(), "k")).await;
    let error = told.expect("it is told at once").unwrap_err();
    assert_eq!(error.to_string(), "the pool is closed");
    let told = tokio::time::timeout(SOON, set_shared(&pool, patient(), "k")).await;
    let error = told.expect("it is told at once").unwrap_err();
    assert_eq!(error.to_string(), "the pool is closed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_hinders_it_may_pass() {
    let (server, _sentinel, pool) = alone(|config| {
        config.failover_timeout = SHORT;
        config.write.wait_timeout = Some(Duration::ZERO);
    })
    .await;
    // The only connection is lent.
    let guard = pool.write().await.unwrap();
    let mut waiting = Box::pin(set(&pool, Retry::within(FAILOVER_LIMIT), "first"));
    assert_eq!(poll_then_drop(&mut waiting, 3).await, None);
    drop(guard);
    assert_eq!(waiting.await, Ok(()));

    block_in_place(|| server.cmd(&["CONFIG", "SET", "maxmemory", "1"]));
    let refused = AtomicUsize::new(0);
    let full = pool.retry_write(Retry::within(FAILOVER_LIMIT), |mut conn| {
        let (refused, server) = (&refused, &server);
        async move {
            let result: RedisResult<()> = conn.set("second", "v").await;
            if result.is_err() && refused.fetch_add(1, SeqCst) == 2 {
                block_in_place(|| server.cmd(&["CONFIG", "SET", "maxmemory", "0"]));
            }
            result
        }
    });
    assert_eq!(full.await, Ok(()));
    assert_eq!(refused.load(SeqCst), 3);
    for key in ["first", "second"] {
        assert_eq!(block_in_place(|| server.cmd(&["EXISTS", key])).as_int(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_master_costs_no_more_than_the_deadline() {
    let (server, _sentinel, pool) = alone(|config| config.command_timeout = Some(SHORT)).await;
    drop(pool.write().await.unwrap());
    server.pause();
    let began = Instant::now();
    let error = set(&pool, Retry::within(4 * SHORT), "k").await.unwrap_err();
    // A dial alone could take that long.
    assert!(began.elapsed() < SOON, "{error}");
    // The first attempt's, since the others, which found no connection, do not undo it.
    let text = error.to_string();
    assert!(
        text.contains("no complete reply within 300ms; the outcome is unknown"),
        "{text}"
    );
    assert_eq!(outcome(&error), Outcome::Unknown);

    let error = set(&pool, Retry::within(SHORT), "k").await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert!(began.elapsed() < SOON, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_master_costs_a_handle_no_more_than_the_deadline() {
    let (server, _sentinel, pool) = alone(|config| config.command_timeout = Some(SHORT)).await;
    assert_eq!(set_shared(&pool, Retry::default(), "k").await, Ok(()));
    server.pause();
    let began = Instant::now();
    let policy = || Retry::within(4 * SHORT);
    let error = set_shared(&pool, policy(), "k").await.unwrap_err();
    let text = error.to_string();
    assert_eq!(outcome(&error), Outcome::Unknown, "{text}");
    assert!(text.contains("the outcome is unknown"), "{text}");
    // The connection is lost by now, and no other can be had: nothing is sent.
    let error = set_shared(&pool, policy(), "k").await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert!(
        matches!(redis_rw_pool::Error::of(&error), Some(error) if error.is_timeout()),
        "{error:?}"
    );
    assert!(began.elapsed() < SOON, "{error}");
    server.resume();
    let policy = Retry::within(FAILOVER_LIMIT);
    assert_eq!(set_shared(&pool, policy, "k").await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn work_that_the_deadline_cuts_short_is_unknown() {
    let (_server, _sentinel, pool) = alone(|_| {}).await;
    let result: RedisResult<()> = pool
        .retry_write(Retry::within(SHORT), |conn| async move {
            let _held = conn;
            pending().await
        })
        .await;
    let error = result.unwrap_err();
    assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
    assert_eq!(set(&pool, Retry::default(), "k").await, Ok(()));
    let result: RedisResult<()> = pool.retry_writer(Retry::within(SHORT), |_| pending()).await;
    let error = result.unwrap_err();
    assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_it_gives_back_what_it_holds() {
    let (_server, _sentinel, pool) = alone(|_| {}).await;
    for polls in 1..20 {
        let write = set(&pool, Retry::default(), "k");
        let _cut = poll_then_drop(write, polls).await;
        eventually("nobody waits and nothing is lent", SOON, || async {
            let status = pool.status().write;
            (status.waiting, status.active - status.idle) == (0, 0)
        })
        .await;
    }
    assert_eq!(set(&pool, Retry::default(), "k").await, Ok(()));
}
