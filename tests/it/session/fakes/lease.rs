//! The tests of `session::lease` that need no redis-server.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, Value, pipe};
use redis_rw_pool::{Config, Outcome, Pool, Retry, outcome};
use testkit::fake::{self, Action, FakeServer, NodeRole, SentinelView};
use tokio::time::Instant;

use crate::support::{
    SOON, ask, eventually, failure, local, node_with, run, sentinel_of, watched_by,
};

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const READONLY: &str = "-READONLY You can't write against a read only replica.\r\n";
const ABORT: &str = "-EXECABORT Transaction discarded because of previous errors.\r\n";

/// A pool on a master that refuses `SET` so many times, with these replies one after the other.
async fn refusing(
    times: usize,
    reply: &'static str,
    change: impl FnOnce(&mut Config),
) -> (FakeServer, Pool) {
    let left = AtomicUsize::new(times);
    let node = node_with(move |_, words| {
        let refuses = words[0] == "SET"
            && left
                .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                .is_ok();
        refuses.then(|| Action::reply(reply))
    });
    let pool = pool_of(&node, change).await;
    (node, pool)
}

async fn pool_of(node: &FakeServer, change: impl FnOnce(&mut Config)) -> Pool {
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    change(&mut config);
    Pool::connect(config).await.unwrap()
}

#[tokio::test]
async fn what_a_loading_master_refused_is_sent_again_until_it_is_taken() {
    for times in [1, 4] {
        let (node, pool) = refusing(times, LOADING, |_| {}).await;
        let mut conn = pool.write().await.unwrap();
        let () = conn.set("k", "v").await.unwrap();
        assert_eq!(node.count("SET"), times + 1);
        // Over the same connection, which is as good as any other.
        let () = conn.set("k", "v").await.unwrap();
        drop(conn);
        let status = pool.status().write;
        assert_eq!((status.created, status.idle), (1, 1), "{status:?}");

        let (node, pool) = refusing(times, LOADING, |_| {}).await;
        let () = pool.writer().set("k", "v").await.unwrap();
        assert_eq!(node.count("SET"), times + 1);
        assert_eq!(pool.status().writer.created, 1);
    }
}

#[tokio::test]
async fn when_time_is_up_the_caller_has_the_servers_own_reply() {
    let brief = |config: &mut Config| {
        config.failover_timeout = Duration::from_millis(200);
        config.connect_timeout = Duration::from_millis(200);
    };
    let (_node, pool) = refusing(usize::MAX, LOADING, brief).await;
    let began = Instant::now();
    let error = pool.write().await.unwrap().set("k", "v").await;
    let error: redis::RedisError = RedisResult::<()>::unwrap_err(error);
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    let error = pool.writer().set::<_, _, ()>("k", "v").await.unwrap_err();
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn a_refused_pipeline_is_sent_again_only_as_a_whole() {
    let (node, pool) = refusing(2, LOADING, |_| {}).await;
    let mut pipeline = pipe();
    pipeline.set("a", 1).set("b", 2);
    let mut conn = pool.write().await.unwrap();
    let () = pipeline.query_async(&mut conn).await.unwrap();
    assert_eq!(node.count("SET"), 4);

    let (node, pool) = refusing(1, LOADING, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let refused = pipeline.query_async::<()>(&mut conn).await.unwrap_err();
    assert!(refused.to_string().contains("loading"), "{refused}");
    assert_eq!(node.count("SET"), 2, "the second was executed");
    let () = conn.set("c", 3).await.unwrap();

    let (node, pool) = refusing(1, LOADING, |_| {}).await;
    let refused = pipeline.query_async::<()>(&mut pool.writer()).await;
    assert!(refused.unwrap_err().to_string().contains("loading"));
    assert_eq!(node.count("SET"), 2);
}

#[tokio::test]
async fn a_transaction_that_was_given_up_is_sent_again_but_not_without_its_watch() {
    let start = async || {
        let refused = AtomicBool::new(false);
        let node = node_with(move |_, words| match words[0].as_str() {
            "MULTI" | "WATCH" => Some(Action::reply("+OK\r\n")),
            "SET" if refused.load(SeqCst) => Some(Action::reply("+QUEUED\r\n")),
            "SET" => Some(Action::reply(READONLY)),
            "EXEC" if refused.swap(true, SeqCst) => Some(Action::reply("*1\r\n+OK\r\n")),
            "EXEC" => Some(Action::reply(ABORT)),
            _ => None,
        });
        let pool = pool_of(&node, |_| {}).await;
        (node, pool)
    };
    let mut pipeline = pipe();
    pipeline.atomic().set("k", "v").ignore();
    let (node, pool) = start().await;
    let () = pipeline
        .query_async(&mut pool.write().await.unwrap())
        .await
        .unwrap();
    assert_eq!(node.count("EXEC"), 2);
    let (node, pool) = start().await;
    let () = pipeline.query_async(&mut pool.writer()).await.unwrap();
    assert_eq!(node.count("EXEC"), 2);

    let (node, pool) = start().await;
    let mut conn = pool.write().await.unwrap();
    let _: Value = ask(&mut conn, "WATCH k").await;
    let error = pipeline.query_async::<()>(&mut conn).await.unwrap_err();
    assert!(error.to_string().contains("read only"), "{error}");
    assert_eq!(node.count("EXEC"), 1);
}

#[tokio::test]
async fn other_refusals_are_handed_to_the_caller_at_once() {
    for reply in [
        "-NOREPLICAS Not enough good replicas to write.\r\n",
        "-MISCONF Redis is configured to save RDB snapshots\r\n",
        "-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        "-BUSY Redis is busy running a script.\r\n",
        "-UNBLOCKED force unblock from blocking operation\r\n",
        "-ERR something else\r\n",
    ] {
        let (node, pool) = refusing(2, reply, |_| {}).await;
        let mut conn = pool.write().await.unwrap();
        let error = conn.set::<_, _, ()>("k", "v").await.unwrap_err();
        assert!(reply.contains(error.code().unwrap()), "{error}");
        let error = pool.writer().set::<_, _, ()>("k", "v").await.unwrap_err();
        assert!(reply.contains(error.code().unwrap()), "{error}");
        assert_eq!(node.count("SET"), 2);
        let () = conn.set("k", "v").await.unwrap();
    }
}

#[tokio::test]
async fn a_script_that_was_refused_half_way_is_not_run_again() {
    let node = node_with(|_, words| (words[0] == "EVAL").then(|| Action::reply(READONLY)));
    let pool = pool_of(&node, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    for result in [
        run::<Value>(&mut conn, "EVAL text 0").await,
        run::<Value>(&mut pool.writer(), "EVAL text 0").await,
    ] {
        assert_eq!(result.unwrap_err().code(), Some("READONLY"));
    }
    assert_eq!(node.count("EVAL"), 2);
}

#[tokio::test]
async fn a_write_that_a_demoted_master_refuses_is_executed_by_the_new_one() {
    let old = fake::node(NodeRole::Master);
    let new = fake::node(NodeRole::replica_of(old.port()));
    let sentinel = fake::sentinel(SentinelView::of_master(old.port()).with_replica(new.port()));
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let (mut conn, mut writer) = (pool.write().await.unwrap(), pool.writer());
    let () = conn.set("before", 1).await.unwrap();
    let () = writer.set("before", 1).await.unwrap();
    // The old master is the first to know.
    old.set_role(NodeRole::replica_of(new.port()));
    let (first, second) = (conn.set("a", 1), writer.set("b", 2));
    let told = async {
        eventually("both were refused", SOON, || async {
            old.count("SET") >= 4
        })
        .await;
        new.set_role(NodeRole::Master);
        sentinel.update(|view| {
            *view = SentinelView::of_master(new.port()).with_replica(old.port());
            view.epoch = 1;
        });
        let _ = pool.refresh().await;
    };
    let (first, second, ()): (RedisResult<()>, RedisResult<()>, ()) =
        tokio::join!(first, second, told);
    first.unwrap();
    second.unwrap();
    assert_eq!(conn.node(), local(new.port()));
    assert_eq!(new.count("SET"), 2);
    assert_eq!(old.count("SET"), 4, "each was refused once");
}

#[tokio::test]
async fn a_write_sent_to_a_replica_is_refused_and_costs_nothing() {
    let master = fake::node(NodeRole::Master);
    let replica = fake::node(NodeRole::replica_of(master.port()));
    let view = SentinelView::of_master(master.port()).with_replica(replica.port());
    let sentinel = fake::sentinel(view);
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    for _ in 0..3 {
        let mut conn = pool.read().await.unwrap();
        let error = conn.set::<_, _, ()>("k", "v").await.unwrap_err();
        assert_eq!(error.code(), Some("READONLY"));
        let error = pool.reader().set::<_, _, ()>("k", "v").await.unwrap_err();
        assert_eq!(error.code(), Some("READONLY"));
    }
    assert_eq!(replica.count("SET"), 6);
    assert_eq!(pool.status().read.discards.total(), 0);
    assert_eq!(pool.status().reader.created, 1);
}

/// A pool whose master is being replaced, as its Sentinel says.
async fn fenced(failover_timeout: Duration) -> (fake::FakeNode, fake::FakeSentinel, Pool) {
    let node = fake::node(NodeRole::Master);
    let sentinel = fake::sentinel(SentinelView::of_master(node.port()));
    let mut config = watched_by(&sentinel);
    config.refresh_interval = Duration::from_millis(50);
    config.connect_timeout = failover_timeout;
    config.failover_timeout = failover_timeout;
    config.write.max_active = 2;
    let pool = Pool::connect(config).await.unwrap();
    let () = pool.writer().set("before", 1).await.unwrap();
    let () = pool.write().await.unwrap().set("before", 1).await.unwrap();
    sentinel.update(|view| view.flags = "master,failover_in_progress".to_owned());
    eventually("the fence is up", SOON, || async {
        pool.topology().fence.is_some()
    })
    .await;
    (node, sentinel, pool)
}

#[tokio::test]
async fn a_caller_too_long_behind_the_fence_is_told_why_and_that_nothing_was_executed() {
    let (node, _sentinel, pool) = fenced(Duration::from_millis(500)).await;
    let sets = node.count("SET");
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let (guard, handle) = tokio::join!(
        conn.set::<_, _, ()>("k", "v"),
        writer.set::<_, _, ()>("k", "v")
    );
    for result in [guard, handle] {
        let (error, text) = failure(result);
        assert!(error.is_timeout(), "{text}");
        assert!(text.contains("failover_in_progress"), "{text}");
        assert!(text.contains("was not executed"), "{text}");
        assert!(text.contains(&node.addr()), "{text}");
    }
    assert_eq!(node.count("SET"), sets);
}

#[tokio::test]
async fn retried_work_that_is_too_long_behind_the_fence_was_not_executed() {
    let (node, _sentinel, pool) = fenced(SOON).await;
    let sets = node.count("SET");
    let policy = || Retry::within(Duration::from_millis(300));
    let (guard, handle) = tokio::join!(
        pool.retry_write(policy(), |mut conn| async move {
            conn.set::<_, _, ()>("k", "v").await
        }),
        pool.retry_writer(policy(), |mut writer| async move {
            writer.set::<_, _, ()>("k", "v").await
        })
    );
    for error in [guard.unwrap_err(), handle.unwrap_err()] {
        assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
        assert!(
            error.to_string().contains("failover_in_progress"),
            "{error}"
        );
    }
    assert_eq!(node.count("SET"), sets);
}

#[tokio::test]
async fn when_the_sign_goes_away_guard_and_handle_go_on_at_the_old_master() {
    let (node, sentinel, pool) = fenced(SOON).await;
    let sets = node.count("SET");
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let connections = node.connections().len();
    let lifted = async {
        // Both are known to wait, as far as that can be seen: nothing arrives.
        eventually("the fence stays up for some looks", SOON, || {
            let looks = pool.status().sentinel.refreshes;
            async move { looks > 5 }
        })
        .await;
        assert_eq!(node.count("SET"), sets);
        sentinel.update(|view| view.flags = "master".to_owned());
    };
    let (guard, handle, ()) = tokio::join!(
        conn.set::<_, _, ()>("k", "v"),
        writer.set::<_, _, ()>("k", "v"),
        lifted
    );
    guard.unwrap();
    handle.unwrap();
    assert_eq!(node.count("SET"), sets + 2);
    let carried = node.connections();
    let later = carried[connections..].iter();
    let sets_later = later.flat_map(|conn| conn.commands());
    assert_eq!(
        sets_later.filter(|words| words[0] == "SET").count(),
        0,
        "over the connections that were there"
    );
}

#[tokio::test]
async fn a_caller_behind_the_fence_hears_at_once_that_the_pool_is_closed() {
    let (_node, _sentinel, pool) = fenced(SOON).await;
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    let began = Instant::now();
    let close = async {
        tokio::task::yield_now().await;
        pool.close();
    };
    let (guard, handle, ()) = tokio::join!(
        conn.set::<_, _, ()>("k", "v"),
        writer.set::<_, _, ()>("k", "v"),
        close
    );
    for result in [guard, handle] {
        let (_, text) = failure(result);
        assert!(text.contains("the pool is closed"), "{text}");
    }
    assert!(began.elapsed() < SOON / 2);
}

#[tokio::test]
async fn a_caller_that_waits_for_a_loading_master_hears_that_the_pool_is_closed() {
    let (node, pool) = refusing(usize::MAX, LOADING, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let began = Instant::now();
    let close = async {
        eventually("it was refused", SOON, || async { node.count("SET") > 0 }).await;
        pool.close();
    };
    let (set, ()) = tokio::join!(conn.set::<_, _, ()>("k", "v"), close);
    assert_eq!(set.unwrap_err().code(), Some("LOADING"));
    assert!(began.elapsed() < SOON / 2);
}

#[tokio::test]
async fn a_write_that_was_sent_is_never_sent_again() {
    let node = node_with(|_, words| (words[0] == "SET").then_some(Action::Reset));
    let pool = pool_of(&node, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let mut pipeline = pipe();
    pipeline.cmd("ECHO").arg("a").set("k", "v").ignore();
    let mut atomic = pipeline.clone();
    atomic.atomic();
    let mut sent = 0;
    for _ in 0..3 {
        let mut results = vec![conn.set::<_, _, ()>("k", "v").await];
        results.push(pool.writer().set::<_, _, ()>("k", "v").await);
        for pipeline in [&pipeline, &atomic] {
            results.push(pipeline.query_async::<()>(&mut conn).await);
            results.push(pipeline.query_async::<()>(&mut pool.writer()).await);
        }
        sent += results.len();
        for result in results {
            let (_, text) = failure(result);
            assert!(text.contains("the outcome is unknown"), "{text}");
        }
        assert_eq!(node.count("SET"), sent);
        // And the same guard goes on.
        assert_eq!(ask::<String>(&mut conn, "ECHO next").await, "next");
    }
}
