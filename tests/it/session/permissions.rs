//! Users of data nodes who may do little, and servers that know less than others.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, Error, Pool, ReadFrom};
use testkit::{
    Server,
    fake::{self, FakeSentinel, SentinelView},
};
use tokio::time::Instant;

use crate::support::{SOON, eventually, watched_by};

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
            config.password = Some("pw".into());
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
