//! A node that refuses to serve for now, or goes away with a read on hand: who waits, how long, at
//! what pace, and what is known in the end.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, Value, aio::ConnectionLike, pipe};
use redis_rw_pool::{Config, Outcome, Pool, ReadFrom, Retry, outcome};
use testkit::fake::{self, Action, FakeSentinel, FakeServer, NodeRole, SentinelView};
use tokio::{task::JoinSet, time::Instant};

use crate::support::{
    SOON, ask, eventually, failure, local, node_with, run, sentinel_of, watched_by,
};

const LOADING: &str = "-LOADING Redis is loading the dataset in memory\r\n";
const REDIRECT: &str = "-REDIRECT 127.0.0.1:6380\r\n";
const SHORT: Duration = Duration::from_millis(300);

/// A master that refuses every `SET` and `GET` for as long as it is told to.
struct Loading {
    node: FakeServer,
    sentinel: FakeSentinel,
    loads: Arc<AtomicBool>,
    pool: Pool,
}

impl Loading {
    /// Each refusal comes after this time.
    async fn start(delay: Duration, change: impl FnOnce(&mut Config)) -> Self {
        let loads = Arc::new(AtomicBool::new(true));
        let node = node_with({
            let loads = Arc::clone(&loads);
            move |_, words| match words[0].as_str() {
                "SET" | "GET" if loads.load(SeqCst) => Some(Action::Delay {
                    bytes: LOADING.into(),
                    after: delay,
                }),
                "GET" => Some(Action::reply("$5\r\nvalue\r\n")),
                _ => None,
            }
        });
        let sentinel = sentinel_of(node.port());
        let mut config = watched_by(&sentinel);
        config.write.max_active = 4;
        change(&mut config);
        Self {
            pool: Pool::connect(config).await.unwrap(),
            node,
            sentinel,
            loads,
        }
    }
}

/// One command or pipeline, which may be done again and again.
async fn call(conn: &mut impl ConnectionLike, what: &str) -> RedisResult<Value> {
    let mut pipeline = pipe();
    pipeline.cmd("GET").arg("a").cmd("GET").arg("b");
    match what {
        "pipeline" => pipeline.query_async(conn).await,
        line => run(conn, line).await,
    }
}

/// What a caller who is refused all the time hears in the end.
fn is_told(what: &str, result: RedisResult<Value>, began: Instant, patience: Duration) {
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    // The error of a plain pipeline does not tell whether all of it was refused.
    let expected = match what {
        "pipeline" => Outcome::Executed,
        _ => Outcome::NotExecuted,
    };
    assert_eq!(outcome(&error), expected, "{error}");
    let took = began.elapsed();
    assert!(took >= patience, "{took:?}");
    assert!(took < patience * 2, "{took:?}");
}

/// Sends these by every way there is to a master that refuses them for longer than anybody waits.
/// All attempts together take longer than a command may, and none of them does.
async fn refused_all_the_time(calls: &'static [&'static str], ways: usize) {
    const PATIENCE: Duration = Duration::from_secs(2);
    let change = |config: &mut Config| {
        config.command_timeout = Some(Duration::from_millis(500));
        config.failover_timeout = PATIENCE;
        config.connect_timeout = PATIENCE;
        config.read_from = ReadFrom::Master;
    };
    let loading = Loading::start(Duration::from_millis(120), change).await;
    let mut callers = JoinSet::new();
    for &what in calls {
        for way in 0..ways {
            let pool = loading.pool.clone();
            callers.spawn(async move {
                let began = Instant::now();
                let result = match way {
                    0 => call(&mut pool.writer(), what).await,
                    1 => call(&mut pool.write().await.unwrap(), what).await,
                    2 => call(&mut pool.reader(), what).await,
                    _ => call(&mut pool.read().await.unwrap(), what).await,
                };
                is_told(what, result, began, PATIENCE);
            });
        }
    }
    while let Some(ended) = callers.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_a_write_was_refused_is_no_silence() {
    refused_all_the_time(&["SET k v"], 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn time_in_which_a_read_was_refused_is_no_silence() {
    refused_all_the_time(&["GET k", "pipeline"], 4).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_loading_master_is_asked_by_one_caller_at_a_time_over_the_connections_there_are() {
    const LOADS: Duration = Duration::from_secs(3);
    let loading = Loading::start(Duration::ZERO, |_| {}).await;
    let pool = &loading.pool;
    let before = pool.status().sentinel.refreshes;
    let began = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..16 {
        let pool = pool.clone();
        callers.spawn(async move {
            match caller % 4 {
                0 => pool.write().await?.set("k", "v").await,
                _ => pool.writer().set("k", "v").await,
            }
        });
    }
    tokio::time::sleep_until(began + LOADS).await;
    let sets = loading.node.count("SET");
    loading.loads.store(false, SeqCst);
    let done: Vec<RedisResult<()>> = callers.join_all().await;
    let took = began.elapsed() - LOADS;
    assert!(done.iter().all(Result::is_ok), "{done:?}");
    assert!(took < Duration::from_millis(750), "{took:?} to recover");
    // One a caller, one at the end of each pause, and those after that.
    assert!((20..=80).contains(&sets), "{sets} attempts");
    let status = pool.status();
    assert_eq!(status.write.created, 4, "{status:?}");
    assert_eq!(status.writer.created, 1, "{status:?}");
    assert_eq!(status.write.discards.total(), 0, "{status:?}");
    let looks = status.sentinel.refreshes - before;
    assert!((1..=12).contains(&looks), "{looks} looks");
    // What it has executed it is not asked again.
    assert_eq!(loading.node.count("SET") - sets, 16);
    drop(loading.sentinel);
}

#[tokio::test]
async fn retries_that_only_waited_for_a_loading_master_or_a_fence_end_as_not_executed() {
    const WITHIN: Duration = Duration::from_secs(1);
    let loading = Loading::start(Duration::ZERO, |_| {}).await;
    let retry = || {
        let set = |mut conn: redis_rw_pool::Connection| async move { conn.set("k", "v").await };
        loading.pool.retry_write(Retry::within(WITHIN), set)
    };
    let began = Instant::now();
    let error = RedisResult::<()>::unwrap_err(retry().await);
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert_eq!(error.code(), Some("LOADING"), "{error}");
    assert!(began.elapsed() < WITHIN * 2, "{:?}", began.elapsed());

    loading.loads.store(false, SeqCst);
    let sets = loading.node.count("SET");
    let leads = |view: &mut SentinelView| view.flags = "master,failover_in_progress".to_owned();
    loading.sentinel.update(leads);
    let _ = loading.pool.refresh().await;
    eventually("the fence is up", SOON, || async {
        loading.pool.topology().fence.is_some()
    })
    .await;
    let began = Instant::now();
    let error = RedisResult::<()>::unwrap_err(retry().await);
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert!(error.to_string().contains("being replaced"), "{error}");
    assert!(began.elapsed() < WITHIN * 2, "{:?}", began.elapsed());
    assert_eq!(loading.node.count("SET"), sets);
}

#[tokio::test]
async fn writes_that_cannot_be_replicated_do_not_have_the_sentinels_asked_each_time() {
    let node = node_with(|_, words| {
        let refusal = "-NOREPLICAS Not enough good replicas to write.\r\n";
        (words[0] == "SET").then(|| Action::reply(refusal))
    });
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let before = pool.status().sentinel.refreshes;
    let began = Instant::now();
    let (mut conn, mut writer) = (pool.write().await.unwrap(), pool.writer());
    while began.elapsed() < Duration::from_secs(1) {
        for result in [
            run::<Value>(&mut conn, "SET k v").await,
            run(&mut writer, "SET k v").await,
        ] {
            assert_eq!(result.unwrap_err().code(), Some("NOREPLICAS"));
        }
    }
    let looks = pool.status().sentinel.refreshes - before;
    assert!((1..=8).contains(&looks), "{looks} looks");
}

#[tokio::test]
async fn what_a_demoted_master_redirects_goes_to_a_master() {
    for times in [1, 3] {
        let redirecting = || {
            let left = std::sync::atomic::AtomicUsize::new(times);
            node_with(move |_, words| {
                let refuses = words[0] == "SET"
                    && left
                        .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1))
                        .is_ok();
                refuses.then(|| Action::reply(REDIRECT))
            })
        };
        let node = redirecting();
        let sentinel = sentinel_of(node.port());
        let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
        let () = ask(&mut pool.write().await.unwrap(), "SET k v").await;
        assert_eq!(node.count("SET"), times + 1);
        assert_eq!(pool.status().write.created, times as u64 + 1);

        let node = redirecting();
        let sentinel = sentinel_of(node.port());
        let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
        let () = ask(&mut pool.writer(), "SET k v").await;
        assert_eq!(node.count("SET"), times + 1);
        assert_eq!(pool.status().writer.created, times as u64 + 1);
    }
}

/// A master that goes away in the middle of the first `GET`, and does not come back.
fn mortal() -> FakeServer {
    let dead = AtomicBool::new(false);
    node_with(move |_, words| {
        if words[0] == "GET" {
            dead.store(true, SeqCst);
        }
        dead.load(SeqCst).then_some(Action::Close)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_was_lost_with_the_master_waits_for_the_next_one_as_a_write_would() {
    for way in ["writer", "write", "reader", "read"] {
        for what in ["GET k", "pipeline"] {
            let (old, new) = (mortal(), fake::node(NodeRole::Master));
            let sentinel = sentinel_of(old.port());
            let mut config = watched_by(&sentinel);
            config.command_timeout = Some(SHORT);
            config.connect_timeout = SHORT;
            config.refresh_interval = SHORT;
            config.read_from = ReadFrom::Master;
            let pool = Pool::connect(config).await.unwrap();
            let began = Instant::now();
            let read = async {
                match way {
                    "writer" => call(&mut pool.writer(), what).await,
                    "write" => call(&mut pool.write().await.unwrap(), what).await,
                    "reader" => call(&mut pool.reader(), what).await,
                    _ => call(&mut pool.read().await.unwrap(), what).await,
                }
            };
            let elected = async {
                tokio::time::sleep(SHORT * 3).await;
                sentinel.update(|view| {
                    *view = SentinelView::of_master(new.port());
                    view.epoch = 1;
                });
            };
            let (read, ()) = tokio::join!(read, elected);
            let found = read.unwrap_or_else(|error| panic!("{way} {what}: {error}"));
            let expected = match what {
                "pipeline" => Value::Array(vec![Value::Nil, Value::Nil]),
                _ => Value::Nil,
            };
            assert_eq!(found, expected, "{way}");
            assert!(began.elapsed() > SHORT * 3, "{way} {what}");
            let master = pool.topology().master.clone();
            assert_eq!(master, Some(local(new.port())));
        }
    }
}

#[tokio::test]
async fn a_read_that_was_lost_with_the_master_ends_as_unknown_when_there_is_no_other() {
    let old = mortal();
    let sentinel = sentinel_of(old.port());
    let mut config = watched_by(&sentinel);
    config.command_timeout = Some(SHORT / 3);
    config.connect_timeout = SHORT;
    config.failover_timeout = SHORT * 3;
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let mut writer = pool.writer();
    assert_eq!(
        ask::<String>(&mut writer, "ECHO connected").await,
        "connected"
    );
    let began = Instant::now();
    let (guard, handle) = tokio::join!(
        run::<Value>(&mut conn, "GET k"),
        run::<Value>(&mut writer, "GET k")
    );
    for result in [guard, handle] {
        let (error, text) = failure(result);
        assert_eq!(outcome(&error), Outcome::Unknown, "{text}");
        assert!(text.contains("the server closed the connection"), "{text}");
    }
    assert!(began.elapsed() >= SHORT * 3, "{:?}", began.elapsed());
    assert!(began.elapsed() < SHORT * 6, "{:?}", began.elapsed());
}
