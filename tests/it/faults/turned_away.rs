//! What a server says before it closes a connection: at the door, and to a command that it does not
//! read to the end.

use std::time::Duration;

use redis::{RedisResult, Value, cmd, pipe};
use redis_rw_pool::{Error, Outcome, Pool, outcome};
use testkit::{
    Server,
    fake::{self},
};

use crate::support::{ask, chain, run, sentinel_of, watched_by};

pub(super) const DENIED: &str =
    "-DENIED Redis is running in protected mode because protected mode is enabled.\r\n";
pub(super) const FULL: &str = "-ERR max number of clients reached\r\n";

#[tokio::test]
async fn a_server_with_too_many_clients_is_quoted_to_those_who_wait_for_a_connection() {
    let server = Server::standalone(&[]);
    let sentinel = sentinel_of(server.port());
    let mut config = watched_by(&sentinel);
    config.connect_timeout = Duration::from_secs(1);
    config.failover_timeout = Duration::from_secs(1);
    let waits = Pool::connect(config.clone()).await.unwrap();
    config.failover_timeout = Duration::ZERO;
    let does_not_wait = Pool::connect(config).await.unwrap();
    let mut admin = server.connect().unwrap();
    admin.call(&["CONFIG", "SET", "maxclients", "1"]).unwrap();
    for _ in 0..5 {
        let error = does_not_wait.write().await.unwrap_err();
        assert!(error.to_string().contains(FULL[5..].trim()), "{error}");
        assert!(error.is_transient());
        let error = run::<String>(&mut does_not_wait.writer(), "PING").await;
        let text = chain(&error.unwrap_err());
        assert!(text.contains(FULL[5..].trim()), "{text}");
    }
    let error = waits.write().await.unwrap_err();
    assert!(matches!(error, Error::NoMaster { .. }), "{error}");
    assert!(error.to_string().contains(FULL[5..].trim()), "{error}");
    let error = run::<String>(&mut waits.writer(), "PING").await;
    let text = chain(&error.unwrap_err());
    assert!(text.contains(FULL[5..].trim()), "{text}");
    admin.call(&["CONFIG", "SET", "maxclients", "100"]).unwrap();
    let mut conn = waits.write().await.unwrap();
    assert_eq!(ask::<String>(&mut conn, "PING").await, "PONG");
}

/// A server that takes no argument of more than a megabyte, and a pool on it.
async fn narrow() -> (Server, Pool, fake::FakeSentinel) {
    let server = Server::standalone(&["proto-max-bulk-len 1mb"]);
    let sentinel = sentinel_of(server.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    (server, pool, sentinel)
}

fn large(megabytes: usize) -> Vec<u8> {
    vec![b'x'; megabytes << 20]
}

/// Fails with the server's own words, and with this outcome.
fn quotes_the_server(result: RedisResult<Value>, expected: Outcome) {
    let error = result.expect_err("the server reads no such argument");
    let text = chain(&error);
    assert!(text.contains("Protocol error"), "{text}");
    assert_eq!(outcome(&error), expected, "{text}");
}

#[tokio::test]
async fn an_argument_that_the_server_does_not_read_fails_with_its_words_and_was_not_executed() {
    let (server, pool, _sentinel) = narrow().await;
    for megabytes in [2, 8, 64] {
        let set = cmd("SET").arg("k").arg(large(megabytes)).take();
        let mut guard = pool.write().await.unwrap();
        quotes_the_server(set.query_async(&mut guard).await, Outcome::NotExecuted);
        // It goes on over another connection.
        assert_eq!(ask::<String>(&mut guard, "PING").await, "PONG");
        let mut handle = pool.writer();
        quotes_the_server(set.query_async(&mut handle).await, Outcome::NotExecuted);
        assert_eq!(ask::<String>(&mut handle, "PING").await, "PONG");
        let wait_for_nobody = set.clone().set_no_response(true).take();
        let _: RedisResult<Value> = wait_for_nobody.query_async(&mut guard).await;
        assert_eq!(ask::<String>(&mut guard, "PING").await, "PONG");
    }
    assert_eq!(server.cmd(&["EXISTS", "k"]).as_int(), 0);
}

#[tokio::test]
async fn a_pipeline_with_such_an_argument_says_what_of_it_was_executed() {
    let (server, pool, _sentinel) = narrow().await;
    for megabytes in [2, 16] {
        let mut middle = pipe();
        middle.set("a", 1).set("b", large(megabytes)).set("c", 1);
        let mut first = pipe();
        first.set("b", large(megabytes)).set("c", 1);
        let mut atomic = middle.clone();
        atomic.atomic();
        let mut guard = pool.write().await.unwrap();
        let mut handle = pool.writer();
        for pipeline in [&first, &atomic] {
            quotes_the_server(pipeline.query_async(&mut guard).await, Outcome::NotExecuted);
            quotes_the_server(
                pipeline.query_async(&mut handle).await,
                Outcome::NotExecuted,
            );
            assert_eq!(server.cmd(&["DBSIZE"]).as_int(), 0);
        }
        for exclusive in [true, false] {
            let result: RedisResult<Value> = if exclusive {
                middle.query_async(&mut guard).await
            } else {
                middle.query_async(&mut handle).await
            };
            let failed = result.clone().unwrap_err().into_server_errors().unwrap();
            let failed: Vec<usize> = failed.iter().map(|(place, _)| *place).collect();
            assert_eq!(failed, [1, 2]);
            quotes_the_server(result, Outcome::Executed);
            assert_eq!(server.cmd(&["DEL", "a", "b", "c"]).as_int(), 1, "only `a`");
        }
    }
}

#[tokio::test]
async fn a_read_that_the_server_does_not_read_to_the_end_is_sent_once() {
    let (server, pool, _sentinel) = narrow().await;
    let get = cmd("GET").arg(large(4)).take();
    let connections = || -> u64 {
        let stats = server.info("stats");
        stats["total_connections_received"].parse().unwrap()
    };
    let mut guard = pool.read().await.unwrap();
    let (mut reader, mut writer) = (pool.reader(), pool.writer());
    ask::<String>(&mut guard, "PING").await;
    ask::<String>(&mut reader, "PING").await;
    ask::<String>(&mut writer, "PING").await;
    let before = connections();
    quotes_the_server(get.query_async(&mut guard).await, Outcome::NotExecuted);
    quotes_the_server(get.query_async(&mut reader).await, Outcome::NotExecuted);
    quotes_the_server(get.query_async(&mut writer).await, Outcome::NotExecuted);
    // The shared ones are made anew, each looked at once, and this asks over one of its own.
    let made = connections() - before;
    assert!(made <= 10, "{made} connections for three commands");
}
