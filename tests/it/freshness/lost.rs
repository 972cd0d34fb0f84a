//! Writes that a failover or a restart has lost.

use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Error, OnLost, Pool, SessionState, Token};
use testkit::{Deployment, Server};
use tokio::task::block_in_place;

use super::{
    follow, freshness, get, hold, in_step, master_is, only_replicas, pool_on, promote, put,
    release, trio, value_at,
};
use crate::support::{LONG, eventually, local, readable_are};

/// A pool that learns of the servers only now. It waits for as many replicas, or more.
async fn late(
    servers: &[Server],
    replicas: usize,
    change: impl FnOnce(&mut redis_rw_pool::Config),
) -> Pool {
    let mut config = redis_rw_pool::Config::nodes(servers.iter().map(Server::addr));
    crate::support::patient(&mut config);
    config.refresh_interval = crate::support::SECOND;
    change(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    eventually("replicas are readable", LONG, || async {
        pool.topology().readable().count() >= replicas
    })
    .await;
    pool
}

/// The master dies with a write that no replica has executed, and one of them takes over. Returns the
/// token of that write; `k` is 1 for the others.
async fn lose(servers: &Deployment, pool: &Pool) -> Token {
    let [old, new, other] = servers.nodes() else {
        unreachable!()
    };
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    block_in_place(|| in_step(old, 2));
    hold(new);
    hold(other);
    let () = session.writer().set("k", 2).await.unwrap();
    let token = session.token().unwrap();
    block_in_place(|| old.kill());
    promote(new);
    follow(other, new);
    release(new);
    release(other);
    token
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_write_is_told_and_read_past() {
    let servers = trio();
    let [_, new, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let strict = pool_on(servers.nodes(), |config| {
        config.freshness.lost = OnLost::Fail
    })
    .await;
    let writing = pool.session();
    let token = lose(&servers, &pool).await;
    let session = writing.after(&token);
    for pool in [&pool, &strict] {
        master_is(pool, new).await;
        readable_are(pool, 1, LONG).await;
    }
    assert_eq!(value_at(new, "k"), Some(1));

    assert_eq!(get(session.reader(), "k").await, Some(1), "what is left");
    assert_eq!(session.state(), SessionState::WriteLost);
    assert!(freshness(&pool).lost > 0);
    let read: RedisResult<i64> = strict.reader().after(&token).get("k").await;
    let error = read.expect_err("it is strict");
    assert!(
        matches!(Error::of(&error), Some(Error::Lost { .. })),
        "{error}"
    );
    let error = pool
        .confirm(&token, 1, LONG)
        .await
        .expect_err("nobody has it");
    assert!(matches!(error, Error::Lost { .. }), "{error}");

    // The session goes on, and what was lost stays told.
    let () = session.writer().set("k", 3).await.unwrap();
    for _ in 0..20 {
        assert_eq!(get(session.reader(), "k").await, Some(3));
    }
    assert_eq!(session.state(), SessionState::WriteLost);
    // Another session knows nothing of it.
    let other = pool.session();
    let () = other.writer().set("k", 4).await.unwrap();
    assert_eq!(get(other.reader(), "k").await, Some(4));
    assert_eq!(other.state(), SessionState::Consistent);

    // Neither does it matter that a process was not there.
    let late = late(servers.nodes(), 1, |_| ()).await;
    let session = late.session().after(&token);
    assert_eq!(get(session.reader(), "k").await, Some(4));
    assert_eq!(session.state(), SessionState::WriteLost);
    assert!(freshness(&late).questions <= 1, "{:?}", freshness(&late));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_of_two_failovers_ago_costs_one_question() {
    let servers = trio();
    let [first, second, third] = servers.nodes() else {
        unreachable!()
    };
    let before = pool_on(servers.nodes(), |_| ()).await;
    let session = before.session();
    let () = session.writer().set("k", 1).await.unwrap();
    let token = session.token().unwrap();
    block_in_place(|| in_step(first, 2));
    promote(second);
    follow(third, second);
    follow(first, second);
    master_is(&before, second).await;
    block_in_place(|| in_step(second, 2));
    // It is known here how the one came from the other.
    assert_eq!(get(session.reader(), "k").await, Some(1));
    assert_eq!(session.state(), SessionState::Consistent);
    promote(third);
    follow(first, third);
    follow(second, third);
    master_is(&before, third).await;
    block_in_place(|| in_step(third, 2));
    assert_eq!(get(session.reader(), "k").await, Some(1));
    assert_eq!(session.state(), SessionState::Consistent);

    let late = late(servers.nodes(), 2, only_replicas).await;
    for _ in 0..50 {
        let session = late.session().after(&token);
        assert_eq!(get(session.reader(), "k").await, Some(1));
        assert_eq!(session.state(), SessionState::Unknown);
        let () = session.writer().set("own", 1).await.unwrap();
        assert_eq!(get(session.reader(), "own").await, Some(1));
    }
    let status = freshness(&late);
    assert_eq!((status.unknown, status.from_master), (50, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_before_two_failovers_that_nobody_looked_at_is_not_called_consistent() {
    let servers = trio();
    let [first, second, third] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let session = pool.session();
    // Lost in the first of them.
    hold(second);
    hold(third);
    let () = session.writer().set("k", 1).await.unwrap();
    promote(second);
    follow(third, second);
    follow(first, second);
    release(second);
    release(third);
    master_is(&pool, second).await;
    block_in_place(|| in_step(second, 2));
    promote(third);
    follow(first, third);
    follow(second, third);
    master_is(&pool, third).await;
    let () = session.writer().set("other", 1).await.unwrap();
    assert_eq!(session.state(), SessionState::Unknown);
    assert_eq!(get(session.reader(), "k").await, None);
    assert_eq!(get(session.reader(), "other").await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demoted_master_with_the_lost_write_is_not_believed() {
    let servers = trio();
    let [old, new, other] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    block_in_place(|| in_step(old, 2));
    hold(new);
    hold(other);
    let () = session.writer().set("k", 2).await.unwrap();
    let token = session.token().unwrap();
    promote(new);
    follow(other, new);
    release(new);
    release(other);
    // It waits for its copy, and has the write until then.
    new.cmd(&["CONFIG", "SET", "repl-diskless-sync-delay", "2"]);
    follow(old, new);
    master_is(&pool, new).await;
    let late = late(servers.nodes(), 1, |_| ()).await;
    let mut reads = 0;
    loop {
        let is_over = pool.topology().readable().count() == 2 && reads >= 50;
        for pool in [&pool, &late] {
            let session = pool.session().after(&token);
            assert_eq!(get(session.reader(), "k").await, Some(1));
            assert_eq!(session.state(), SessionState::WriteLost);
            reads += 1;
        }
        if is_over {
            break;
        }
    }
    assert_eq!(value_at(old, "k"), Some(1));
    assert_eq!(
        session.state(),
        SessionState::WriteLost,
        "as soon as it is known"
    );
    assert_eq!(get(session.reader(), "k").await, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_of_the_master_from_an_older_snapshot_is_told() {
    // Before, a restarted master did not say what its data came from.
    if !testkit::provides("the parent of a history in an RDB file", (7, 0)) {
        return;
    }
    let servers = trio();
    let [master, ..] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let kept = pool.session();
    let () = kept.writer().set("kept", 1).await.unwrap();
    let kept_token = kept.token().unwrap();
    let reply = block_in_place(|| master.cmd(&["SAVE"]));
    assert_eq!(reply.as_str(), "OK");
    let session = pool.session();
    let () = session.writer().set("k", 2).await.unwrap();
    block_in_place(|| master.restart());
    // As soon as the pool has heard of the new history.
    eventually("the restarted master is written to", LONG, || async {
        let write: RedisResult<()> = pool.session().writer().set("other", 1).await;
        write.is_ok()
    })
    .await;
    assert_eq!(get(session.reader(), "k").await, None, "what is left");
    assert_eq!(session.state(), SessionState::WriteLost);
    assert_eq!(get(kept.reader(), "kept").await, Some(1));
    assert_eq!(kept.state(), SessionState::Consistent);
    // The replicas copy what the master has now.
    readable_are(&pool, 2, LONG).await;
    let () = session.writer().set("k", 3).await.unwrap();
    for _ in 0..20 {
        assert_eq!(get(session.reader(), "k").await, Some(3));
        let resumed = pool.session().after(&kept_token);
        assert_eq!(get(resumed.reader(), "kept").await, Some(1));
        assert_eq!(resumed.state(), SessionState::Consistent);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_master_that_comes_back_without_its_data_is_another_history() {
    let servers = Deployment::builder().sentinels(0).replicas(1).start();
    let [master, replica] = servers.nodes() else {
        unreachable!()
    };
    block_in_place(|| in_step(master, 1));
    let pool = pool_on(servers.nodes(), |_| ()).await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    assert_eq!(get(session.reader(), "k").await, Some(1));
    block_in_place(|| master.restart());
    eventually("the restarted master is written to", LONG, || async {
        let write: RedisResult<()> = pool.session().writer().set("other", 1).await;
        write.is_ok()
    })
    .await;
    eventually("the replica has thrown its data away", LONG, || async {
        value_at(replica, "k").is_none()
    })
    .await;
    // Nobody can know what became of it.
    assert_eq!(get(session.reader(), "k").await, None);
    assert_eq!(session.state(), SessionState::Unknown);
    put(master, "k", 7);
    let token = pool.token().await.unwrap();
    assert_eq!(get(pool.reader().after(&token), "k").await, Some(7));
    assert_eq!(pool.topology().master, Some(local(master.port())));
}
