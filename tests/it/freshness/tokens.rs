//! Tokens and replicas that are behind.

use redis::{AsyncCommands, RedisResult, pipe};
use redis_rw_pool::{Error, Otherwise, Pool, Protocol, ReadFrom, SessionState, Token};
use tokio::task::block_in_place;

use super::{
    APP, asked, calls, follow, freshness, get, hold, in_step, meets_stale, only_replicas, pool_on,
    put, release, trio, value_at, watch,
};
use crate::support::{LONG, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_with_a_token_sees_the_write_from_whatever_replica() {
    let servers = trio();
    let nodes = servers.nodes();
    for protocol in [Protocol::Resp3, Protocol::Resp2] {
        let pool = pool_on(nodes, |config| {
            only_replicas(config);
            config.protocol = protocol;
        })
        .await;
        let session = pool.session();
        for value in 0..300 {
            let () = session.writer().set("k", value).await.unwrap();
            assert_eq!(get(session.reader(), "k").await, Some(value));
        }
        assert_eq!(session.state(), SessionState::Consistent);
        let status = freshness(&pool);
        let served = (status.proven, status.from_master, status.stale);
        assert_eq!(served, (300, 0, 0), "{protocol:?}: {status:?}");
    }
    assert_eq!(calls(&nodes[0], "get"), 0);
    for replica in &nodes[1..] {
        assert!(calls(replica, "get") > 50, "{} serves, too", replica.name());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_only_received_the_write_does_not_count() {
    let servers = trio();
    let [master, slow, quick] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), only_replicas).await;
    let impatient = pool_on(servers.nodes(), |_| ()).await;
    hold(slow);
    let session = pool.session();
    for value in 0..100 {
        let () = session.writer().set("k", value).await.unwrap();
        assert_eq!(get(session.reader(), "k").await, Some(value));
    }
    eventually("it has received what it has not executed", LONG, || async {
        let info = slow.info("replication");
        info["slave_read_repl_offset"] != info["slave_repl_offset"]
    })
    .await;
    meets_stale(&pool, "k", Some(99)).await;
    let status = freshness(&pool);
    assert!(status.thrown_away > 0, "{status:?}");
    assert_eq!((status.proven, status.from_master), (100, 0), "{status:?}");

    // Nobody has it but the master.
    hold(quick);
    let session = impatient.session();
    let () = session.writer().set("k", 100).await.unwrap();
    for _ in 0..20 {
        assert_eq!(get(session.reader(), "k").await, Some(100));
    }
    let status = freshness(&impatient);
    assert_eq!((status.proven, status.from_master), (20, 20), "{status:?}");
    meets_stale(&impatient, "k", Some(100)).await;

    // The replicas serve again as soon as they can.
    release(slow);
    release(quick);
    in_step(master, 2);
    eventually("replicas serve", LONG, || async {
        let before = freshness(&impatient).from_master;
        assert_eq!(get(session.reader(), "k").await, Some(100));
        freshness(&impatient).from_master == before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_taken_behind_exec() {
    let servers = trio();
    let [master, ..] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.freshness.otherwise = Otherwise::Fail;
    })
    .await;
    put(master, "k", 1);
    in_step(master, 2);
    servers.nodes()[1..].iter().for_each(hold);
    let session = pool.session();
    let mut both = pipe();
    both.atomic().incr("k", 1).incr("k", 1);
    let (_, second): (i64, i64) = both.query_async(&mut session.writer()).await.unwrap();
    assert_eq!(second, 3);
    // A position from between MULTI and EXEC is one that both replicas have.
    let read: RedisResult<i64> = session.reader().get("k").await;
    let error = read.expect_err("no replica has it");
    assert!(
        matches!(Error::of(&error), Some(Error::Stale { .. })),
        "{error}"
    );
    assert_eq!(value_at(&servers.nodes()[1], "k"), Some(1));
    servers.nodes()[1..].iter().for_each(release);
    in_step(master, 2);
    assert_eq!(get(session.reader(), "k").await, Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pipelines_and_scripts_are_proven_as_single_commands_are() {
    let servers = trio();
    let [_, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), only_replicas).await;
    hold(slow);
    let session = pool.session();
    let reading = redis::Script::new("return redis.call('GET', KEYS[1])");
    for value in 0..30_i64 {
        let mut writes = pipe();
        for key in 0..200 {
            writes.set(format!("k{key}"), value).ignore();
        }
        let () = writes.query_async(&mut session.writer()).await.unwrap();
        let mut reads = pipe();
        for key in 0..200 {
            reads.get(format!("k{key}"));
        }
        if value % 2 == 0 {
            reads.atomic();
        }
        let seen: Vec<i64> = reads.query_async(&mut session.reader()).await.unwrap();
        assert_eq!(seen, vec![value; 200]);
        // The server cannot know that a script only reads, so this goes as ever.
        let _: i64 = reading
            .key("k0")
            .invoke_async(&mut session.writer())
            .await
            .unwrap();
    }
    let status = freshness(&pool);
    assert_eq!((status.proven, status.from_master), (30, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_from_another_process_works() {
    let servers = trio();
    let [_, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let writing = pool_on(servers.nodes(), |_| ()).await;
    // Pools that never saw a position.
    let by_session = pool_on(servers.nodes(), only_replicas).await;
    let by_token = pool_on(servers.nodes(), only_replicas).await;
    let session = writing.session();
    for value in 0..10 {
        let () = session.writer().set("k", value).await.unwrap();
    }
    hold(slow);
    let () = session.writer().set("k", 10).await.unwrap();
    let text = session.token().unwrap().to_string();
    let token: Token = text.parse().unwrap();

    for _ in 0..30 {
        let session = by_session.session().resume(&text);
        assert_eq!(session.token().as_ref(), Some(&token));
        assert_eq!(get(session.reader(), "k").await, Some(10));
        assert_eq!(session.state(), SessionState::Consistent);
        assert_eq!(get(by_token.reader().after(&token), "k").await, Some(10));
    }
    for pool in [&by_session, &by_token] {
        let status = freshness(pool);
        let served = (status.proven, status.from_master, status.unknown);
        assert_eq!(served, (30, 0, 0), "{status:?}");
    }
    meets_stale(&by_token, "k", Some(10)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_makes_no_sense_costs_a_question_and_is_never_an_error() {
    let servers = trio();
    let [master, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let other = testkit::Server::standalone(&[]);
    let foreign = pool_on(std::slice::from_ref(&other), |_| ()).await;
    let session = foreign.session();
    let () = session.writer().set("k", 1).await.unwrap();
    let foreign = session.token().unwrap().to_string();
    let pool = pool_on(servers.nodes(), |config| {
        only_replicas(config);
        config.client_name = Some(APP.to_owned());
    })
    .await;
    put(master, "k", 1);
    in_step(master, 2);
    hold(slow);
    put(master, "k", 2);

    // What cannot be read is ignored, and then nothing is asked.
    let huge = format!("1.{}.5.0", "a".repeat(1_000_000));
    for text in [
        "",
        "1",
        "1.2.3.4",
        "\u{0}",
        "a cookie of somebody else",
        &huge,
    ] {
        let session = pool.session().resume(text);
        assert_eq!(session.token(), None);
        let seen = get(session.reader(), "k").await;
        assert!(matches!(seen, Some(1 | 2)), "{seen:?}");
    }
    let status = freshness(&pool);
    assert_eq!((status.proven, status.questions), (0, 0), "{status:?}");

    // What can be read and is of no timeline here: everything that the master has.
    let made_up = |byte: char, offset: u64, epoch: u64| {
        format!("1.{}.{offset}.{epoch}", byte.to_string().repeat(40))
    };
    let odd = [
        foreign,
        made_up('a', 0, 0),
        made_up('b', i64::MAX as u64, u64::MAX),
        made_up('c', 7, 0),
    ];
    for text in &odd {
        let before = freshness(&pool);
        for _ in 0..10 {
            let session = pool.session().resume(text);
            assert!(session.token().is_some(), "{text}");
            assert_eq!(get(session.reader(), "k").await, Some(2), "{text}");
            assert_eq!(session.state(), SessionState::Unknown, "{text}");
        }
        let after = freshness(&pool);
        assert_eq!(after.unknown, before.unknown + 10, "{text}: {after:?}");
    }
    // The master was asked once a timeline, and not again.
    let mut watched = watch(master);
    for text in &odd {
        let session = pool.session().resume(text);
        assert_eq!(get(session.reader(), "k").await, Some(2), "{text}");
    }
    assert_eq!(block_in_place(|| asked(master, &mut watched)), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offset_that_the_master_has_not_reached_is_what_the_master_has() {
    let servers = trio();
    let [master, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    in_step(master, 2);
    hold(slow);
    let () = session.writer().set("k", 2).await.unwrap();
    let real = session.token().unwrap().to_string();
    let parts: Vec<&str> = real.split('.').collect();
    for offset in [i64::MAX as u64, 1 << 40] {
        for epoch in ["0", "18446744073709551615"] {
            let text = format!("1.{}.{offset}.{epoch}", parts[1]);
            let forged = pool.session().resume(&text);
            assert_eq!(get(forged.reader(), "k").await, Some(2), "{text}");
            assert_eq!(forged.state(), SessionState::Unknown, "{text}");
        }
    }
    assert!(freshness(&pool).from_master > 0);
    // And it does no harm to others.
    assert_eq!(get(session.reader(), "k").await, Some(2));
    assert_eq!(session.state(), SessionState::Consistent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_offset_costs_a_question_and_no_time_where_only_replicas_serve() {
    let servers = trio();
    let [master, ..] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |config| {
        config.read_from = ReadFrom::Replica
    })
    .await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    in_step(master, 2);
    let real = session.token().unwrap().to_string();
    let timeline = real.split('.').nth(1).unwrap();
    let furthest = format!("1.{timeline}.{}.0", i64::MAX);
    for (text, is_out_of_reach) in [
        (furthest.clone(), true),
        (format!("1.{timeline}.{}.0", 1_u64 << 40), false),
    ] {
        let began = tokio::time::Instant::now();
        for _ in 0..10 {
            let forged = pool.session().resume(&text);
            assert_eq!(get(forged.reader(), "k").await, Some(1));
            assert_eq!(forged.state(), SessionState::Unknown);
            let asked = freshness(&pool).questions;
            assert!(!is_out_of_reach || asked == 0, "nobody can have got there");
            assert_eq!(get(forged.reader(), "k").await, Some(1));
            assert_eq!(freshness(&pool).questions, asked, "the session knows");
        }
        assert!(began.elapsed() < LONG / 4, "{:?}", began.elapsed());
    }
    let mine = pool.session().resume(&furthest);
    let () = mine.writer().set("k", 2).await.unwrap();
    assert_ne!(mine.token().unwrap().to_string(), furthest);
    assert_eq!(get(mine.reader(), "k").await, Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_token_that_nobody_knows_sees_its_own_writes() {
    let servers = trio();
    let [master, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    put(master, "k", 1);
    in_step(master, 2);
    let stranger = format!("1.{}.5.9", "d".repeat(40));
    // What the master has now is kept for this timeline.
    let before = pool.session().resume(&stranger);
    assert_eq!(get(before.reader(), "k").await, Some(1));
    hold(one);
    hold(two);
    for (value, is_resumed_first) in [(2, true), (3, false)] {
        let mut session = pool.session();
        if is_resumed_first {
            session = session.resume(&stranger);
        }
        let () = session.writer().set("k", value).await.unwrap();
        if !is_resumed_first {
            session = session.resume(&stranger);
        }
        let next = session.token().unwrap();
        assert_ne!(next.to_string(), stranger, "it stands for the write");
        assert_eq!(get(session.reader(), "k").await, Some(value));
        assert_eq!(session.state(), SessionState::Unknown);
        let next = pool.session().after(&next);
        assert_eq!(get(next.reader(), "k").await, Some(value));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_went_back_is_not_believed() {
    let servers = trio();
    let [master, behind, back] = servers.nodes() else {
        unreachable!()
    };
    // The pool keeps its connections and does not learn that a replica follows another one.
    let never = std::time::Duration::from_secs(3600);
    let pool: Pool = pool_on(servers.nodes(), |config| {
        config.refresh_interval = never;
        config.read_from = ReadFrom::ReplicaPreferred;
    })
    .await;
    put(master, "k", 1);
    in_step(master, 2);
    hold(behind);
    let session = pool.session();
    let () = session.writer().set("k", 2).await.unwrap();
    let token = session.token().unwrap();
    in_step(master, 1);
    assert_eq!(value_at(back, "k"), Some(2));
    // Every connection is there, and every position known.
    eventually("both replicas were asked", LONG, || async {
        assert_eq!(get(session.reader(), "k").await, Some(2));
        let _ = get(pool.reader(), "k").await;
        freshness(&pool).nodes.len() == 3
    })
    .await;
    // It asks for more than that one has, is sent everything anew, and has less than before.
    follow(back, behind);
    eventually("it went back", LONG, || async {
        // While it loads it answers nothing of use.
        let reply = block_in_place(|| back.cmd(&["GET", "k"]));
        !reply.is_error() && !reply.is_nil() && reply.as_int() == 1
    })
    .await;
    for _ in 0..50 {
        assert_eq!(get(session.reader(), "k").await, Some(2));
        assert_eq!(get(pool.reader().after(&token), "k").await, Some(2));
    }
    meets_stale(&pool, "k", Some(2)).await;
    assert_eq!(session.state(), SessionState::Consistent);
}
