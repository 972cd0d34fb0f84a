//! Users of the Sentinels and of the nodes that may do little: what they need, and what is lost without
//! each permission. `docs/permissions.md` tells it to operators, line by line.

use std::{sync::OnceLock, time::Duration};

use redis::AsyncCommands;
use redis_rw_pool::{Config, Error, Node, Pool, Role};
use testkit::{Deployment, Reply, Server, provides};
use tokio::{task::block_in_place, time::Instant};

use crate::support::{self, eventually, in_step, local};

pub(super) const LIMIT: Duration = Duration::from_secs(60);
/// What `docs/permissions.md` says that the Sentinel user needs.
pub(super) const SENTINEL_USER: &str = "resetchannels &* -@all +ping +subscribe \
    +sentinel|get-master-addr-by-name +sentinel|master +sentinel|replicas +sentinel|sentinels \
    +sentinel|myid";
/// What it says that the data user needs besides the commands of the application.
pub(super) const DATA_USER: &str =
    "-@all +hello +ping +role +select +client|setname +info +get +set";

/// Three Sentinels with users that lack one thing each.
fn guarded() -> &'static Deployment {
    static SHARED: OnceLock<Deployment> = OnceLock::new();
    SHARED.get_or_init(|| {
        let builder = Deployment::builder().replicas(1);
        // It came with 7.2, and an earlier server does not start with it.
        let set_info = if testkit::redis_version() >= (7, 2) {
            "+client|setinfo"
        } else {
            ""
        };
        let user = |name: &str, rules: &str| format!("user {name} on >pw {rules}");
        let lacking = |name: &str, permission: &str| {
            user(name, &SENTINEL_USER.replace(&format!("+{permission}"), ""))
        };
        builder
            .sentinel_config(user("app", SENTINEL_USER))
            .sentinel_config(lacking("noping", "ping"))
            .sentinel_config(lacking("nosubscribe", "subscribe"))
            .sentinel_config(user("nochannels", &SENTINEL_USER.replace("&*", "")))
            .sentinel_config(user(
                "somechannels",
                &SENTINEL_USER.replace("&*", "&+try-failover &+switch-master"),
            ))
            .sentinel_config(lacking("nomaster", "sentinel|master "))
            .sentinel_config(lacking("noaddr", "sentinel|get-master-addr-by-name"))
            .sentinel_config(lacking("noreplicas", "sentinel|replicas"))
            .sentinel_config(lacking("nosentinels", "sentinel|sentinels"))
            .sentinel_config(lacking("nomyid", "sentinel|myid"))
            .sentinel_config(user(
                "addronly",
                "resetchannels -@all +sentinel|get-master-addr-by-name",
            ))
            .sentinel_config(user("nothing", "resetchannels -@all +ping"))
            .node_config(user("data", &format!("~* {DATA_USER} {set_info}")))
            .node_config(user("bare", "~* -@all +role +select +get +set"))
            .node_config(user(
                "noselect",
                &format!("~* {}", DATA_USER.replace("+select", "")),
            ))
            .start()
    })
}

fn config_of(user: &str) -> Config {
    let mut config = support::config(guarded());
    config.refresh_interval = Duration::from_millis(300);
    config.sentinel_username = Some(user.to_owned());
    config.sentinel_password = Some("pw".into());
    config
}

async fn pool_of(user: &str) -> Pool {
    Pool::connect(config_of(user)).await.expect(user)
}

pub(super) async fn listens_to(pool: &Pool, listening: usize, known: usize) {
    let text = format!("listens to {listening} of {known}");
    eventually(&text, LIMIT, || async {
        let sentinel = pool.status().sentinel;
        (sentinel.listening, sentinel.known, sentinel.reachable) == (listening, known, known)
    })
    .await;
}

async fn write(pool: &Pool) -> Node {
    let mut conn = pool.write().await.expect("there is a master");
    let () = conn.set("k", "v").await.expect("it takes writes");
    conn.node()
}

/// What a server has refused to this user, and how often.
fn refusals(server: &Server, user: &str) -> Vec<(String, i64)> {
    let log = server.cmd(&["ACL", "LOG"]);
    let field = |entry: &Reply, name: &str| {
        let mut pairs = entry.array().chunks(2);
        pairs.find(|pair| pair[0].as_str() == name).expect(name)[1].clone()
    };
    let entries = log.array().iter();
    let ours = entries.filter(|entry| field(entry, "username").as_str() == user);
    ours.map(|entry| {
        let object = field(entry, "object").as_str().to_owned();
        (object, field(entry, "count").as_int())
    })
    .collect()
}

/// What `status` says that Sentinels refuse.
pub(super) fn refused(pool: &Pool) -> Vec<String> {
    let refused = pool.status().sentinel.refused;
    refused.iter().map(|(_, what)| what.to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_sentinel_user_is_refused_nothing() {
    let pool = pool_of("app").await;
    listens_to(&pool, 3, 3).await;
    let sentinel = pool.status().sentinel;
    assert_eq!(sentinel.unheard.iter().count(), 0, "{}", sentinel.unheard);
    assert_eq!(refused(&pool), Vec::<String>::new());
    for sentinel in guarded().sentinels() {
        assert_eq!(refusals(sentinel, "app"), []);
    }
    let learned = Pool::connect({
        let mut config = config_of("app");
        config.sentinels.truncate(1);
        config
    });
    listens_to(&learned.await.expect("one seed is enough"), 3, 3).await;
}

/// The user, the command that it is refused, whether it listens, and a word of what is lost.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_one_permission_the_rest_works_and_the_status_says_what_is_lost() {
    for (user, command, listening, loss) in [
        (
            "nosubscribe",
            "SUBSCRIBE",
            0,
            "may lose acknowledged writes",
        ),
        ("nochannels", "SUBSCRIBE", 0, "may lose acknowledged writes"),
        ("somechannels", "+odown", 3, "may lose acknowledged writes"),
        ("nomaster", "SENTINEL MASTER", 3, "epochs are not known"),
        (
            "noaddr",
            "SENTINEL GET-MASTER-ADDR-BY-NAME",
            3,
            "when the failover is over",
        ),
        ("noreplicas", "SENTINEL REPLICAS", 3, "no replicas to read"),
        (
            "nosentinels",
            "SENTINEL SENTINELS",
            3,
            "but those configured",
        ),
        ("nomyid", "SENTINEL MYID", 3, "is not recognized"),
    ] {
        let pool = pool_of(user).await;
        assert_eq!(write(&pool).await, local(guarded().master().port()));
        listens_to(&pool, listening, 3).await;
        eventually(user, LIMIT, || async { refused(&pool).len() == 3 }).await;
        for what in refused(&pool) {
            // Valkey 9 begins the sentence with it.
            let what = what.replace("No permissions", "no permissions");
            for part in [command, "no permissions", loss] {
                assert!(what.contains(part), "{user}: {part} in {what}");
            }
        }
        let unheard = pool.status().sentinel.unheard;
        assert_eq!(unheard.iter().count(), 3 - listening, "{user}: {unheard}");
        assert!(
            unheard
                .iter()
                .all(|(_, why)| why.to_lowercase().contains("no permissions")),
            "{unheard}"
        );
        let replicas = pool.topology().replicas.len();
        assert_eq!(replicas, usize::from(user != "noreplicas"), "{user}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_sentinel_sentinels_only_the_configured_ones_are_known() {
    let mut config = config_of("nosentinels");
    config.sentinels.truncate(1);
    let pool = Pool::connect(config).await.expect("one is enough");
    listens_to(&pool, 1, 1).await;
}

/// Its PING is refused, which it can only be by one that is alive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_ping_does_not_end_a_subscription() {
    let pool = pool_of("noping").await;
    listens_to(&pool, 3, 3).await;
    let subscribers = || {
        let sentinels = guarded().sentinels().iter();
        let clients = sentinels.flat_map(Server::client_list);
        let ours = clients.filter(|client| client["user"] == "noping" && client["sub"] != "0");
        let mut ids: Vec<_> = ours
            .map(|client| (client["laddr"].clone(), client["id"].clone()))
            .collect();
        ids.sort();
        ids
    };
    let before = block_in_place(subscribers);
    assert_eq!(before.len(), 3, "{before:?}");
    let pings = || {
        let mut sentinels = guarded().sentinels().iter();
        let refused = |sentinel| refusals(sentinel, "noping");
        sentinels.all(|sentinel| {
            refused(sentinel)
                .iter()
                .any(|(what, n)| what == "ping" && *n >= 3)
        })
    };
    eventually("each has refused three", LIMIT, || async {
        block_in_place(pings)
    })
    .await;
    assert_eq!(block_in_place(subscribers), before);
    assert_eq!(pool.status().sentinel.listening, 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_do_nothing_is_told_at_once_and_not_to_try_again() {
    for (user, password, word) in [
        ("nothing", "pw", "no permissions"),
        ("nothing", "wrong", "WRONGPASS"),
    ] {
        let mut config = config_of(user);
        config.sentinel_password = Some(password.into());
        config.connect_timeout = LIMIT;
        let began = Instant::now();
        let error = Pool::connect(config).await.expect_err(user);
        assert!(
            began.elapsed() < Duration::from_secs(2),
            "{:?}",
            began.elapsed()
        );
        let text = error.to_string();
        assert!(
            matches!(error, Error::NoSentinel { refused: true, .. }),
            "{text}"
        );
        assert!(!error.is_transient(), "{text}");
        assert!(
            text.contains(word) && text.contains("permissions"),
            "{text}"
        );
    }
    // One that is down may let us in when it is back.
    let mut config = config_of("nothing");
    config
        .sentinels
        .push(format!("127.0.0.1:{}", testkit::ports::unused()));
    config.failover_timeout = Duration::from_secs(1);
    let error = Pool::connect(config).await.expect_err("nobody answers");
    assert!(matches!(error, Error::NoSentinel { refused: false, .. }) && error.is_transient());
}

/// Also where no epoch is known.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_only_ask_for_the_address_follows_a_failover() {
    let deployment = block_in_place(|| {
        Deployment::builder()
            .sentinel_config(
                "user app on >pw resetchannels -@all +sentinel|get-master-addr-by-name",
            )
            .start()
    });
    let mut config = support::config(&deployment);
    config.sentinel_username = Some("app".to_owned());
    config.sentinel_password = Some("pw".into());
    config.failover_timeout = LIMIT;
    let pool = Pool::connect(config).await.expect("it names the master");
    let old = deployment.master().port();
    assert_eq!(write(&pool).await.port(), old);
    assert!(
        pool.status()
            .sentinel
            .reports
            .to_string()
            .contains("epoch unknown")
    );
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old, LIMIT).port());
    eventually("the pool has followed", LIMIT, || async {
        write(&pool).await.port() == new
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_documented_data_user_is_refused_nothing() {
    let mut config = config_of("app");
    config.username = Some("data".to_owned());
    config.password = Some("pw".into());
    config.client_name = Some("permissions".to_owned());
    config.db = 2;
    config.write.test_idle_after = Some(Duration::ZERO);
    config.read.test_idle_after = Some(Duration::ZERO);
    let pool = Pool::connect(config)
        .await
        .expect("it may do all that it must");
    eventually("a replica is readable", LIMIT, || async {
        pool.topology().readable().count() > 0
    })
    .await;
    for _ in 0..3 {
        write(&pool).await;
        let mut conn = pool.read().await.expect("a replica is readable");
        let _: String = conn.get("k").await.unwrap_or_default();
        assert_eq!(conn.role(), Role::Replica);
    }
    for node in guarded().nodes() {
        let mut refused = refusals(node, "data");
        if !provides("an ACL that knows no CLIENT SETINFO and logs none", (7, 0)) {
            refused.retain(|(command, _)| command != "client");
        }
        assert_eq!(refused, []);
    }
}

/// Without HELLO, the role is asked for by ROLE.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_user_without_hello_ping_and_client_can_write_and_read() {
    let mut config = config_of("app");
    config.username = Some("bare".to_owned());
    config.password = Some("pw".into());
    config.client_name = Some("permissions".to_owned());
    config.db = 2;
    let pool = Pool::connect(config)
        .await
        .expect("it may ask for the role");
    in_step(&pool).await;
    write(&pool).await;
    let mut conn = pool.read().await.expect("a replica is readable");
    let _: Option<String> = conn.get("k").await.expect("it may read");
    assert_eq!(conn.role(), Role::Replica);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_data_user_without_select_is_told_at_once_where_it_needs_it() {
    let mut config = config_of("app");
    config.username = Some("noselect".to_owned());
    config.password = Some("pw".into());
    write(&Pool::connect(config.clone()).await.expect("database 0")).await;
    config.db = 2;
    config.connect_timeout = LIMIT;
    let began = Instant::now();
    let error = Pool::connect(config).await.expect_err("another one");
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert!(matches!(error, Error::Connect { .. }) && !error.is_transient());
}
