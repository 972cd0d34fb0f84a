//! Fresh reads over exclusive connections.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, RedisResult, pipe};
use redis_rw_pool::{
    Config, Connection, Error, Freshness, Multiplexed, Otherwise, Outcome, Pool, Protocol,
    ReadFrom, Retry, SessionState, outcome,
};
use testkit::{Client, Server};
use tokio::task::block_in_place;

use super::{
    APP, asked, freshness, hold, in_step, only_replicas, pool_on, put, release, trio, value_at,
    watch,
};
use crate::support::{LONG, eventually, id, patient, poll_then_drop, run};

fn small(config: &mut Config) {
    config.write.max_active = 1;
    config.read.max_active = 1;
}

async fn value(conn: &mut Connection, key: &str) -> Option<i64> {
    conn.get(key).await.unwrap()
}

/// Nothing is lent any more, and no more is open than may be.
fn assert_conserved(pool: &Pool) {
    let status = pool.status();
    for side in [&status.write, &status.read] {
        assert_eq!(side.active, side.idle, "{side:?}");
        assert!(side.active <= side.max_active, "{side:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_that_reads_sees_what_another_has_written() {
    let servers = trio();
    let [master, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        only_replicas(config);
        config.read.max_active = 4;
    })
    .await;
    hold(slow);
    let session = pool.session();
    let mut kept = session.read().await.unwrap();
    for turn in 0..50 {
        let mut conn = session.write().await.unwrap();
        let () = conn.set("k", turn).await.unwrap();
        drop(conn);
        let mut conn = session.read().await.unwrap();
        assert_eq!(value(&mut conn, "k").await, Some(turn));
        assert_ne!(conn.node().port(), slow.port());
        assert!(!conn.last_read_was_stale());
        // A pipeline is proven as a whole.
        let both: (i64, i64) = pipe()
            .get("k")
            .get("k")
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(both, (turn, turn));
        let both: (i64, i64) = pipe()
            .atomic()
            .get("k")
            .get("k")
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(both, (turn, turn));
        assert_eq!(value(&mut kept, "k").await, Some(turn));
    }
    let status = freshness(&pool);
    assert_eq!((status.from_master, status.stale), (0, 0), "{status:?}");
    assert!(status.proven >= 200, "{status:?}");
    // A guard that nobody asks anything of meets the old value.
    eventually("a plain read is stale", LONG, || async {
        let mut conn = pool.read().await.unwrap();
        value(&mut conn, "k").await != Some(49)
    })
    .await;
    drop(kept);
    assert_conserved(&pool);

    // The handles of a session and its guards share what it knows.
    let () = session.writer().set("k", 50).await.unwrap();
    assert_eq!(
        value(&mut session.read().await.unwrap(), "k").await,
        Some(50)
    );
    assert_eq!(value_at(master, "k"), Some(50));
    assert_eq!(session.state(), SessionState::Consistent);
    // A token, an age, the master, without a session.
    let token = session.token().unwrap();
    for freshness in [
        Freshness::After(token),
        Freshness::Within(Duration::ZERO),
        Freshness::Master,
    ] {
        tokio::time::sleep(Duration::from_millis(20)).await;
        for _ in 0..4 {
            let mut conn = pool.read_with(freshness.clone()).await.unwrap();
            assert_eq!(value(&mut conn, "k").await, Some(50), "{freshness:?}");
        }
    }
    assert_conserved(&pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_of_one_connection_are_enough() {
    let servers = trio();
    let [_, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        small(config);
        only_replicas(config);
    })
    .await;
    let session = pool.session();
    let mut turn = 0;
    for (slow, quick) in [(one, two), (two, one), (one, two)] {
        hold(slow);
        for _ in 0..5 {
            turn += 1;
            let () = session.write().await.unwrap().set("k", turn).await.unwrap();
            let mut conn = session.read().await.unwrap();
            assert_eq!(value(&mut conn, "k").await, Some(turn));
            assert_eq!(conn.node().port(), quick.port());
            drop(conn);
            assert_conserved(&pool);
        }
        release(slow);
        in_step(&servers.nodes()[0], 2);
    }
    assert_eq!(freshness(&pool).from_master, 0);
    let status = pool.status().read;
    // It went over and stayed there.
    assert!(status.created <= 6, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_all_replicas_are_behind_the_settings_decide() {
    let servers = trio();
    let [master, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), small).await;
    let failing = pool_on(servers.nodes(), |config| {
        small(config);
        config.freshness.otherwise = Otherwise::Fail;
    })
    .await;
    let stale = pool_on(servers.nodes(), |config| {
        small(config);
        config.freshness.otherwise = Otherwise::Stale;
    })
    .await;
    put(master, "k", 1);
    in_step(master, 2);
    hold(one);
    hold(two);
    let session = pool.session();
    let () = session.write().await.unwrap().set("k", 2).await.unwrap();
    let token = session.token().unwrap();

    // The master, also where the guard holds the only connection to write.
    let writing = session.write().await.unwrap();
    let mut conn = session.read().await.unwrap();
    assert_eq!(value(&mut conn, "k").await, Some(2));
    assert_ne!(conn.node().port(), master.port(), "it stays in its pool");
    assert!(freshness(&pool).from_master > 0);
    drop((conn, writing));

    let mut conn = failing
        .read_with(Freshness::After(token.clone()))
        .await
        .unwrap();
    let error = conn.get::<_, i64>("k").await.expect_err("none has it");
    assert!(
        matches!(Error::of(&error), Some(Error::Stale { .. })),
        "{error}"
    );
    assert_eq!(outcome(&error), Outcome::NotExecuted);
    assert!(error.to_string().contains("bytes behind"), "{error}");
    // The guard serves on.
    let _ = id(&mut conn).await;
    drop(conn);

    let mut conn = stale
        .read_with(Freshness::After(token.clone()))
        .await
        .unwrap();
    assert_eq!(value(&mut conn, "k").await, Some(1));
    assert!(conn.last_read_was_stale());
    release(one);
    release(two);
    in_step(master, 2);
    assert_eq!(value(&mut conn, "k").await, Some(2));
    assert!(!conn.last_read_was_stale());
    drop(conn);
    for pool in [&pool, &failing, &stale] {
        assert_conserved(pool);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bound_guard_stays_with_its_node_and_waits_there() {
    let servers = trio();
    let [master, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.command_timeout = Some(Duration::from_millis(400));
    })
    .await;
    let session = pool.session();
    let mut conn = session.read().await.unwrap();
    let () = run(&mut conn, "WATCH w").await.unwrap();
    let (node, number) = (conn.node(), id(&mut conn).await);
    let (own, other) = if node.port() == one.port() {
        (one, two)
    } else {
        (two, one)
    };
    hold(own);
    let () = session.write().await.unwrap().set("k", 1).await.unwrap();
    let error = conn
        .get::<_, i64>("k")
        .await
        .expect_err("it may not go elsewhere");
    assert!(
        matches!(Error::of(&error), Some(Error::Stale { .. })),
        "{error}"
    );
    let read = tokio::spawn(async move {
        let seen = value(&mut conn, "k").await;
        (seen, id(&mut conn).await, conn)
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    release(own);
    let (seen, same, conn) = read.await.unwrap();
    assert_eq!((seen, same, conn.node()), (Some(1), number, node));
    drop(conn);

    // MULTI goes to a node that has it, and the transaction is not disturbed.
    hold(own);
    for turn in 2..20 {
        let () = session.write().await.unwrap().set("k", turn).await.unwrap();
        let mut conn = session.read().await.unwrap();
        let () = run(&mut conn, "MULTI").await.unwrap();
        assert_eq!(conn.node().port(), other.port());
        let () = run(&mut conn, "GET k").await.unwrap();
        let (seen,): (i64,) = run(&mut conn, "EXEC").await.unwrap();
        assert_eq!(seen, turn);
    }
    let before = freshness(&pool).questions;
    assert_eq!(
        value(&mut session.read().await.unwrap(), "k").await,
        Some(19)
    );
    assert_eq!(
        freshness(&pool).questions,
        before,
        "a replica writes nothing"
    );
    assert_conserved(&pool);
    assert_eq!(value_at(master, "k"), Some(19));
}

/// The address of the connection at the other end.
async fn address(conn: &mut Connection) -> String {
    let info: String = run(conn, "CLIENT INFO").await.unwrap();
    let mut fields = info.split_whitespace();
    let addr = fields.find_map(|field| field.strip_prefix("addr="));
    addr.unwrap().to_owned()
}

/// What this server executes for the client at this address, from here on.
struct Monitor {
    client: Client,
    port: u16,
}

impl Monitor {
    fn of(server: &Server) -> Self {
        let mut client = server.connect().unwrap();
        client.call(&["MONITOR"]).unwrap();
        Self {
            client,
            port: server.port(),
        }
    }

    fn commands(&mut self, server: &Server, addr: &str) -> Vec<String> {
        assert_eq!(self.port, server.port());
        server.cmd(&["ECHO", "the-end"]);
        let mut seen = Vec::new();
        loop {
            let line = self.client.read().unwrap();
            let line = line.as_str();
            if line.contains("the-end") {
                return seen;
            }
            if line.contains(addr) {
                let name = line.split('"').nth(1).unwrap();
                seen.push(name.to_ascii_uppercase());
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_never_comes_between_multi_and_exec() {
    let server = Server::standalone(&[]);
    let mut config = Config::standalone(server.addr());
    patient(&mut config);
    small(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let session = pool.session();
    let addr = address(&mut pool.write().await.unwrap()).await;
    let mut conn = session.write().await.unwrap();
    let mut monitor = Monitor::of(&server);
    let mut seen = |addr: &str| block_in_place(|| monitor.commands(&server, addr));

    let () = run(&mut conn, "MULTI").await.unwrap();
    let () = run(&mut conn, "SET k 1").await.unwrap();
    let () = run(&mut conn, "GET k").await.unwrap();
    assert_eq!(session.token(), None, "nothing was executed");
    let (_, one): ((), i64) = run(&mut conn, "EXEC").await.unwrap();
    assert_eq!(one, 1);
    assert!(session.token().is_some());
    assert_eq!(seen(&addr), ["MULTI", "SET", "GET", "EXEC", "INFO"]);

    let (two,): (i64,) = pipe()
        .atomic()
        .incr("k", 1)
        .query_async(&mut conn)
        .await
        .unwrap();
    assert_eq!(two, 2);
    assert_eq!(seen(&addr), ["MULTI", "INCRBY", "EXEC", "INFO"]);

    // What only reads at the master, and what is about the connection, asks for nothing.
    assert_eq!(value(&mut conn, "k").await, Some(2));
    let () = run(&mut conn, "WATCH k").await.unwrap();
    let () = run(&mut conn, "UNWATCH").await.unwrap();
    let () = run(&mut conn, "MULTI").await.unwrap();
    let () = run(&mut conn, "SET k 9").await.unwrap();
    let () = run(&mut conn, "DISCARD").await.unwrap();
    // What was only queued is not executed.
    let expected = ["GET", "WATCH", "UNWATCH", "MULTI", "DISCARD"];
    assert_eq!(seen(&addr), expected);

    // Work on watched keys.
    let (three,) = conn
        .transaction("k", |mut conn, mut pipe| async move {
            let old: i64 = conn.get("k").await?;
            pipe.set("k", old + 1).ignore().get("k");
            pipe.query_async::<Option<(i64,)>>(&mut conn).await
        })
        .await
        .unwrap();
    assert_eq!(three, 3);
    let expected = ["WATCH", "GET", "MULTI", "SET", "GET", "EXEC", "INFO"];
    assert_eq!(seen(&addr), expected);

    drop(conn);

    // A guard that reads proves what its transaction sees ahead of MULTI.
    let addr = address(&mut pool.read().await.unwrap()).await;
    let mut conn = session.read().await.unwrap();
    seen(&addr);
    assert_eq!(value(&mut conn, "k").await, Some(3));
    assert_eq!(seen(&addr), ["INFO", "GET"]);
    let () = run(&mut conn, "MULTI").await.unwrap();
    let () = run(&mut conn, "GET k").await.unwrap();
    let (three,): (i64,) = run(&mut conn, "EXEC").await.unwrap();
    assert_eq!(three, 3);
    assert_eq!(
        seen(&addr),
        ["INFO", "PING", "MULTI", "GET", "EXEC", "INFO"]
    );

    drop(conn);

    // With its replies off the server cannot be asked, and the session's next read makes up for it.
    let mut conn = session.write().await.unwrap();
    let () = run(&mut conn, "CLIENT REPLY OFF").await.unwrap();
    let () = run(&mut conn, "SET k 4").await.unwrap();
    drop(conn);
    let before = freshness(&pool).questions;
    eventually("it arrives", LONG, || async {
        value_at(&server, "k") == Some(4)
    })
    .await;
    assert_eq!(
        value(&mut session.read().await.unwrap(), "k").await,
        Some(4)
    );
    assert_eq!(freshness(&pool).questions, before + 1);
    assert_conserved(&pool);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_for_guards_of_which_nobody_asks_anything() {
    let server = Server::standalone(&[]);
    let mut config = Config::standalone(server.addr());
    patient(&mut config);
    config.refresh_interval = LONG;
    config.client_name = Some(APP.to_owned());
    let pool = Pool::connect(config).await.unwrap();
    let session = pool.session();
    let (mut watched, mut sum) = (watch(&server), 0);
    let mut calls = || {
        sum += block_in_place(|| asked(&server, &mut watched));
        sum
    };
    let before = calls();
    for turn in 0..50 {
        let mut conn = pool.write().await.unwrap();
        let () = conn.set("k", turn).await.unwrap();
        drop(conn);
        assert_eq!(
            value(&mut pool.read().await.unwrap(), "k").await,
            Some(turn)
        );
        // In a session that has neither written nor gone on with a token.
        assert_eq!(
            value(&mut session.read().await.unwrap(), "k").await,
            Some(turn)
        );
        let mut conn = pool.read_with(Freshness::Any).await.unwrap();
        assert_eq!(value(&mut conn, "k").await, Some(turn));
    }
    assert_eq!(calls(), before);
    let () = session.write().await.unwrap().set("k", 50).await.unwrap();
    assert_eq!(calls(), before + 1);
    for (read_from, protocol) in [
        (ReadFrom::Any, Protocol::Resp2),
        (ReadFrom::Master, Protocol::Resp3),
    ] {
        let mut config = Config::standalone(server.addr());
        patient(&mut config);
        config.read_from = read_from;
        config.protocol = protocol;
        let pool = Pool::connect(config).await.unwrap();
        let session = pool.session().monotonic(true);
        for turn in 0..10 {
            let () = session.write().await.unwrap().set("k", turn).await.unwrap();
            assert_eq!(
                value(&mut session.read().await.unwrap(), "k").await,
                Some(turn)
            );
        }
        let status = freshness(&pool);
        assert_eq!((status.thrown_away, status.questions), (0, 0), "{status:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_permission_for_info_writes_go_on_and_reads_say_so() {
    let server = Server::standalone(&[]);
    server.cmd(&[
        "ACL", "SETUSER", "mute", "on", ">pw", "~*", "+@all", "-info",
    ]);
    let mut config = Config::from_url(&format!("redis://mute:pw@{}", server.addr())).unwrap();
    patient(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let session = pool.session();
    let mut conn = session.write().await.unwrap();
    let () = conn.set("k", 1).await.unwrap();
    let two: i64 = conn.incr("k", 1).await.unwrap();
    assert_eq!(two, 2);
    let mut conn = session.read().await.unwrap();
    let token = format!("1.{}.5.0", "a".repeat(40)).parse().unwrap();
    let mut after = pool.read_with(Freshness::After(token)).await.unwrap();
    for conn in [&mut conn, &mut after] {
        let read: RedisResult<i64> = conn.get("k").await;
        let error = read.expect_err("nothing can be proven");
        assert!(
            matches!(Error::of(&error), Some(Error::PositionRefused { .. })),
            "{error}"
        );
        assert!(error.to_string().contains("+info"), "{error}");
        let () = run(conn, "PING").await.unwrap_or_default();
    }
    drop((conn, after));
    let mut conn = pool.read().await.unwrap();
    assert_eq!(value(&mut conn, "k").await, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_write_of_unknown_outcome_the_next_read_asks_the_master() {
    let server = Server::standalone(&[]);
    let mut config = Config::standalone(server.addr());
    patient(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let session = pool.session();
    let mut reading = session.read().await.unwrap();
    let asked = || freshness(&pool).questions;

    // The caller leaves before the reply comes.
    let mut conn = session.write().await.unwrap();
    hold(&server);
    let dropped = poll_then_drop(conn.set::<_, _, ()>("k", 1), 1).await;
    assert!(dropped.is_none());
    release(&server);
    let before = asked();
    for _ in 0..3 {
        let _ = value(&mut reading, "k").await;
    }
    assert_eq!(asked(), before + 1, "it is asked once");

    // The connection is lost.
    let number = id(&mut conn).await.to_string();
    let blocked = tokio::spawn(async move {
        let popped: RedisResult<Option<(String, i64)>> = conn.blpop("q", 0.0).await;
        popped
    });
    eventually("it waits", LONG, || async {
        block_in_place(|| server.info("clients")["blocked_clients"] == "1")
    })
    .await;
    block_in_place(|| server.cmd(&["CLIENT", "KILL", "ID", &number]));
    let error = blocked.await.unwrap().expect_err("no reply comes");
    assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
    let before = asked();
    let _ = value(&mut reading, "k").await;
    assert_eq!(asked(), before + 1);

    // Work that is done again leaves its tokens, too.
    for turn in 10..13 {
        let policy = Retry::default();
        let work = |mut conn: Connection| async move { conn.set::<_, _, ()>("k", turn).await };
        session.retry_write(policy.clone(), work).await.unwrap();
        assert_eq!(value(&mut reading, "k").await, Some(turn));
        let work = |mut writer: Multiplexed| async move { writer.incr("k", 100).await };
        let sum: i64 = session.retry_writer(policy, work).await.unwrap();
        assert_eq!(value(&mut reading, "k").await, Some(sum));
    }
    assert_eq!(asked(), before + 1);

    // A guard does not keep its pool running, and without it nothing can be asked.
    assert_eq!(session.state(), SessionState::Consistent);
    drop((session, pool));
    let read: RedisResult<i64> = reading.get("k").await;
    let error = read.expect_err("the pool is gone");
    assert!(matches!(Error::of(&error), Some(Error::Closed)), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_of_few_connections_each_see_their_own_writes() {
    let servers = trio();
    let [_, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.read.max_active = 3;
        config.write.max_active = 3;
    })
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let tasks = (0..12_usize).map(|task| {
        let (pool, stop) = (pool.clone(), Arc::clone(&stop));
        tokio::spawn(async move {
            let (key, session) = (format!("k{task}"), pool.session());
            let mut turn: usize = 0;
            while !stop.load(SeqCst) {
                turn += 1;
                let written = turn * 100 + task;
                let () = session
                    .write()
                    .await
                    .unwrap()
                    .set(&key, written)
                    .await
                    .unwrap();
                let mut conn = session.read().await.unwrap();
                let _ = poll_then_drop(conn.get::<_, usize>(&key), turn % 9).await;
                let seen: usize = conn.get(&key).await.unwrap();
                assert_eq!(seen, written);
                drop(conn);
                let active = pool.status().read.active;
                assert!(active <= 3, "{active}");
            }
            turn
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for round in 0..12 {
        let slow = if round % 2 == 0 { one } else { two };
        hold(slow);
        tokio::time::sleep(Duration::from_millis(60)).await;
        release(slow);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.store(true, SeqCst);
    for task in tasks {
        assert!(task.await.unwrap() > 5);
    }
    assert_conserved(&pool);
    let status = freshness(&pool);
    assert!(status.thrown_away > 0, "no replica was behind: {status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_writes_and_reads_leave_no_doubt_and_nothing_open() {
    let servers = trio();
    let [master, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        only_replicas(config);
        config.read.max_active = 2;
        config.write.max_active = 2;
    })
    .await;
    let session = pool.session();
    hold(one);
    for (polls, turn) in (0..40).enumerate() {
        let mut conn = session.write().await.unwrap();
        let write = conn.set::<_, _, ()>("k", turn);
        let _ = poll_then_drop(write, 1 + polls % 3).await;
        drop(conn);
        // It may be executed yet, after the question to the master: then it is nobody's write.
        let mut conn = session.read().await.unwrap();
        let seen = value(&mut conn, "k").await;
        assert!(seen <= value_at(master, "k"), "turn {turn}");
        put(master, "mark", turn);
        let token = pool.token().await.unwrap();
        let mut conn = pool.read_with(Freshness::After(token)).await.unwrap();
        // Dropped wherever it waits: for an answer, in a pause, for another connection.
        let read = conn.get::<_, i64>("mark");
        let _ = poll_then_drop(read, polls % 12).await;
        let seen = value(&mut conn, "mark").await;
        assert_eq!(seen, Some(turn), "a reply that was asked for by another");
        drop(conn);
        assert!(pool.status().read.active <= 2);
    }
    assert_conserved(&pool);

    // The node of a guard dies while its read waits.
    hold(two);
    put(master, "k", 100);
    let token = pool.token().await.unwrap();
    let mut conn = pool.read_with(Freshness::After(token)).await.unwrap();
    let (own, other) = if conn.node().port() == one.port() {
        (one, two)
    } else {
        (two, one)
    };
    let read = tokio::spawn(async move { (value(&mut conn, "k").await, conn.node()) });
    tokio::time::sleep(Duration::from_millis(30)).await;
    block_in_place(|| own.kill());
    tokio::time::sleep(Duration::from_millis(30)).await;
    assert!(!read.is_finished());
    release(other);
    let (seen, node) = read.await.unwrap();
    assert_eq!((seen, node.port()), (Some(100), other.port()));
    assert_conserved(&pool);
}
