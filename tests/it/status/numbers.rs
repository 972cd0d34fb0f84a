//! The numbers add up, and a master that is lost is visible at once.

use std::time::Duration;

use redis_rw_pool::{
    Config, Discard, Error, Histogram, Outcome, Pool, Status,
    redis::{self, AsyncCommands, RedisResult, cmd},
};
use testkit::{
    Server,
    fake::{self, SentinelView},
};
use tokio::task::JoinSet;

use crate::support::{LONG, SOON, Side, Stage, eventually, local, read_along};

/// Everything that must never go down.
fn counters(status: &Status) -> Vec<u64> {
    let mut counters = Vec::new();
    let times = |histogram: &Histogram| {
        let buckets = histogram.buckets().map(|(_, count)| count);
        buckets
            .chain([u64::try_from(histogram.sum().as_nanos()).unwrap()])
            .collect::<Vec<_>>()
    };
    for pool in [&status.write, &status.read] {
        counters.extend([pool.checkouts, pool.commands, pool.created, pool.wait_count]);
        counters.extend([
            pool.wait_timeouts,
            pool.failures.total(),
            pool.discards.total(),
        ]);
        counters.extend(times(&pool.wait));
        counters.extend(times(&pool.held));
    }
    for shared in [&status.writer, &status.reader] {
        counters.extend([shared.commands, shared.created, shared.discards.total()]);
    }
    counters
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn numbers_only_grow_and_add_up_after_a_burst() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.wait_timeout = Some(Duration::from_millis(300));
        })
        .await;
        let pool = stage.pool.clone();
        let watching = tokio::spawn(async move {
            let mut before = counters(&pool.status());
            loop {
                let now = counters(&pool.status());
                let fell = before.iter().zip(&now).any(|(before, now)| now < before);
                assert!(!fell, "{before:?} and then {now:?}");
                before = now;
                tokio::task::yield_now().await;
            }
        });
        let lent = stage.take_many(4).await;
        for _ in 0..3 {
            let error = stage.checkout().await.expect_err("none comes free");
            assert!(matches!(error, Error::WaitTimeout { .. }), "{error:?}");
        }
        drop(lent);
        let mut callers = JoinSet::new();
        for _ in 0..40 {
            let pool = stage.pool.clone();
            callers.spawn(async move {
                for _ in 0..10 {
                    let mut conn = side.checkout(&pool).await.expect("all are returned soon");
                    cmd("PING").exec_async(&mut conn).await.expect("it serves");
                }
            });
        }
        tokio::time::timeout(LONG, callers.join_all())
            .await
            .expect("it ends");
        assert!(!watching.is_finished(), "a number has fallen");
        watching.abort();

        let status = stage.status();
        assert_eq!(status.checkouts, 404);
        assert_eq!((status.wait_timeouts, status.exhausted), (3, 0));
        assert_eq!(status.wait.count(), status.checkouts + status.wait_timeouts);
        assert!(
            status.wait.sum() >= Duration::from_millis(900),
            "{status:?}"
        );
        assert!(status.wait.sum() >= status.wait_duration, "{status:?}");
        assert_eq!(status.create.count(), status.created);
        assert_eq!((status.commands, status.failures.total()), (400, 0));
        // The first use of each, and every sixteenth after that.
        let samples = status.held.count();
        assert!(
            samples >= 404 / 16 && samples <= 404 / 16 + status.created,
            "{status:?}"
        );
    }
}

#[tokio::test]
async fn each_failure_is_counted_by_what_became_of_the_command() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let pool = &stage.pool;
    let () = pool.writer().set("text", "abc").await.unwrap();
    let wrong = |result: RedisResult<i64>| result.expect_err("it is no list");
    let mut conn = stage.take().await;
    wrong(conn.llen("text").await);
    wrong(conn.incr("text", 1).await);
    wrong(pool.writer().llen("text").await);
    let list: RedisResult<Vec<redis::Value>> = redis::pipe()
        .llen("text")
        .get("text")
        .query_async(&mut pool.writer())
        .await;
    list.expect_err("it is no list");
    let transaction: RedisResult<Vec<redis::Value>> = redis::pipe()
        .atomic()
        .cmd("NO-SUCH-COMMAND")
        .query_async(&mut conn)
        .await;
    transaction.expect_err("there is no such command");
    let refused: RedisResult<Option<String>> = pool.writer().blpop("list", 0.1).await;
    refused.expect_err("it would block the others");

    let (exclusive, shared) = (stage.status(), pool.status().writer);
    let by_outcome = |failures: redis_rw_pool::Failures| {
        [Outcome::NotExecuted, Outcome::Unknown, Outcome::Executed].map(|it| failures.get(it))
    };
    assert_eq!(by_outcome(exclusive.failures), [1, 0, 2]);
    assert_eq!(by_outcome(shared.failures), [1, 0, 2]);
    assert_eq!((exclusive.refused, shared.refused), (0, 1));
    // MULTI, the command, EXEC.
    assert_eq!(exclusive.commands, 2 + 3);
    assert_eq!(shared.commands, 1 + 1 + 2);

    // Lost on their way.
    let mut blocked = pool.write().await.unwrap();
    let waits: RedisResult<Option<String>> =
        tokio::join!(async { blocked.blpop("list", 0.0).await }, async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            stage.server().cmd(&["CLIENT", "KILL", "TYPE", "normal"]);
        })
        .0;
    waits.expect_err("it was cut off");
    assert_eq!(stage.status().failures.get(Outcome::Unknown), 1);
    eventually("the shared connection is counted as lost", SOON, || async {
        pool.status().writer.discards.get(Discard::Broken) == 1
    })
    .await;
    // What it has done stays.
    assert!(pool.status().writer.commands >= 4);
}

async fn on(server: &Server, change: impl FnOnce(&mut Config)) -> (fake::FakeSentinel, Pool) {
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_secs(60);
    change(&mut config);
    let pool = Pool::connect(config).await.expect("the server is there");
    (sentinel, pool)
}

#[tokio::test]
async fn a_lost_master_is_visible_at_once_and_so_is_its_return() {
    let (seen, _guard) = read_along();
    let server = Server::standalone(&[]);
    let (_sentinel, pool) = on(&server, |config| {
        config.failover_timeout = Duration::from_millis(300);
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let before = pool.status().master;
    assert_eq!(before.node, Some(local(server.port())));
    assert!(before.reachable && before.error.is_none(), "{before:?}");
    let () = pool.writer().set("a", 1).await.unwrap();

    server.kill();
    // Nobody uses the pool, and it is not its time to ask.
    eventually("the master is lost", Duration::from_secs(2), || async {
        !pool.status().master.reachable
    })
    .await;
    let lost = pool.status().master;
    assert!(
        lost.error.is_some() && lost.since < before.since + SOON,
        "{lost:?}"
    );
    assert_eq!(lost.node, before.node);
    let text = format!("the master {} is lost; writes wait", local(server.port()));
    assert_eq!(seen.count(&[&text]), 1);

    pool.write().await.expect_err("there is no master");
    let failed: RedisResult<()> = pool.writer().set("a", 1).await;
    failed.expect_err("there is no master");
    let status = pool.status();
    assert_eq!((status.write.no_master, status.write.checkouts), (1, 0));
    assert_eq!(status.write.wait.count(), 1);
    for last in [
        &status.write.last_dial_error,
        &status.writer.last_dial_error,
    ] {
        let last = last.as_ref().expect("its dials failed");
        assert_eq!(last.node, local(server.port()));
        assert!(!last.error.is_empty() && last.ago < LONG, "{last:?}");
    }
    assert!(status.write.dial_failures > 0 && status.writer.dial_failures > 0);
    assert_eq!(status.writer.failures.get(Outcome::NotExecuted), 1);

    server.restart();
    eventually("the master is back", SOON, || async {
        pool.status().master.reachable
    })
    .await;
    let back = pool.status().master;
    assert!(
        back.error.is_none() && back.since < lost.since + LONG,
        "{back:?}"
    );
    let text = format!("the master {} is back", local(server.port()));
    assert_eq!(seen.count(&[&text]), 1);
    assert_eq!(pool.status().master_changes, 0);
}

#[tokio::test]
async fn a_master_that_freezes_is_lost_although_no_sentinel_and_no_closed_connection_says_so() {
    let server = Server::standalone(&[]);
    let (sentinel, pool) = on(&server, |config| {
        config.refresh_interval = Duration::from_millis(300);
        config.connect_timeout = Duration::from_millis(300);
    })
    .await;
    let sdown = format!("master mymaster 127.0.0.1 {}", server.port());
    for doubted in [false, true] {
        server.pause();
        eventually("the master is lost", SOON, || async {
            if doubted {
                // More often than a probe ends.
                sentinel.publish("+sdown", &sdown);
            }
            !pool.status().master.reachable
        })
        .await;
        assert!(!pool.health().writes.is_able(), "{}", pool.health());
        server.resume();
        eventually("the master is back", SOON, || async {
            pool.status().master.reachable
        })
        .await;
    }
}
