//! The tests of `session::permissions` that need no redis-server.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Discard, Error, Pool};
use testkit::fake::{Action, FakeServer};
use tokio::time::Instant;

use crate::support::{SOON, chain, node_with, sentinel_of, watched_by};

/// How the test of an idle connection ends where the server says this to a PING.
#[tokio::test]
async fn only_a_ping_that_is_refused_like_every_command_costs_the_connection() {
    for (reply, kept) in [
        (
            "-NOPERM User app has no permissions to run the 'ping' command\r\n",
            true,
        ),
        (
            "-ERR unknown command 'PING', with args beginning with: \r\n",
            true,
        ),
        (
            "-MISCONF Errors writing to the AOF file: No space left on device\r\n",
            true,
        ),
        ("-LOADING Redis is loading the dataset in memory\r\n", false),
        (
            "-MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.\r\n",
            false,
        ),
        ("-ERR upstream failure\r\n", false),
    ] {
        let node = node_with(move |_, words| (words[0] == "PING").then(|| Action::reply(reply)));
        let sentinel = sentinel_of(node.port());
        let mut config = watched_by(&sentinel);
        config.write.test_idle_after = Some(Duration::ZERO);
        let pool = Pool::connect(config).await.unwrap();
        for _ in 0..10 {
            drop(pool.write().await.unwrap());
        }
        let write = pool.status().write;
        assert_eq!(write.created == 1, kept, "{reply}: {write:?}");
        let failed = write.discards.get(Discard::TestFailed);
        assert_eq!(failed == 0, kept, "{reply}: {write:?}");
    }
}

/// Answers like Valkey 9 without HELLO: it wants to know who is asking before it says that it does not
/// know the command.
fn without_hello_and_with_a_password(password: &'static str) -> FakeServer {
    node_with(move |conn, words| {
        let signed_in = || conn.commands().iter().any(|c| c[..] == ["AUTH", password]);
        let noauth = || Action::reply("-NOAUTH Authentication required.\r\n");
        match words[0].as_str() {
            "AUTH" if words[1..] == [password] => None,
            "AUTH" => Some(Action::reply(
                "-WRONGPASS invalid username-password pair\r\n",
            )),
            _ if !signed_in() => Some(noauth()),
            "HELLO" => Some(Action::reply("-ERR unknown command 'HELLO'\r\n")),
            _ => None,
        }
    })
}

#[tokio::test]
async fn a_server_that_hides_hello_behind_its_password_is_signed_in_to_with_auth() {
    let node = without_hello_and_with_a_password("right");
    let sentinel = sentinel_of(node.port());
    let config = |password: Option<&str>| {
        let mut config = watched_by(&sentinel);
        config.password = password.map(Into::into);
        config
    };
    let pool = Pool::connect(config(Some("right"))).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let () = conn.set("k", 1).await.unwrap();
    assert_eq!(pool.topology().unproven, None);
    for (password, code) in [(Some("wrong"), "WRONGPASS"), (None, "NOAUTH")] {
        let error = Pool::connect(config(password)).await.unwrap_err();
        assert!(matches!(error, Error::Connect { .. }), "{error}");
        assert!(error.to_string().contains(code), "{error}");
        assert!(!error.is_transient(), "{error}");
    }
}

/// What servers say to credentials and to a database that they will not take.
#[tokio::test]
async fn wrong_credentials_and_databases_are_told_at_once_in_the_words_of_any_version() {
    for (command, reply, words) in [
        ("AUTH", "-ERR invalid password\r\n", "invalid password"),
        (
            "AUTH",
            "-ERR Client sent AUTH, but no password is set\r\n",
            "no password is set",
        ),
        (
            "AUTH",
            "-ERR wrong number of arguments for 'auth' command\r\n",
            "'auth'",
        ),
        (
            "SELECT",
            "-ERR DB index is out of range\r\n",
            "out of range",
        ),
        ("SELECT", "-ERR invalid DB index\r\n", "invalid DB index"),
        (
            "SELECT",
            "-ERR SELECT is not allowed in cluster mode\r\n",
            "cluster mode",
        ),
        (
            "SELECT",
            "-ERR unknown command 'SELECT', with args beginning with: '1' \r\n",
            "unknown command",
        ),
    ] {
        let node = node_with(move |_, words| match words[0].as_str() {
            name if name == command => Some(Action::reply(reply)),
            "HELLO" if command == "AUTH" => Some(Action::reply("-ERR unknown command 'HELLO'\r\n")),
            _ => None,
        });
        let sentinel = sentinel_of(node.port());
        let mut config = watched_by(&sentinel);
        config.password = Some("secret".into());
        config.db = 1;
        let began = Instant::now();
        let error = Pool::connect(config).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Connect { .. }), "{reply}: {text}");
        assert!(!error.is_transient(), "{reply}: {text}");
        assert!(text.contains(words), "{reply}: {text}");
        assert!(began.elapsed() < SOON / 2, "{reply}");
        let error: redis::RedisError = error.into();
        assert!(chain(&error).contains(words), "{reply}: {error}");
        let outcome = redis_rw_pool::outcome(&error);
        assert_eq!(outcome, redis_rw_pool::Outcome::NotExecuted, "{reply}");
    }
}
