//! Users of data nodes who may do little, and servers that know less than others.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, Discard, Error, Pool, ReadFrom};
use testkit::{
    Server,
    fake::{self, Action, FakeSentinel, FakeServer, SentinelView},
};
use tokio::time::Instant;

use crate::support::{SOON, chain, eventually, node_with, sentinel_of, watched_by};

/// A master and a replica with these lines of configuration, and a Sentinel that names them.
struct Pair {
    master: Server,
    replica: Server,
    sentinel: FakeSentinel,
}

impl Pair {
    async fn start(lines: &[&str]) -> Self {
        let master = Server::standalone(lines);
        let replicaof = format!("replicaof 127.0.0.1 {}", master.port());
        let mut lines = lines.to_vec();
        lines.push(&replicaof);
        let replica = Server::standalone(&lines);
        eventually("the replica is in step", SOON, || async {
            replica.info("replication")["master_link_status"] == "up"
        })
        .await;
        let view = SentinelView::of_master(master.port()).with_replica(replica.port());
        let sentinel = fake::sentinel(view);
        Self {
            master,
            replica,
            sentinel,
        }
    }

    fn config(&self, user: Option<&str>) -> Config {
        let mut config = watched_by(&self.sentinel);
        config.read_from = ReadFrom::Replica;
        config.client_name = Some("permissions".to_owned());
        if let Some(user) = user {
            config.username = Some(user.to_owned());
            config.password = Some("pw".to_owned());
        }
        config
    }

    /// Guards and handles write to the master and read from the replica.
    async fn serves(&self, config: Config) -> Pool {
        let pool = Pool::connect(config).await.unwrap();
        let mut write = pool.write().await.unwrap();
        assert_eq!(write.node().port(), self.master.port());
        let () = write.set("k", 1).await.unwrap();
        let mut read = pool.read().await.unwrap();
        assert_eq!(read.node().port(), self.replica.port());
        let () = pool.writer().set("k", 2).await.unwrap();
        for _ in 0..20 {
            let _: Option<i64> = read.get("k").await.unwrap();
            let _: Option<i64> = pool.reader().get("k").await.unwrap();
        }
        drop((write, read));
        pool
    }
}

#[tokio::test]
async fn users_with_few_permissions_and_renamed_commands_are_served() {
    let app = |rules: &str| format!("user app on >pw ~* {rules}");
    let rename = |command: &str| format!("rename-command {command} \"\"");
    let user = Some("app");
    // With what they may not do, and whether the pool can still see that all is as it should be.
    for (lines, user, proven) in [
        (vec![app("+@all -ping")], user, true),
        (vec![app("+@all -client")], user, true),
        (vec![app("+@all -role")], user, false),
        (vec![app("+@all -hello -role")], user, false),
        (vec![app("-@all +@read +@write")], user, false),
        (vec![rename("ROLE")], None, false),
        (vec![rename("HELLO")], None, true),
        (vec![rename("HELLO"), app("+@all")], user, true),
        (vec![rename("HELLO"), rename("ROLE")], None, false),
        (vec![rename("HELLO"), app("+@all -role")], user, false),
        (vec![rename("ROLE"), app("+@all -hello")], user, false),
        // PING cannot be renamed where there are replicas: they send it to their master.
        (vec![rename("CLIENT")], None, true),
        (vec![rename("CLIENT"), rename("HELLO")], None, true),
    ] {
        let lines: Vec<_> = lines.iter().map(String::as_str).collect();
        let pair = Pair::start(&lines).await;
        let mut config = pair.config(user);
        config.write.test_idle_after = Some(Duration::ZERO);
        config.read.test_idle_after = Some(Duration::ZERO);
        let pool = pair.serves(config).await;
        let unproven = pool.topology().unproven.clone();
        assert_eq!(unproven.is_none(), proven, "{lines:?}: {unproven:?}");
        let looks = pool.status().sentinel.refreshes;
        for _ in 0..20 {
            drop(pool.write().await.unwrap());
            drop(pool.read().await.unwrap());
        }
        let status = pool.status();
        let created = (status.write.created, status.read.created);
        assert_eq!(created, (1, 1), "{lines:?}: {status:?}");
        // Those with which a pool begins may not be over; each PING that counts as failed costs one.
        let more = status.sentinel.refreshes - looks;
        assert!(more < 5, "{lines:?}: {more} looks");
        assert_eq!(pool.topology().readable().count(), 1, "{lines:?}");
    }
}

#[tokio::test]
async fn a_user_who_may_not_select_the_database_is_told_so_at_once() {
    let allowed = "user allowed on >pw ~* -@all +@read +@write +select";
    let app = "user app on >pw ~* -@all +@read +@write";
    for line in [None, Some("rename-command HELLO \"\"")] {
        let lines: Vec<_> = [allowed, app].into_iter().chain(line).collect();
        let pair = Pair::start(&lines).await;
        let mut config = pair.config(Some("app"));
        config.db = 3;
        let began = Instant::now();
        let error = Pool::connect(config).await.unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::Connect { .. }), "{text}");
        assert!(text.contains("select"), "{text}");
        assert!(!error.is_transient(), "{text}");
        assert!(began.elapsed() < SOON / 2, "it takes {:?}", began.elapsed());
        let mut config = pair.config(Some("allowed"));
        config.db = 3;
        pair.serves(config).await;
        let text = pair.master.cmd(&["INFO", "keyspace"]);
        assert!(text.as_str().contains("db3:keys=1"), "{text:?}");
    }
}

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
        config.password = password.map(str::to_owned);
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
        config.password = Some("secret".to_owned());
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
