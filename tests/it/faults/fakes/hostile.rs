//! A node that misbehaves costs one connection: no wrong reply, no memory, no secret, no hang.

use std::{
    error::Error as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, Value, pipe};
use redis_rw_pool::{Config, ConfigError, Discard, Error, Pool, ReadFrom};
use testkit::fake::{self, Action, Conn, FakeServer, SentinelView};

use crate::support::{
    SOON, ask, assert_hidden, chain, discarded, eventually, failure, id, node_with, run,
    sentinel_of, watched_by,
};

const SECRET: &str = "canary-5d1c";

/// A node on which `GET` brings what the key names.
fn hostile() -> FakeServer {
    node_with(|conn, words| {
        matches!(words[0].as_str(), "GET" | "GETDEL").then(|| answer(conn, &words[1]))
    })
}

/// What is sent, whether the peer closes then, and what the error says.
const REPLIES: &[(&str, &str, bool, &str)] = &[
    (
        "truncated bulk",
        "$100\r\nonly this",
        true,
        "closed the connection",
    ),
    (
        "truncated array",
        "*3\r\n:1\r\n:2\r\n",
        true,
        "closed the connection",
    ),
    ("truncated line", "+no end", true, "closed the connection"),
    ("nothing", "", true, "closed the connection"),
    (
        "garbage",
        "\x00\x01\x02garbage\r\n",
        false,
        "unknown type of reply",
    ),
    (
        "web server",
        "HTTP/1.1 400 Bad Request\r\n\r\n<html>",
        true,
        "unknown type of reply",
    ),
    (
        "ssh",
        "SSH-2.0-OpenSSH_9.2\r\n",
        false,
        "unknown type of reply",
    ),
    ("bad integer", ":1x\r\n", false, "not an integer"),
    ("bad length", "$abc\r\n", false, "not a length"),
    ("negative length", "$-2\r\n", false, "not a length"),
    (
        "overflowing length",
        "*99999999999999999999\r\n",
        false,
        "not a length",
    ),
    ("no CRLF", "$3\r\nabcdef\r\n", false, "no CRLF"),
    (
        "many elements",
        "*2147483647\r\n",
        false,
        "max_elements (134217728)",
    ),
    (
        "many pairs",
        "%2147483647\r\n",
        false,
        "max_elements (134217728)",
    ),
    (
        "large bulk",
        "$2147483647\r\n",
        false,
        "max_bulk_bytes (536870912)",
    ),
    ("bad boolean", "#x\r\n", false, "not a boolean"),
    ("escapes", "\x1b[2Jx\r\n", false, "unknown type of reply"),
];

fn answer(conn: &Conn, what: &str) -> Action {
    if let Some((_, bytes, closes, _)) = REPLIES.iter().find(|(name, ..)| *name == what) {
        let bytes = bytes.as_bytes().to_vec();
        return match closes {
            true => Action::ReplyThenClose(bytes),
            false => Action::Reply(bytes),
        };
    }
    match what {
        "deep" => Action::Reply(b"*1\r\n".repeat(10_000)),
        "deep maps" => Action::Reply(b"%1\r\n:1\r\n".repeat(10_000)),
        "reset" => Action::Reset,
        "endless line" => flood(conn, b"+", &[b'x'; 64 * 1024]),
        "endless bulk" => flood(conn, b"$536870911\r\n", &[b'x'; 64 * 1024]),
        "endless array" => flood(conn, b"*100000000\r\n", &b":1\r\n".repeat(8 * 1024)),
        "nested claims" => Action::Reply(b"*100000000\r\n".repeat(90)),
        "claim" => Action::Reply(b"$536870912\r\nthe rest never comes".to_vec()),
        "two" => Action::Reply(b"$4\r\nmine\r\n$5\r\nextra\r\n".to_vec()),
        "wrong type" => Action::Reply(b"*2\r\n:1\r\n%1\r\n+a\r\n_\r\n".to_vec()),
        _ => Action::Reply(b"$4\r\nfine\r\n".to_vec()),
    }
}

fn flood(conn: &Conn, head: &[u8], piece: &[u8]) -> Action {
    let _ = conn.push(head);
    while conn.push(piece).is_ok() {}
    Action::Close
}

async fn pool_of(node: &FakeServer, change: impl FnOnce(&mut Config)) -> Pool {
    let sentinel = sentinel_of(node.port());
    let mut config = watched_by(&sentinel);
    change(&mut config);
    Pool::connect(config).await.unwrap()
}

/// The command fails with this text, its connection is closed, and the next one serves.
async fn breaks(pool: &Pool, node: &FakeServer, what: &str, expected: &str) -> String {
    let before = discarded(pool, Discard::Broken);
    let mut conn = pool.write().await.unwrap();
    let own = usize::try_from(id(&mut conn).await).unwrap();
    // It may write, so that it is not sent again.
    let get = conn.get_del::<_, Value>(what);
    let outcome = tokio::time::timeout(SOON, get).await;
    let (error, text) = failure(outcome.unwrap_or_else(|_| panic!("{what}: never ended")));
    assert!(error.is_io_error(), "{what}: {text}");
    assert!(text.contains(expected), "{what}: {text}");
    assert!(text.contains("the outcome is unknown"), "{what}: {text}");
    assert!(text.contains(&node.addr()), "{what}: {text}");
    assert!(!text.chars().any(char::is_control), "{what}: {text:?}");
    assert!(text.len() < 600, "{what}: {text}");
    drop(conn);
    assert_eq!(discarded(pool, Discard::Broken), before + 1, "{what}");
    eventually("the socket to be closed", SOON, || async {
        !node.connections()[own].is_open()
    })
    .await;
    let mut conn = pool.write().await.unwrap();
    let echo: String = ask(&mut conn, &format!("ECHO {own}")).await;
    assert_eq!(echo, own.to_string(), "{what}");
    text
}

#[tokio::test]
async fn a_malformed_reply_closes_its_connection_and_is_named() {
    let node = hostile();
    let pool = pool_of(&node, |_| {}).await;
    for (what, _, _, expected) in REPLIES {
        breaks(&pool, &node, what, expected).await;
    }
    for what in ["deep", "deep maps"] {
        breaks(&pool, &node, what, "max_depth (100 levels)").await;
    }
    breaks(&pool, &node, "endless line", "no end within 65536 bytes").await;
    breaks(&pool, &node, "reset", "the outcome is unknown").await;
    let status = pool.status().write;
    assert_eq!(
        status.discards.total(),
        status.discards.get(Discard::Broken)
    );
}

#[tokio::test]
async fn a_malformed_reply_inside_a_pipeline_spoils_all_of_it() {
    let node = hostile();
    let pool = pool_of(&node, |_| {}).await;
    for what in ["garbage", "truncated bulk", "deep", "many elements"] {
        for atomic in [false, true] {
            let mut pipeline = pipe();
            if atomic {
                pipeline.atomic();
            }
            pipeline.cmd("ECHO").arg("a");
            pipeline.get_del(what).cmd("ECHO").arg("b");
            let mut conn = pool.write().await.unwrap();
            let (error, text) = failure(pipeline.query_async::<Vec<Value>>(&mut conn).await);
            assert!(error.is_io_error(), "{what}: {text}");
            drop(conn);
            let mut conn = pool.write().await.unwrap();
            let echo: String = ask(&mut conn, "ECHO next").await;
            assert_eq!(echo, "next");
        }
    }
    assert_eq!(discarded(&pool, Discard::Broken), 8);
}

#[tokio::test]
async fn a_reply_that_nobody_asked_for_reaches_nobody() {
    let node = hostile();
    let pool = pool_of(&node, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    // It came together with ours, so the next command on this guard must not be given it ...
    assert_eq!(conn.get::<_, String>("two").await.unwrap(), "mine");
    assert_eq!(ask::<String>(&mut conn, "ECHO next").await, "next");
    assert_eq!(discarded(&pool, Discard::Broken), 1);
    // ... nor one that cannot go over a fresh connection ...
    let () = ask(&mut conn, "SELECT 3").await;
    assert_eq!(conn.get::<_, String>("two").await.unwrap(), "mine");
    let (_, text) = failure(run::<Value>(&mut conn, "ECHO next").await);
    assert!(text.contains("a reply that no command asked for"), "{text}");
    assert!(text.contains("the command was not executed"), "{text}");
    drop(conn);
    // ... nor the next caller.
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.get::<_, String>("two").await.unwrap(), "mine");
    drop(conn);
    assert_eq!(discarded(&pool, Discard::Broken), 3);
    let mut conn = pool.write().await.unwrap();
    let echo: String = ask(&mut conn, "ECHO next").await;
    assert_eq!(echo, "next");
    let own = usize::try_from(id(&mut conn).await).unwrap();
    drop(conn);
    // Said while the connection was idle.
    node.connections()[own].push(b"+UNASKED\r\n").unwrap();
    // It is in our socket by now, and with the next turn of its I/O the runtime knows.
    tokio::time::sleep(Duration::from_millis(20)).await;
    let mut conn = pool.write().await.unwrap();
    let echo: String = ask(&mut conn, "ECHO mine").await;
    assert_eq!(echo, "mine");
    assert_eq!(discarded(&pool, Discard::Broken), 4);
}

#[tokio::test]
async fn a_reply_of_another_type_is_the_callers_error_and_costs_nothing() {
    let node = hostile();
    let pool = pool_of(&node, |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let own = id(&mut conn).await;
    let error = conn.get::<_, String>("wrong type").await.unwrap_err();
    assert!(!error.is_io_error(), "{error}");
    drop(conn);
    assert_eq!(id(&mut pool.write().await.unwrap()).await, own);
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

/// Claims of half a gigabyte cost nothing; what really comes is held no longer than the limit
/// allows.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_bounded() {
    // In a process of its own: other tests move 64 MiB about in this one.
    const MARK: &str = "HOSTILE_MEMORY_ALONE";
    if std::env::var_os(MARK).is_none() {
        let name = "faults::fakes::hostile::memory_stays_bounded";
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture", "--test-threads", "1"])
            .env(MARK, "1")
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(claims_and_floods());
}

async fn claims_and_floods() {
    const MIB: usize = 1 << 20;
    let node = hostile();
    let pool = pool_of(&node, |config| {
        config.command_timeout = Some(Duration::from_secs(2));
        config.write.max_active = 8;
    })
    .await;
    let before = resident();
    let claims = (0..8).map(|n| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let mut conn = pool.write().await.unwrap();
            let what = ["claim", "nested claims"][n % 2];
            failure(conn.get::<_, Value>(what).await).0.is_timeout()
        })
    });
    let mut peak = 0;
    for claim in claims.collect::<Vec<_>>() {
        assert!(claim.await.unwrap());
        peak = peak.max(resident());
    }
    let grown = peak.saturating_sub(before) / MIB;
    assert!(
        grown < 64,
        "eight claims of 512 MiB or more took {grown} MiB"
    );

    let small = pool_of(&node, |config| {
        config.reply_limits.max_bulk_bytes = MIB;
        config.reply_limits.max_reply_bytes = MIB;
    })
    .await;
    let before = resident();
    breaks(&small, &node, "endless bulk", "max_bulk_bytes (1048576)").await;
    breaks(&small, &node, "endless array", "max_reply_bytes (1048576)").await;
    breaks(&small, &node, "endless line", "no end within 65536 bytes").await;
    let grown = resident().saturating_sub(before) / MIB;
    assert!(grown < 64, "replies of 1 MiB took {grown} MiB");
}

#[tokio::test]
async fn an_endless_reply_ends_at_the_limits_of_the_configuration() {
    let node = hostile();
    let pool = pool_of(&node, |config| {
        config.reply_limits.max_depth = 10;
        config.reply_limits.max_elements = 1_000;
        config.reply_limits.max_bulk_bytes = 1_000;
        config.reply_limits.max_reply_bytes = 10_000;
    })
    .await;
    breaks(&pool, &node, "deep", "max_depth (10 levels)").await;
    breaks(&pool, &node, "endless array", "max_elements (1000)").await;
    breaks(&pool, &node, "endless bulk", "max_bulk_bytes (1000)").await;
}

#[tokio::test]
async fn a_replica_that_misbehaves_does_not_take_the_others_with_it() {
    let master = node_with(|_, _| None);
    let broken = Arc::new(AtomicBool::new(true));
    let sick = replica_of(master.port(), Arc::clone(&broken));
    let well = replica_of(master.port(), Arc::default());
    let view = SentinelView::of_master(master.port())
        .with_replica(sick.port())
        .with_replica(well.port());
    let sentinel = fake::sentinel(view);
    let mut config = watched_by(&sentinel);
    config.read_from = ReadFrom::Replica;
    config.read.max_active = 4;
    let pool = Pool::connect(config).await.unwrap();
    let (mut good, mut bad) = (0, 0);
    for _ in 0..40 {
        let mut conn = pool.read().await.unwrap();
        let outcome: RedisResult<String> = conn.get("k").await;
        match (conn.node().port() == sick.port(), outcome) {
            (true, outcome) => {
                assert!(outcome.is_err());
                bad += 1;
            }
            (false, outcome) => {
                assert_eq!(outcome.unwrap(), "v");
                good += 1;
            }
        }
    }
    assert!(good >= 10 && bad > 0, "{good} good, {bad} bad");
    assert!(pool.status().read.active <= 4);
}

fn replica_of(master: u16, broken: Arc<AtomicBool>) -> FakeServer {
    node_with(move |conn, words| {
        let reply = match words[0].as_str() {
            "HELLO" => {
                conn.set_protocol(3);
                "%2\r\n$4\r\nmode\r\n$10\r\nstandalone\r\n$4\r\nrole\r\n$7\r\nreplica\r\n"
                    .to_owned()
            }
            "ROLE" => format!(
                "*5\r\n$5\r\nslave\r\n$9\r\n127.0.0.1\r\n:{master}\r\n$9\r\nconnected\r\n:1\r\n"
            ),
            "GET" if broken.load(SeqCst) => "%%%\r\n".to_owned(),
            "GET" => "$1\r\nv\r\n".to_owned(),
            _ => return None,
        };
        Some(Action::Reply(reply.into_bytes()))
    })
}

#[tokio::test]
async fn a_node_that_is_something_else_altogether_is_named_at_connect() {
    let web = fake::not_redis();
    let sentinel = sentinel_of(web.port());
    let mut config = watched_by(&sentinel);
    config.connect_timeout = Duration::from_millis(700);
    config.failover_timeout = Duration::from_millis(700);
    let error = Pool::connect(config.clone()).await.unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::NoMaster { .. }), "{text}");
    assert!(text.contains(&web.addr()), "{text}");
    assert!(text.contains("unknown type of reply"), "{text}");
    config.sentinels = vec![web.addr()];
    let error = Pool::connect(config).await.unwrap_err();
    let text = chain(&error);
    assert!(matches!(error, Error::NoSentinel { .. }), "{text}");
    assert!(text.contains("unknown type of reply"), "{text}");
    assert!(!text.chars().any(char::is_control), "{text:?}");
}

/// Everything that can be shown of an error, its causes included.
fn shown(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("{error} {error:?} {error:#?}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(" {cause} {cause:?} {cause:#?}"));
        source = cause.source();
    }
    text
}

/// A pool with secrets wherever there is room for them.
fn secretive(sentinel: &FakeServer) -> Config {
    let mut config = watched_by(sentinel);
    config.username = Some(format!("user-{SECRET}"));
    config.password = Some(SECRET.into());
    config.sentinel_username = Some(format!("sentinel-user-{SECRET}"));
    config.sentinel_password = Some(format!("sentinel-{SECRET}").into());
    config.connect_timeout = Duration::from_millis(500);
    config.failover_timeout = Duration::from_millis(500);
    config.command_timeout = Some(Duration::from_millis(300));
    config.write.wait_timeout = Some(Duration::from_millis(50));
    config
}

#[tokio::test]
async fn no_secret_shows_in_anything_that_can_be_printed() {
    let greeting: Arc<OnceLock<Action>> = Arc::default();
    let node = node_with({
        let greeting = Arc::clone(&greeting);
        move |conn, words| match words[0].as_str() {
            "GET" => Some(answer(conn, &words[1])),
            "HGET" => Some(Action::Silence),
            "HELLO" => greeting.get().cloned(),
            _ => None,
        }
    });
    let sentinel = fake::sentinel(
        SentinelView::of_master(node.port()).with_override("AUTH", Action::reply("+OK\r\n")),
    );
    let config = secretive(&sentinel);
    let mut seen = vec![format!("{config:?} {config:#?}")];
    let pool = Pool::connect(config.clone()).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    seen.push(format!("{pool:?} {pool:#?} {conn:?} {conn:#?}"));
    seen.push(format!("{:?} {:?}", pool.status(), pool.topology()));
    seen.push(shown(&pool.write().await.unwrap_err()));
    // A command holds what the caller stores; what goes wrong with it must not repeat that.
    for name in ["HGET", "HGET", "GET"] {
        let mut cmd = redis::cmd(name);
        cmd.arg("garbage").arg(SECRET);
        let failed: RedisResult<Value> = cmd.query_async(&mut conn).await;
        seen.push(shown(&failed.expect_err(name)));
    }
    seen.push(format!("{conn:?} {pool:?}"));
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    let failed: RedisResult<Value> = redis::cmd("GET")
        .arg("garbage")
        .arg(SECRET)
        .query_async(&mut conn)
        .await;
    seen.push(shown(&failed.unwrap_err()));
    let monitor: RedisResult<Value> = redis::cmd("MONITOR")
        .arg(SECRET)
        .query_async(&mut conn)
        .await;
    seen.push(shown(&monitor.unwrap_err()));
    let unanswered: RedisResult<Value> =
        redis::cmd("HGET").arg(SECRET).query_async(&mut conn).await;
    seen.push(shown(&unanswered.unwrap_err()));
    // What is still to come over it is nobody's, so it is closed and the next one is dialled.
    drop(conn);

    let refuses = "-WRONGPASS invalid username-password pair or user is disabled.\r\n";
    greeting.set(Action::reply(refuses)).unwrap();
    seen.push(shown(&pool.write().await.unwrap_err()));
    seen.push(format!("{pool:?}"));
    let redis_error: redis::RedisError = pool.write().await.unwrap_err().into();
    seen.push(shown(&redis_error));
    seen.push(shown(&Pool::connect(config.clone()).await.unwrap_err()));
    pool.close();
    seen.push(shown(&pool.write().await.unwrap_err()));

    for broken in [
        format!("redis-sentinel://u:{SECRET}@h:99999/0#m"),
        format!("redis-sentinel://u:{SECRET}@@h/0#m"),
        format!("redis-sentinel://u:{SECRET}@h/x#m"),
        format!("redis-sentinel://u:{SECRET}@h/0?sentinel_password={SECRET}&nonsense=1#m"),
        format!("rediss://u:{SECRET}@h/0#m"),
        format!("redis-sentinel://h/0?password={SECRET}#m"),
    ] {
        let error: ConfigError = Config::from_url(&broken).expect_err(&broken);
        seen.push(shown(&error));
        seen.push(shown(&Error::from(error)));
    }
    let mut wrong = config;
    wrong.username = Some(format!("with blanks {SECRET}\n"));
    wrong.password = None;
    wrong.sentinels.push(format!("redis://:{SECRET}@h:1"));
    seen.push(format!("{wrong:?}"));
    seen.push(shown(&Pool::connect(wrong).await.unwrap_err()));

    assert!(seen.len() > 15);
    for text in seen {
        assert_hidden(&text, SECRET);
    }
}

#[tokio::test]
async fn the_cause_of_an_error_is_in_its_text_and_in_its_source() {
    let node =
        node_with(|_, words| (words[0] == "HELLO").then(|| Action::reply("-WRONGPASS no\r\n")));
    let sentinel = sentinel_of(node.port());
    let error = Pool::connect(watched_by(&sentinel)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "cannot connect to the master at {}: \"WRONGPASS\": no",
            node.addr()
        )
    );
    let source = error.source().expect("what the node said");
    assert!(source.to_string().contains("no"), "{source}");
}
