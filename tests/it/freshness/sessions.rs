//! What a session remembers.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{AddressMap, Config, Pool, SessionState};
use testkit::{
    Proxy,
    proxy::{Ending, Flow, Toward},
};
use tokio::task::block_in_place;

use super::{freshness, get, hold, in_step, only_replicas, pool_on, put, release, trio, value_at};
use crate::support::{
    LONG, eventually, local, patient, poll_then_drop, poll_then_drop_on_wake, readable_are,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_share_what_they_write_and_tokens_are_merged() {
    let servers = trio();
    let [_, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), only_replicas).await;
    hold(slow);
    let session = pool.session();
    assert_eq!(session.token(), None);
    let clone = session.clone();
    let mut writer = session.writer();
    let mut reader = clone.reader();
    for value in 0..50 {
        let () = writer.set("k", value).await.unwrap();
        let seen: Option<i64> = reader.get("k").await.unwrap();
        assert_eq!(seen, Some(value));
        assert_eq!(session.token(), clone.token());
    }
    // The older of two tokens changes nothing.
    let old = session.token().unwrap();
    let () = writer.set("k", 50).await.unwrap();
    let new = session.token().unwrap();
    let resumed = pool.session().resume(&new.to_string()).after(&old);
    assert_eq!(resumed.token(), Some(new.clone()));
    let resumed = pool.session().after(&old).resume(&new.to_string());
    assert_eq!(resumed.token(), Some(new));
    assert_eq!(get(resumed.reader(), "k").await, Some(50));

    // What writes and fails, and what only reads at the master, leaves no doubt.
    let token = session.token();
    let failed: redis::RedisResult<i64> = writer.lpush("k", 1).await;
    assert!(failed.is_err());
    let _: Option<i64> = writer.get("k").await.unwrap();
    assert_eq!(get(clone.reader(), "k").await, Some(50));
    assert_eq!(session.token(), token);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_of_a_monotonic_session_never_go_back() {
    let servers = trio();
    let [master, one, two] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), only_replicas).await;
    put(master, "k", 0);
    in_step(master, 2);
    let session = pool.session().monotonic(true);
    let mut last = 0;
    let mut plain = (0, 0);
    for value in 1..=80 {
        match value % 40 {
            5 => hold(one),
            15 => release(one),
            25 => hold(two),
            35 => release(two),
            _ => {}
        }
        put(master, "k", value);
        let seen = get(session.reader(), "k").await.unwrap();
        assert!(seen >= last, "{seen} after {last}");
        last = seen;
        for _ in 0..5 {
            let seen = get(pool.reader(), "k").await.unwrap();
            plain = (plain.0 + i32::from(seen < plain.1), seen);
        }
    }
    assert!(plain.0 > 0, "plain reads go back");
    assert!(session.token().is_some());
    assert_eq!(session.state(), SessionState::Consistent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_write_of_unknown_outcome_the_next_read_asks_the_master() {
    let servers = trio();
    let [master, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let proxy = Proxy::to(master.port());
    let mut config = Config::nodes([
        proxy.addr(),
        servers.nodes()[1].addr(),
        servers.nodes()[2].addr(),
    ]);
    patient(&mut config);
    only_replicas(&mut config);
    // Replicas name the master by its own address.
    let table: AddressMap = [(local(master.port()), local(proxy.port()))]
        .into_iter()
        .collect();
    config.address_map = Some(table);
    config.refresh_interval = Duration::from_secs(1);
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, 2, LONG).await;
    let other = pool_on(servers.nodes(), only_replicas).await;
    let session = pool.session();
    let () = session.writer().set("k", 1).await.unwrap();
    hold(slow);

    // The caller leaves before the reply comes.
    for value in 2..40 {
        let mut writer = session.writer();
        let write = writer.set::<_, _, ()>("k", value);
        if value % 2 == 0 {
            // It may not have been sent.
            let _ = poll_then_drop(write, 1).await;
            let seen = get(session.reader(), "k").await;
            assert_eq!(seen, value_at(master, "k"));
        } else {
            // The reply is here.
            let _ = poll_then_drop_on_wake(write, 1).await;
            assert_eq!(get(session.reader(), "k").await, Some(value));
        }
    }
    assert!(freshness(&pool).questions > 0);
    assert_eq!(session.state(), SessionState::Consistent);

    // The reply is lost with its connection.
    let ending = Ending::Reset;
    proxy.set(Toward::Client, Flow::Cut { after: 0, ending });
    let write: redis::RedisResult<()> = session.writer().set("k", 100).await;
    let error = write.expect_err("no reply comes");
    assert_eq!(
        redis_rw_pool::outcome(&error),
        redis_rw_pool::Outcome::Unknown,
        "{error}"
    );
    block_in_place(|| proxy.heal());
    // Its token makes others ask, too.
    let doubtful = session.token().unwrap();
    assert_eq!(session.token().as_ref(), Some(&doubtful));
    let text = doubtful.to_string();
    for _ in 0..10 {
        let other = other.session().resume(&text);
        assert_eq!(get(other.reader(), "k").await, Some(100));
        assert_eq!(other.state(), SessionState::Unknown);
    }
    let seen = get(session.reader(), "k").await;
    assert_ne!(session.token(), Some(doubtful));
    assert_eq!((seen, value_at(master, "k")), (Some(100), Some(100)));
    assert_eq!(session.state(), SessionState::Consistent);
    release(slow);
    in_step(master, 2);
    let before = freshness(&pool).questions;
    for _ in 0..20 {
        assert_eq!(get(session.reader(), "k").await, Some(100));
    }
    assert_eq!(freshness(&pool).questions, before, "it was settled");
    eventually("nothing is left over", LONG, || async {
        pool.status().writer.in_flight == 0 && pool.status().reader.in_flight == 0
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_sessions_at_once_each_see_their_own_writes() {
    let servers = trio();
    let [_, slow, _] = servers.nodes() else {
        unreachable!()
    };
    let pool = pool_on(servers.nodes(), |_| ()).await;
    hold(slow);
    let tasks = (0..64).map(|task| {
        let pool = pool.clone();
        tokio::spawn(async move {
            let session = pool.session();
            let key = format!("k{task}");
            for value in 0..40_i64 {
                let mut writer = session.writer();
                match (task + value) % 3 {
                    0 => {
                        let mut pipe = redis::pipe();
                        pipe.atomic().set(&key, -1).set(&key, value);
                        let () = pipe.query_async(&mut writer).await.unwrap();
                    }
                    _ => {
                        let () = writer.set(&key, value).await.unwrap();
                    }
                }
                let seen: Option<i64> = session.reader().get(&key).await.unwrap();
                assert_eq!(seen, Some(value), "{key}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let status = freshness(&pool);
    assert_eq!(status.proven, 64 * 40, "{status:?}");
    assert!(status.thrown_away > 0, "{status:?}");
}
