//! The tests of `session::deadlines` that need no redis-server.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, Value, pipe};
use redis_rw_pool::{Discard, Error, Pool};
use testkit::fake::{self, Action, FakeServer};
use tokio::time::Instant;

use crate::support::{
    SOON, ask, chain, cmd, discarded, eventually, failure, id, node_with, sentinel_of, watched_by,
};

const LIMIT: Duration = Duration::from_millis(300);

/// A pool whose only connection has this command timeout, on a node with one bad command.
async fn against(node: &FakeServer) -> Pool {
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.command_timeout = Some(LIMIT);
    Pool::connect(config).await.unwrap()
}

async fn expect_timeout<T: std::fmt::Debug>(
    pool: &Pool,
    what: &str,
    call: impl AsyncFnOnce(&mut redis_rw_pool::Connection) -> RedisResult<T>,
) {
    let before = discarded(pool, Discard::Broken);
    let mut conn = pool.write().await.unwrap();
    let own = id(&mut conn).await;
    let started = Instant::now();
    let outcome = tokio::time::timeout(SOON, call(&mut conn)).await;
    let outcome = outcome.unwrap_or_else(|_| panic!("{what}: never ended"));
    assert!(started.elapsed() >= LIMIT, "{what}: too early");
    let (error, text) = failure(outcome);
    assert!(error.is_timeout(), "{what}: {text}");
    assert!(
        text.contains("no complete reply within 300ms"),
        "{what}: {text}"
    );
    assert!(text.contains("the outcome is unknown"), "{what}: {text}");
    let node = conn.node().to_string();
    assert!(text.contains(&format!("master {node}")), "{what}: {text}");

    // What may still come over the old connection must not be taken for the next reply.
    let echo: String = ask(&mut conn, "ECHO again").await;
    assert_eq!(echo, "again", "{what}");
    assert_eq!(discarded(pool, Discard::Broken), before + 1, "{what}");
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    assert_ne!(id(&mut conn).await, own, "{what}");
    let echo: String = ask(&mut conn, "ECHO next").await;
    assert_eq!(echo, "next", "{what}");
}

fn slow(words: &[String]) -> Option<Action> {
    let every = Duration::from_millis(20);
    let bytes = match words[0].as_str() {
        // Long before the deadline something comes, and keeps coming.
        "GET" => b"$1000\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx".repeat(3),
        "LRANGE" => [&b"*1000\r\n"[..], &b":1\r\n".repeat(100)].concat(),
        "HGET" => return Some(Action::Silence),
        _ => return None,
    };
    Some(Action::Trickle { bytes, every })
}

#[tokio::test]
async fn the_deadline_is_for_the_whole_reply_and_not_for_one_read() {
    let node = node_with(|_, words| slow(words));
    let pool = against(&node).await;
    expect_timeout(&pool, "silence", async |conn| {
        conn.hget::<_, _, Option<i64>>("k", "f").await
    })
    .await;
    expect_timeout(&pool, "a bulk string", async |conn| {
        conn.get::<_, Option<i64>>("k").await
    })
    .await;
    expect_timeout(&pool, "an array", async |conn| {
        conn.lrange::<_, Vec<i64>>("k", 0, -1).await
    })
    .await;
    expect_timeout(&pool, "a pipeline", async |conn| {
        let mut pipeline = pipe();
        pipeline.cmd("ECHO").arg(1).cmd("ECHO").arg(2).get("k");
        pipeline.query_async::<Value>(conn).await
    })
    .await;
    expect_timeout(&pool, "a subscription", async |conn| {
        pipe().hget("k", "f").query_async::<Value>(conn).await
    })
    .await;
}

/// Such a peer keeps the socket readable. A reader that looks at the clock only when nothing can be
/// read would never look at it.
#[tokio::test]
async fn a_peer_that_never_stops_sending_is_cut_off_too() {
    let node = node_with(|conn, words| {
        let piece: &[u8] = match words[0].as_str() {
            "GET" => b">2\r\n$7\r\nmessage\r\n$4\r\nnews\r\n",
            "LRANGE" => b"$5\r\nvalue\r\n",
            _ => return None,
        };
        if words[0] == "LRANGE" {
            let _ = conn.push(b"*100000000\r\n");
        }
        let flood = piece.repeat(4_000);
        while conn.push(&flood).is_ok() {}
        Some(Action::Close)
    });
    let pool = against(&node).await;
    expect_timeout(&pool, "pushes", async |conn| {
        conn.get::<_, Option<i64>>("k").await
    })
    .await;
    expect_timeout(&pool, "elements", async |conn| {
        conn.lrange::<_, Value>("k", 0, -1).await
    })
    .await;
}

#[tokio::test]
async fn a_peer_that_does_not_read_ends_a_large_command_in_time() {
    let node = node_with(|_, words| {
        (words[0] == "HGET").then(|| {
            std::thread::sleep(Duration::from_secs(3));
            Action::Close
        })
    });
    let pool = against(&node).await;
    let mut conn = pool.write().await.unwrap();
    let () = cmd("HGET k f")
        .set_no_response(true)
        .query_async(&mut conn)
        .await
        .unwrap();
    let large = vec![b'x'; 32 << 20];
    let set = redis::cmd("SET").arg("k").arg(&large).take();
    let (error, text) = failure(set.query_async::<Value>(&mut conn).await);
    assert!(
        error.is_timeout() && text.contains("the outcome is unknown"),
        "{text}"
    );
    drop(conn);

    let mut conn = pool.write().await.unwrap();
    let () = cmd("HGET k f")
        .set_no_response(true)
        .query_async(&mut conn)
        .await
        .unwrap();
    let mut unanswered = set.clone();
    unanswered.set_no_response(true);
    let (error, text) = failure(unanswered.query_async::<Value>(&mut conn).await);
    assert!(
        error.is_timeout() && text.contains("the outcome is unknown"),
        "{text}"
    );
    drop(conn);
    assert_eq!(discarded(&pool, Discard::Broken), 2);
}

#[tokio::test]
async fn a_blocking_command_has_its_deadline_all_the_same() {
    let node = node_with(|_, words| (words[0] == "BLPOP").then_some(Action::Silence));
    let pool = against(&node).await;
    let mut conn = pool.write().await.unwrap();
    let (error, text) = failure(conn.blpop::<_, Value>("k", 0.4).await);
    assert!(error.is_timeout(), "{text}");
    assert!(text.contains("within 700ms"), "{text}");
}

#[tokio::test]
async fn without_a_command_timeout_a_reply_may_take_its_time() {
    let node = node_with(|_, words| {
        (words[0] == "GET").then(|| Action::Delay {
            bytes: b"$4\r\nlate\r\n".to_vec(),
            after: Duration::from_millis(1_500),
        })
    });
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.command_timeout = None;
    config.connect_timeout = Duration::from_secs(1);
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "late");
}

#[tokio::test]
async fn a_deadline_of_one_command_does_not_shorten_the_next() {
    let node = node_with(|_, words| {
        let millis = match words[0].as_str() {
            "GET" => 10,
            "HGET" => 200,
            _ => return None,
        };
        Some(Action::Delay {
            bytes: b"$1\r\nx\r\n".to_vec(),
            after: Duration::from_millis(millis),
        })
    });
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    config.command_timeout = Some(Duration::from_secs(2));
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    // Together they take longer than the timeout, each by itself much less.
    for _ in 0..12 {
        let _: String = conn.get("k").await.unwrap();
        let _: String = conn.hget("k", "f").await.unwrap();
    }
}

/// At which step of the handshake a node falls silent.
const STEPS: [(&str, &str); 6] = [
    ("HELLO", "at once"),
    ("HELLO", "trickling"),
    ("ROLE", "at once"),
    ("AUTH", "without HELLO"),
    ("ROLE", "without HELLO"),
    ("SELECT", "at once"),
];

fn silent_at(step: (&'static str, &'static str), silent: Arc<AtomicBool>) -> FakeServer {
    node_with(move |_, words| {
        if !silent.load(SeqCst) {
            return None;
        }
        let (name, how) = step;
        if how == "without HELLO" && words[0] == "HELLO" {
            let text = b"-ERR unknown command 'HELLO', with args beginning with: \r\n";
            return Some(Action::Reply(text.to_vec()));
        }
        (words[0] == name).then(|| match how {
            "trickling" => Action::Trickle {
                bytes: b"%7\r\n$6\r\nserver\r\n$500\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxx".repeat(2),
                every: Duration::from_millis(50),
            },
            _ => Action::Silence,
        })
    })
}

fn impatient(sentinel: &FakeServer) -> redis_rw_pool::Config {
    let mut config = watched_by(sentinel);
    config.db = 1;
    config.password = Some("secret".into());
    config.connect_timeout = Duration::from_millis(700);
    config.failover_timeout = Duration::from_millis(700);
    config
}

#[tokio::test]
async fn connecting_a_pool_ends_in_time_wherever_the_node_falls_silent() {
    let mut tasks = tokio::task::JoinSet::new();
    for step in STEPS {
        tasks.spawn(async move {
            let node = silent_at(step, Arc::new(AtomicBool::new(true)));
            let sentinel = sentinel_of(node.port());
            let connected = Pool::connect(impatient(&sentinel));
            let connected = tokio::time::timeout(SOON, connected).await;
            let error = connected.expect("it ends").expect_err("no proof, no pool");
            assert!(matches!(error, Error::NoMaster { .. }), "{step:?}: {error}");
            assert!(error.is_timeout() && error.is_transient(), "{step:?}");
            eventually("the sockets to be closed", SOON, || async {
                node.open_connections() == 0
            })
            .await;
        });
    }
    let hung = fake::hung();
    let sentinel = sentinel_of(hung.port());
    let error = Pool::connect(impatient(&sentinel)).await.unwrap_err();
    assert!(error.to_string().contains(&hung.addr()), "{error}");
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_dial_ends_in_time_wherever_the_node_falls_silent() {
    let mut tasks = tokio::task::JoinSet::new();
    // A master is dialled without ROLE.
    for step in STEPS
        .into_iter()
        .filter(|step| *step != ("ROLE", "at once"))
    {
        tasks.spawn(async move {
            let silent = Arc::new(AtomicBool::new(false));
            let node = silent_at(step, Arc::clone(&silent));
            let sentinel = sentinel_of(node.port());
            let pool = Pool::connect(impatient(&sentinel)).await.unwrap();
            silent.store(true, SeqCst);
            let outcome = tokio::time::timeout(SOON, pool.write()).await;
            let error = outcome.expect("it ends").expect_err("it is silent");
            assert!(error.is_timeout(), "{step:?}: {}", chain(&error));
            assert!(chain(&error).contains(&node.addr()), "{step:?}: {error}");
            silent.store(false, SeqCst);
            let conn = tokio::time::timeout(SOON, async {
                loop {
                    match pool.write().await {
                        Ok(conn) => break conn,
                        Err(error) => assert!(error.is_transient(), "{step:?}: {error}"),
                    }
                }
            });
            drop(conn.await.expect("it answers again"));
            pool.close();
            eventually("the sockets to be closed", SOON, || async {
                node.open_connections() == 0
            })
            .await;
        });
    }
    while let Some(result) = tasks.join_next().await {
        result.unwrap();
    }
}
