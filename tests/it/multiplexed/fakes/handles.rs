//! The tests of `multiplexed::handles` that need no redis-server.

use std::fmt::Debug;

use redis::{ErrorKind, RedisResult, Value, pipe};
use redis_rw_pool::{Multiplexed, Pool};

use crate::support::{
    SOON, SilentMaster, ask, assert_hidden, cmd, eventually, failure, node_with, run, sentinel_of,
    watched_by,
};

const fn is_a_handle<T: Clone + Send + Sync + Debug + 'static>() {}

#[test]
fn a_handle_may_be_cloned_sent_and_shared_between_threads() {
    const { is_a_handle::<Multiplexed>() };
}

#[tokio::test]
async fn what_is_on_its_way_is_counted() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 3).await;
    let mut callers = Vec::new();
    for key in ["a", "b", "c"] {
        callers.push(silent.get(key));
    }
    eventually("three arrived", SOON, || async {
        silent.arrived().len() == 3
    })
    .await;
    callers.push(silent.get_in_line("d").await);
    callers.push(silent.get_in_line("e").await);
    let status = silent.status();
    assert_eq!((status.in_flight, status.waiting), (3, 2), "{status:?}");
    callers.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn after_close_what_was_written_is_answered_and_the_rest_fails() {
    let silent = SilentMaster::start(|config| config.multiplexed.max_in_flight = 2).await;
    let first = silent.get("a");
    silent.arrived_are(&["a"]).await;
    let second = silent.get("b");
    silent.arrived_are(&["a", "b"]).await;
    let third = silent.get_in_line("c").await;
    silent.pool.close();
    for result in [third.await.unwrap(), silent.get("d").await.unwrap()] {
        let (_, text) = failure(result);
        assert!(text.contains("the pool is closed"), "{text}");
    }
    silent.answer("a");
    silent.answer("b");
    assert_eq!(first.await.unwrap().unwrap(), "a");
    assert_eq!(second.await.unwrap().unwrap(), "b");
    assert_eq!(silent.arrived(), ["a", "b"]);
    eventually("the connection is closed", SOON, || async {
        !silent.lines()[0].is_open()
    })
    .await;
    let status = silent.status();
    assert_eq!((status.connections, status.in_flight), (0, 0), "{status:?}");
    let fresh: RedisResult<Value> = run(&mut silent.pool.reader(), "PING").await;
    let (_, text) = failure(fresh);
    assert!(text.contains("the pool is closed"), "{text}");
}

/// Everything that would change the connection for its other users, or hold them up.
const UNSHAREABLE: &[&str] = &[
    "BLPOP k 0",
    "blpop k 0",
    "BRPOP k 1",
    "BRPOPLPUSH a b 0",
    "BLMOVE a b LEFT RIGHT 0.5",
    "BLMPOP 0 1 k LEFT",
    "BZPOPMIN z 0",
    "BZPOPMAX z 1",
    "BZMPOP 0 1 z MIN",
    "XREAD BLOCK 0 STREAMS s $",
    "XREAD COUNT 2 block 10 STREAMS s $",
    "XREADGROUP GROUP g c BLOCK 10 STREAMS s >",
    "WAIT 1 0",
    "WAITAOF 1 0 0",
    "MULTI",
    "multi",
    "EXEC",
    "DISCARD",
    "WATCH k",
    "UNWATCH",
    "SUBSCRIBE c",
    "PSUBSCRIBE c*",
    "SSUBSCRIBE c",
    "UNSUBSCRIBE",
    "PUNSUBSCRIBE",
    "SUNSUBSCRIBE",
    "MONITOR",
    "SELECT 1",
    "AUTH secret",
    "HELLO 3",
    "HELLO 2 AUTH user secret",
    "CLIENT REPLY OFF",
    "client reply skip",
    "CLIENT REPLY ON",
    "CLIENT TRACKING ON",
    "CLIENT CACHING YES",
    "CLIENT SETNAME x",
    "CLIENT NO-EVICT ON",
    "READONLY",
    "READWRITE",
    "ASKING",
    "RESET",
    "QUIT",
    "SHUTDOWN NOSAVE",
    "SYNC",
    "PSYNC ? -1",
    "DEBUG SLEEP 1",
    "SCRIPT DEBUG YES",
    "SCAN 0",
    "scan 17 MATCH x",
    "HSCAN h 0",
    "SSCAN s 17",
    "ZSCAN z 17 COUNT 5",
    "CLUSTERSCAN 0",
    "FT.CURSOR READ i 7",
    "FT.AGGREGATE i * WITHCURSOR",
];

/// They bring messages.
const RECEIVES: [&str; 3] = ["SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE"];

#[tokio::test]
async fn what_needs_a_connection_of_its_own_is_refused_before_it_is_sent() {
    let node = node_with(|_, _| None);
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    for (mut handle, way) in [
        (pool.writer(), "pool.write()"),
        (pool.reader(), "pool.read()"),
    ] {
        let _: String = ask(&mut handle, "PING").await;
        let before = node.commands();
        for line in UNSHAREABLE {
            let refused = run::<Value>(&mut handle, line).await;
            let mut results = vec![("alone", refused)];
            for (place, at) in [("first", 0), ("middle", 1), ("last", 2)] {
                for atomic in [false, true] {
                    let mut lines = vec!["SET a 1", "SET b 2"];
                    lines.insert(at, *line);
                    let mut pipeline = pipe();
                    if atomic {
                        pipeline.atomic();
                    }
                    for line in lines {
                        pipeline.add_command(cmd(line));
                    }
                    results.push((place, pipeline.query_async(&mut handle).await));
                }
            }
            let silently = cmd(line)
                .set_no_response(true)
                .query_async(&mut handle)
                .await;
            results.push(("without response", silently));
            for (place, result) in results {
                let error = result.expect_err(line);
                let text = error.to_string();
                let is_subscription = RECEIVES.contains(&line.split(' ').next().unwrap());
                let way = if is_subscription {
                    "pool.subscriber()"
                } else {
                    way
                };
                assert!(text.contains(way), "{line}, {place}: {text}");
                let name = line.split(' ').next().unwrap();
                assert!(text.contains(name), "{line}, {place}: {text}");
                assert_hidden(&text, "secret");
                assert_eq!(error.kind(), ErrorKind::Client, "{line}");
            }
        }
        assert_eq!(node.commands(), before);
        let _: String = ask(&mut handle, "PING").await;
    }
    assert_eq!(
        pool.status().writer.created + pool.status().reader.created,
        2
    );
}

#[tokio::test]
async fn a_command_sent_without_waiting_does_not_wait_for_its_reply() {
    let silent = SilentMaster::start(|_| {}).await;
    let get = cmd("GETDEL a").set_no_response(true).to_owned();
    let () = get.query_async(&mut silent.writer.clone()).await.unwrap();
    silent.arrived_are(&["a"]).await;
    assert_eq!(silent.status().in_flight, 1);
    let next = silent.get("b");
    silent.arrived_are(&["a", "b"]).await;
    silent.answer("a");
    silent.answer("b");
    assert_eq!(next.await.unwrap().unwrap(), "b");
    silent.at_rest().await;
}
