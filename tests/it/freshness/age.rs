//! Reads that are not older than an age.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Error, Freshness, Otherwise, ReadFrom};
use tokio::time::{Instant, sleep};

use super::{
    freshness, get, hold, in_step, meets_stale, only_replicas, pool_on, put, release, trio,
};
use crate::support::{LONG, SOON, chain, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_d_nothing_older_is_read() {
    let servers = trio();
    let [master, slow, quick] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let age = Duration::from_millis(50);
    put(master, "k", 0);
    in_step(master, 2);
    let mut acknowledged = vec![(Instant::now(), 0)];
    for value in 1..=60 {
        match value {
            10 => hold(slow),
            20 => hold(quick),
            40 => release(slow),
            50 => release(quick),
            _ => {}
        }
        put(master, "k", value);
        acknowledged.push((Instant::now(), value));
        sleep(Duration::from_millis(10)).await;
        let called = Instant::now();
        let seen = get(pool.reader().within(age), "k").await.unwrap();
        let old = acknowledged.iter().rev().find(|(at, _)| called - *at > age);
        let (_, least) = old.copied().unwrap_or((called, 0));
        assert!(seen >= least, "{seen} is older than {age:?}: {least}");
        if value == 39 {
            meets_stale(&pool, "k", Some(39)).await;
        }
    }
    let status = freshness(&pool);
    assert_eq!(status.proven, 60, "{status:?}");
    assert!(
        status.thrown_away > 0 && status.from_master > 0,
        "{status:?}"
    );
    in_step(master, 2);
    let lags = || async {
        let _ = get(pool.reader().within(age), "k").await;
        let nodes = freshness(&pool).nodes;
        nodes.len() == 3
            && nodes
                .iter()
                .all(|lag| lag.bytes.is_some() && lag.time.is_some())
    };
    eventually("every node's lag is known", LONG, lags).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_serve_what_may_be_a_little_old() {
    let servers = trio();
    let pool = pool_on(servers.nodes(), only_replicas).await;
    let () = pool.writer().set("k", 1).await.unwrap();
    let token = pool.token().await.unwrap();
    pool.confirm(&token, 2, LONG).await.unwrap();
    for _ in 0..200 {
        assert_eq!(get(pool.reader().within(LONG), "k").await, Some(1));
        // Less than ten milliseconds counts as ten.
        let at_once = Freshness::Within(Duration::ZERO);
        assert_eq!(get(pool.reader().with(at_once), "k").await, Some(1));
    }
    let status = freshness(&pool);
    assert_eq!((status.proven, status.from_master), (400, 0), "{status:?}");
    assert_eq!(super::calls(&servers.nodes()[0], "get"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_master_no_age_can_be_proven() {
    let servers = trio();
    let [master, ..] = servers.nodes() else {
        unreachable!()
    };
    let short = Duration::from_millis(300);
    let age = Duration::from_millis(100);
    let pool = pool_on(servers.nodes(), |config| {
        config.command_timeout = Some(short)
    })
    .await;
    let stale = pool_on(servers.nodes(), |config| {
        config.command_timeout = Some(short);
        config.freshness.otherwise = Otherwise::Stale;
        config.read_from = ReadFrom::Replica;
    })
    .await;
    let () = pool.writer().set("k", 1).await.unwrap();
    in_step(master, 2);
    let is_sampled = || async {
        assert_eq!(get(pool.reader().within(age), "k").await, Some(1));
        freshness(&pool).nodes.iter().any(|lag| lag.time.is_some())
    };
    eventually("the master is asked again and again", LONG, is_sampled).await;
    tokio::task::block_in_place(|| master.kill());
    let lost = || async { pool.topology().master_error.is_some() };
    eventually("the loss is noticed", SOON, lost).await;
    let mut text = String::new();
    let fails = || async {
        let read: redis::RedisResult<i64> = pool.reader().within(age).get("k").await;
        read.map_err(|error| {
            (
                matches!(
                    Error::of(&error),
                    Some(Error::NoMaster { .. } | Error::Stale { .. })
                ),
                chain(&error),
            )
        })
    };
    let deadline = Instant::now() + SOON;
    while Instant::now() < deadline {
        if let Err((is_ours, error)) = fails().await {
            assert!(is_ours, "{error}");
            text = error;
            break;
        }
    }
    assert!(!text.is_empty(), "nothing can be proven any more");
    let mut reader = stale.reader().within(age);
    let seen: Option<i64> = reader.get("k").await.unwrap();
    assert_eq!((seen, reader.last_read_was_stale()), (Some(1), true));
    // A longer age is still served by what was known before.
    assert_eq!(get(pool.reader().within(LONG), "k").await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_max_staleness_no_read_sees_anything_older_unless_it_says_so() {
    let servers = trio();
    let [master, held, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.max_staleness = Some(Duration::from_secs(1));
    })
    .await;
    put(master, "k", 0);
    in_step(master, 2);
    let session = pool.session();
    let () = session.writer().set("own", 1).await.unwrap();
    in_step(master, 2);
    hold(held);
    put(master, "k", 1);
    sleep(Duration::from_millis(1100)).await;
    for _ in 0..20 {
        assert_eq!(get(pool.reader(), "k").await, Some(1));
        let mut conn = pool.read().await.unwrap();
        assert_eq!(conn.get::<_, i64>("k").await.unwrap(), 1);
        // It has not written, and goes on with nothing.
        assert_eq!(get(pool.session().reader(), "k").await, Some(1));
        // Both replicas have what this one has written.
        assert_eq!(get(session.reader(), "k").await, Some(1));
        let mut conn = session.read().await.unwrap();
        assert_eq!(conn.get::<_, i64>("k").await.unwrap(), 1);
    }
    eventually("a read that asks for nothing is stale", LONG, || async {
        get(pool.reader().with(Freshness::Any), "k").await == Some(0)
    })
    .await;
    eventually("so is one over a connection of its own", LONG, || async {
        let mut conn = pool.read_with(Freshness::Any).await.unwrap();
        conn.get::<_, i64>("k").await.unwrap() == 0
    })
    .await;
    // A read after a token has that instead.
    let token = session.token().unwrap();
    eventually("an old token is no younger", LONG, || async {
        get(pool.reader().after(&token), "k").await == Some(0)
    })
    .await;
}
