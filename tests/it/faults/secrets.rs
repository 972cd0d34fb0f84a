//! Secrets: whatever fails, they show in no text, no log and no panic.

use std::{sync::Arc, time::Duration};

use redis::{AsyncCommands, RedisResult, Value, aio::ConnectionLike};
use redis_rw_pool::{Config, Pool, Retry};
use testkit::Deployment;
use tokio::task::spawn_blocking;

use crate::support::{self, FAILOVER_LIMIT, Seen, eventually, read_along};

/// Part of every secret here; nothing else has it.
pub(super) const CANARY: &str = "canary";
pub(super) const NODE_SECRET: &str = "canary-of-the-nodes";
pub(super) const SENTINEL_SECRET: &str = "canary-of-the-sentinels";
pub(super) const STORED: &str = "canary-in-redis";

pub(super) const SHORT: Duration = Duration::from_millis(300);

/// One command after another with a secret in it.
async fn commands(seen: &Seen, conn: &mut impl ConnectionLike, lines: &[&[&str]]) {
    for words in lines {
        let mut cmd = redis::Cmd::new();
        words.iter().for_each(|word| {
            cmd.arg(word);
        });
        seen.failure(cmd.query_async::<Value>(conn).await);
    }
}

pub(super) fn with_secrets(config: &mut Config) {
    config.password = Some(NODE_SECRET.into());
    config.sentinel_password = Some(SENTINEL_SECRET.into());
    config.connect_timeout = Duration::from_secs(5);
    config.failover_timeout = FAILOVER_LIMIT;
    config.command_timeout = Some(Duration::from_secs(1));
    config.write.wait_timeout = Some(Duration::from_secs(1));
}

#[tokio::test]
async fn wrong_passwords_and_broken_urls_are_not_repeated() {
    let (seen, _guard) = read_along();
    let deployment = spawn_blocking(|| {
        let builder = Deployment::builder().replicas(0).sentinels(1);
        let builder = builder.password("the right one");
        builder.sentinel_password("another right one").start()
    });
    let deployment = deployment.await.unwrap();
    let sentinels = deployment.sentinel_addrs().join(",");
    let url = |password: &str, sentinel_password: &str| {
        let master_name = deployment.master_name();
        format!(
            "redis-sentinel://:{password}@{sentinels}?sentinel_password={sentinel_password}#{master_name}"
        )
    };
    // One wrong at the node, one at the Sentinel, and both.
    for url in [
        url(NODE_SECRET, "another%20right%20one"),
        url("the%20right%20one", SENTINEL_SECRET),
        url(NODE_SECRET, SENTINEL_SECRET),
    ] {
        let config = Config::from_url(&url).unwrap();
        seen.debug(&config);
        seen.refusal(Pool::connect(config).await);
    }
    let mut broken = vec![
        format!("redis-sentinel://:{NODE_SECRET}@h:99999#m"),
        format!("redis-sentinel://:{NODE_SECRET}@h?sentinel_password={SENTINEL_SECRET}&no=1#m"),
        format!("redis-sentinel://:{NODE_SECRET}%ZZ@h#m"),
        format!("redis://:{NODE_SECRET}@h#m"),
    ];
    broken.push(format!("redis-sentinel://:{NODE_SECRET}@h"));
    for url in broken {
        seen.error(&Config::from_url(&url).unwrap_err());
    }
    let config = Config::from_url(&url(NODE_SECRET, SENTINEL_SECRET)).unwrap();
    // Outside of a runtime there is nothing but to panic.
    let outside = std::thread::spawn(move || {
        let mut connect = Box::pin(Pool::connect(config));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = connect.as_mut().poll(&mut context);
    });
    outside.join().expect_err("it has to panic");
    assert!(seen.contains("there is no reactor"), "the panic was read");
    seen.assert_hidden(CANARY);
}

#[tokio::test]
async fn a_failover_and_all_that_fails_in_it_give_nothing_away() {
    let (seen, _guard) = read_along();
    let deployment = spawn_blocking(|| {
        let builder = Deployment::builder().replicas(2).sentinels(3);
        builder
            .password(NODE_SECRET)
            .sentinel_password(SENTINEL_SECRET)
            .start()
    });
    let deployment = Arc::new(deployment.await.unwrap());
    let mut config = support::config(&deployment);
    with_secrets(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let () = conn.set(STORED, STORED).await.unwrap();
    let () = conn.rpush("list", STORED).await.unwrap();
    let mut lines: Vec<&[&str]> = vec![
        &["RPUSH", STORED, STORED],
        &["EXPIRE", STORED, STORED],
        &["SET", STORED],
    ];
    if testkit::provides("a CONFIG SET that does not repeat its arguments", (7, 0)) {
        lines.push(&["CONFIG", "SET", "maxmemory", STORED]);
    }
    commands(&seen, &mut conn, &lines).await;
    commands(&seen, &mut writer, &lines).await;
    let refused: [&[&str]; 3] = [
        &["BLPOP", STORED, "0"],
        &["AUTH", STORED],
        &["SUBSCRIBE", STORED],
    ];
    commands(&seen, &mut writer, &refused).await;
    commands(&seen, &mut conn, &[&["MONITOR", STORED]]).await;
    let mut reader = pool.read().await.unwrap();
    commands(&seen, &mut reader, &[&["SET", STORED, STORED]]).await;
    let mut pipeline = redis::pipe();
    pipeline.rpush(STORED, STORED).set(STORED, STORED);
    seen.failure(pipeline.query_async::<Value>(&mut conn).await);
    pipeline.atomic().cmd("SET").arg(STORED);
    seen.failure(pipeline.query_async::<Value>(&mut writer).await);

    // A command that is on its way when the master dies, and those that wait for the next one.
    let old = deployment.master().port();
    let blocked = tokio::spawn(async move { conn.blpop::<_, Value>(STORED, 0.0).await });
    let killer = Arc::clone(&deployment);
    let save = pool.retry_write(Retry::within(FAILOVER_LIMIT), |mut conn| async move {
        conn.set::<_, _, ()>(STORED, STORED).await
    });
    let killed = spawn_blocking(move || killer.node(old).kill());
    let (saved, killed) = tokio::join!(save, killed);
    saved.unwrap();
    killed.unwrap();
    seen.failure(blocked.await.unwrap());
    eventually("the pool follows", FAILOVER_LIMIT, || async {
        let master = pool.topology().master.clone();
        master.is_some_and(|master| master.port() != old)
    })
    .await;
    seen.failure(
        pool.retry_write(Retry::within(SHORT), |conn| async move {
            let _held = conn;
            std::future::pending::<RedisResult<()>>().await
        })
        .await,
    );

    // And one that freezes; what is not lost in it goes to the next.
    let conn = &mut pool.write().await.unwrap();
    let new = conn.node().port();
    deployment.node(new).pause();
    let lost: RedisResult<()> = conn.set(STORED, STORED).await;
    seen.failure(lost);
    let either: RedisResult<()> = writer.set(STORED, STORED).await;
    if let Err(error) = either {
        seen.error(&error);
    }
    deployment.node(new).resume();
    seen.debug(conn);
    seen.debug(&(&pool, &writer, &reader, pool.topology(), pool.status()));
    pool.close();
    seen.refusal(pool.write().await);
    commands(&seen, &mut writer, &[&["SET", STORED, STORED]]).await;
    assert!(seen.contains("the master changed"), "the log was read");
    seen.assert_hidden(CANARY);
}
