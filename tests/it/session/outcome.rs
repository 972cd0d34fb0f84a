//! What the errors of real servers say about the command: not executed, unknown, executed.

use std::{fmt::Debug, time::Duration};

use redis::{AsyncCommands, RedisError, RedisResult, Value, aio::ConnectionLike, pipe};
use redis_rw_pool::{Config, Connection, Multiplexed, Outcome, Pool, outcome};
use testkit::{Server, fake::FakeSentinel};
use tokio::task::block_in_place;

use crate::support::{self, SOON, cmd, eventually, sentinel_of, watched_by};

/// Long enough that nothing fails by it which ought to succeed, short enough to be waited for.
const SHORT: Duration = Duration::from_millis(300);

/// A pool on a server of its own, with both kinds of connection to its master.
struct Alone {
    server: Server,
    pool: Pool,
    sentinel: FakeSentinel,
}

impl Alone {
    async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let server = block_in_place(|| Server::standalone(&[]));
        let sentinel = sentinel_of(server.port());
        let mut config = watched_by(&sentinel);
        config.write.max_active = 2;
        config.failover_timeout = SHORT;
        change(&mut config);
        let pool = Pool::connect(config).await.expect("it is healthy");
        Self {
            server,
            pool,
            sentinel,
        }
    }

    async fn both(&self) -> (Connection, Multiplexed) {
        let exclusive = self.pool.write().await.expect("it is healthy");
        (exclusive, self.pool.writer())
    }

    fn cmd(&self, line: &str) -> testkit::Reply {
        let words: Vec<_> = line.split_whitespace().collect();
        block_in_place(|| self.server.cmd(&words))
    }

    fn exists(&self, key: &str) -> bool {
        self.cmd(&format!("EXISTS {key}")).as_int() == 1
    }
}

pub(super) fn fails<T: Debug>(result: RedisResult<T>, expected: Outcome, text: &str) -> RedisError {
    let error = result.expect_err(text);
    assert!(error.to_string().contains(text), "{text} is not in {error}");
    assert_eq!(outcome(&error), expected, "{error}");
    error
}

/// A command, which fails so over this connection.
async fn ends(conn: &mut impl ConnectionLike, line: &str, expected: Outcome, text: &str) {
    let result: RedisResult<Value> = cmd(line).query_async(conn).await;
    fails(result, expected, text);
}

/// A plain pipeline and one that is atomic.
async fn pipelines(conn: &mut impl ConnectionLike, plain: Outcome, text: &str) {
    for (atomic, expected) in [(false, plain), (true, Outcome::NotExecuted)] {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        pipeline.set("a", 1).set("b", 1);
        let result: RedisResult<Value> = pipeline.query_async(conn).await;
        fails(result, expected, text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_refuses_to_begin_with_is_not_executed() {
    let alone = Alone::start(|_| {}).await;
    let (mut exclusive, mut shared) = alone.both().await;
    let table = [
        (
            "CONFIG SET min-replicas-to-write 1",
            "CONFIG SET min-replicas-to-write 0",
            "NOREPLICAS",
        ),
        ("CONFIG SET maxmemory 1", "CONFIG SET maxmemory 0", "OOM"),
        (
            "ACL SETUSER default -set",
            "ACL SETUSER default +set",
            "NoPerm",
        ),
    ];
    for (set, unset, text) in table {
        alone.cmd(set);
        ends(&mut exclusive, "SET k v", Outcome::NotExecuted, text).await;
        ends(&mut shared, "SET k v", Outcome::NotExecuted, text).await;
        // Each command of a plain one is refused for itself, and the error does not tell of others.
        pipelines(&mut exclusive, Outcome::Executed, text).await;
        pipelines(&mut shared, Outcome::Executed, text).await;
        alone.cmd(unset);
    }
    let mut table = vec![
        ("NOSUCHCOMMAND k v", "unknown command"),
        ("CONFIG NOSUCHCOMMAND", "nknown subcommand"),
        ("CONFIG GET", "rong number of arguments"),
        ("SET k", "wrong number of arguments"),
        (
            "EVALSHA 0000000000000000000000000000000000000000 0",
            "NoScript",
        ),
    ];
    if testkit::provides("FCALL", (7, 0)) {
        table.push(("FCALL nosuchfunction 0", "Function not found"));
    }
    for (line, text) in table {
        ends(&mut exclusive, line, Outcome::NotExecuted, text).await;
        ends(&mut shared, line, Outcome::NotExecuted, text).await;
    }
    assert_eq!(alone.cmd("DBSIZE").as_int(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_busy_with_a_script_executes_nothing_else() {
    let alone = Alone::start(|_| {}).await;
    alone.cmd("CONFIG SET lua-time-limit 5");
    let (mut exclusive, mut shared) = alone.both().await;
    let () = shared.ping().await.unwrap();
    let mut endless = block_in_place(|| alone.server.connect()).unwrap();
    endless.send(&["EVAL", "while true do end", "0"]).unwrap();
    eventually("the script runs", SOON, || async {
        alone
            .cmd("PING")
            .error()
            .is_some_and(|error| error.starts_with("BUSY"))
    })
    .await;
    ends(&mut exclusive, "SET k v", Outcome::NotExecuted, "BUSY").await;
    ends(&mut shared, "SET k v", Outcome::NotExecuted, "BUSY").await;
    assert!(!alone.cmd("SCRIPT KILL").is_error());
    block_in_place(|| endless.read()).unwrap();
    assert!(!alone.exists("k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_a_replica_refuses_is_not_executed() {
    let pool = support::single("read-only", |config| {
        config.read_from = redis_rw_pool::ReadFrom::Replica;
        config.connect_timeout = Duration::from_secs(5);
        config.failover_timeout = SHORT;
    })
    .await;
    // A replica is read from only when it has applied what its master had.
    support::readable_are(&pool, 1, support::LONG).await;
    let mut exclusive = pool.read().await.unwrap();
    ends(&mut exclusive, "SET k v", Outcome::NotExecuted, "ReadOnly").await;
    ends(
        &mut pool.reader(),
        "SET k v",
        Outcome::NotExecuted,
        "ReadOnly",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_server_has_answered_was_executed() {
    let alone = Alone::start(|_| {}).await;
    let (mut exclusive, mut shared) = alone.both().await;
    alone.cmd("RPUSH list a");
    let table = [
        ("INCR list", "WRONGTYPE"),
        ("EXPIRE list never", "not an integer"),
        // A script's own command, after it has written.
        (
            "EVAL redis.call('SET','script','v')redis.call('NOSUCH') 0",
            "@user_script",
        ),
        (
            "EVAL redis.call('SET','script','v')redis.call('SET','k') 0",
            "@user_script",
        ),
    ];
    for (line, text) in table {
        ends(&mut exclusive, line, Outcome::Executed, text).await;
        ends(&mut shared, line, Outcome::Executed, text).await;
    }
    assert!(alone.exists("script"));
    let text: RedisResult<i64> = exclusive.set("text", "v").await;
    fails(text, Outcome::Executed, "type");
    let number: RedisResult<i64> = shared.get("text").await;
    fails(number, Outcome::Executed, "type");
    for atomic in [false, true] {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        pipeline.set("p", 1).incr("list", 1).set("q", 1);
        let result: RedisResult<Value> = pipeline.query_async(&mut exclusive).await;
        fails(result, Outcome::Executed, "WRONGTYPE");
        let result: RedisResult<Value> = pipeline.query_async(&mut shared).await;
        fails(result, Outcome::Executed, "WRONGTYPE");
        assert_eq!(alone.cmd("DEL p q").as_int(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_atomic_pipeline_that_is_discarded_was_not_executed() {
    let alone = Alone::start(|_| {}).await;
    let (mut exclusive, mut shared) = alone.both().await;
    let mut pipeline = pipe();
    pipeline.atomic().set("k", 1).cmd("NOSUCHCOMMAND");
    let result: RedisResult<Value> = pipeline.query_async(&mut exclusive).await;
    fails(result, Outcome::NotExecuted, "aborted");
    let result: RedisResult<Value> = pipeline.query_async(&mut shared).await;
    fails(result, Outcome::NotExecuted, "aborted");
    assert!(!alone.exists("k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_to_a_frozen_server_is_unknown() {
    let alone = Alone::start(|config| {
        config.command_timeout = Some(SHORT);
        config.connect_timeout = SHORT;
    })
    .await;
    let (mut exclusive, mut shared) = alone.both().await;
    let () = shared.ping().await.unwrap();
    alone.server.pause();
    let (one, other) = tokio::join!(async { exclusive.set::<_, _, ()>("k", "v").await }, async {
        shared.set::<_, _, ()>("k", "v").await
    },);
    fails(one, Outcome::Unknown, "no complete reply");
    fails(other, Outcome::Unknown, "no complete reply");
    // The next one finds no connection that could carry it.
    ends(&mut exclusive, "SET l v", Outcome::NotExecuted, "").await;
    alone.server.resume();
    eventually("the first command is executed after all", SOON, || async {
        alone.exists("k")
    })
    .await;
    assert!(!alone.exists("l"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_sent_over_a_connection_that_is_killed_is_unknown() {
    let alone = Alone::start(|config| config.client_name = Some("victim".to_owned())).await;
    let (mut exclusive, _) = alone.both().await;
    let id = support::id(&mut exclusive).await;
    let waiting = tokio::spawn(async move {
        let result: RedisResult<Value> = cmd("BLPOP nothing 0").query_async(&mut exclusive).await;
        result
    });
    eventually("it waits", SOON, || async {
        block_in_place(|| alone.server.info("clients"))["blocked_clients"] == "1"
    })
    .await;
    alone.cmd(&format!("CLIENT KILL ID {id}"));
    fails(waiting.await.unwrap(), Outcome::Unknown, "unknown");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_connection_nothing_was_executed() {
    let alone = Alone::start(|config| config.write.wait_timeout = Some(Duration::ZERO)).await;
    let set = async || -> RedisResult<()> { alone.pool.write().await?.set("k", "v").await };
    let lent = (alone.pool.write().await, alone.pool.write().await);
    fails(set().await, Outcome::NotExecuted, "in use");
    drop(lent);
    alone.pool.close();
    fails(set().await, Outcome::NotExecuted, "closed");
    let set: RedisResult<()> = alone.pool.writer().set("k", "v").await;
    fails(set, Outcome::NotExecuted, "closed");
    assert!(!alone.exists("k"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_crate_refuses_to_send_is_not_executed() {
    let alone = Alone::start(|_| {}).await;
    let (mut exclusive, mut shared) = alone.both().await;
    ends(&mut exclusive, "", Outcome::NotExecuted, "empty").await;
    ends(&mut shared, "", Outcome::NotExecuted, "empty").await;
    ends(
        &mut shared,
        "BLPOP nothing 0",
        Outcome::NotExecuted,
        "of its own",
    )
    .await;
    ends(
        &mut exclusive,
        "MONITOR",
        Outcome::NotExecuted,
        "outside the pool",
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_the_fence_in_vain_is_not_executed() {
    let alone = Alone::start(|config| config.connect_timeout = SHORT).await;
    let (mut exclusive, mut shared) = alone.both().await;
    let () = shared.ping().await.unwrap();
    alone
        .sentinel
        .update(|view| view.flags = "master,failover_in_progress".to_owned());
    alone.pool.refresh().await.unwrap();
    assert_ne!(alone.pool.topology().fence, None);
    ends(
        &mut exclusive,
        "SET k v",
        Outcome::NotExecuted,
        "being replaced",
    )
    .await;
    ends(&mut shared, "SET k v", Outcome::NotExecuted, "").await;
    assert!(!alone.exists("k"));
}
