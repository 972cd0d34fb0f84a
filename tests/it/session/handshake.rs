//! The first exchange on a connection: who we are, what the node is, and which secrets are not sent
//! where they do not belong.

use std::{sync::OnceLock, time::Duration};

use redis::{AsyncCommands, Value};
use redis_rw_pool::{AddressMap, Config, Error, Node, Pool, Protocol, Role};
use testkit::{
    Deployment, Server,
    fake::{self, SentinelView},
};

use crate::support::{
    self, SOON, ask, assert_hidden, chain, eventually, id, identity, local, patient, run,
    sentinel_of, watched_by,
};

pub(super) const SECRET: &str = "canary-0f9a;#~";
pub(super) const APP_SECRET: &str = "canary-of-the-app";

/// With a password, and users that may not do everything.
fn guarded() -> &'static Deployment {
    static SHARED: OnceLock<Deployment> = OnceLock::new();
    SHARED.get_or_init(|| with_users().start())
}

/// The same, where nobody may say HELLO.
fn without_hello() -> &'static Deployment {
    static SHARED: OnceLock<Deployment> = OnceLock::new();
    SHARED.get_or_init(|| {
        let builder = with_users();
        builder.node_config("rename-command HELLO \"\"").start()
    })
}

fn with_users() -> testkit::Builder {
    Deployment::builder()
        .replicas(1)
        .sentinels(1)
        .down_after(Duration::from_secs(60))
        .password(SECRET)
        .username_acl("app", APP_SECRET, "~* &* +@all")
        .username_acl("norole", APP_SECRET, "~* &* +@all -role")
        .username_acl("nohello", APP_SECRET, "~* &* +@all -hello -role")
}

fn config_for(deployment: &Deployment, username: Option<&str>, password: Option<&str>) -> Config {
    let mut config = support::config(deployment);
    patient(&mut config);
    config.username = username.map(str::to_owned);
    config.password = password.map(Into::into);
    config.client_name = Some("handshake".to_owned());
    config.db = 3;
    config
}

fn connections_received(server: &Server) -> u64 {
    server.info("stats")["total_connections_received"]
        .parse()
        .unwrap()
}

/// Both pools serve, and each connection is what the configuration asks for.
async fn serves(pool: &Pool, user: &str, resp: &str) {
    eventually("a replica is readable", SOON, || async {
        pool.topology().readable().count() > 0
    })
    .await;
    let mut write = pool.write().await.unwrap();
    assert_eq!(write.role(), Role::Master);
    let mut read = pool.read().await.unwrap();
    assert_eq!(read.role(), Role::Replica);
    let () = write.hset("handshake:h", "f", "v").await.unwrap();
    for conn in [&mut write, &mut read] {
        let identity = identity(conn).await;
        let seen = ["user", "db", "name"].map(|field| identity[field].as_str());
        assert_eq!(seen, [user, "3", "handshake"]);
        if testkit::provides("resp in CLIENT INFO", (7, 0)) {
            assert_eq!(identity["resp"], resp);
        }
    }
    let map: Value = write.hgetall("handshake:h").await.unwrap();
    assert_eq!(matches!(map, Value::Map(_)), resp == "3", "{map:?}");
}

#[tokio::test]
async fn signs_in_with_and_without_a_user_name_in_both_protocols() {
    for (username, password) in [(None, SECRET), (Some("app"), APP_SECRET)] {
        for (protocol, resp) in [(Protocol::Resp3, "3"), (Protocol::Resp2, "2")] {
            let mut config = config_for(guarded(), username, Some(password));
            config.protocol = protocol;
            let pool = Pool::connect(config).await.unwrap();
            serves(&pool, username.unwrap_or("default"), resp).await;
            assert_eq!(pool.topology().unproven, None);
        }
    }
}

#[tokio::test]
async fn hello_tells_the_role_to_a_user_who_may_not_ask_for_it() {
    for user in ["norole", "nohello"] {
        let config = config_for(guarded(), Some(user), Some(APP_SECRET));
        let pool = Pool::connect(config).await.unwrap();
        serves(&pool, user, "3").await;
        let unproven = pool.topology().unproven.clone();
        let unproven = unproven.expect("whom its replica follows is hidden");
        assert!(unproven.contains("ROLE is refused"), "{unproven}");
    }
}

#[tokio::test]
async fn where_hello_is_unknown_it_signs_in_with_auth_and_asks_for_the_role() {
    for (username, password) in [(None, SECRET), (Some("app"), APP_SECRET)] {
        let config = config_for(without_hello(), username, Some(password));
        let pool = Pool::connect(config).await.unwrap();
        serves(&pool, username.unwrap_or("default"), "2").await;
        assert_eq!(pool.topology().unproven, None);
    }
}

#[tokio::test]
async fn where_a_node_may_not_tell_its_role_the_topology_says_that_it_is_unproven() {
    let config = config_for(without_hello(), Some("norole"), Some(APP_SECRET));
    let pool = Pool::connect(config).await.unwrap();
    let unproven = pool.topology().unproven.clone().expect("nobody proved it");
    assert!(
        unproven.contains("NOPERM") || unproven.contains("permission"),
        "{unproven}"
    );
    let mut conn = pool.write().await.unwrap();
    let () = conn.set("handshake:unproven", 1).await.unwrap();
    assert_eq!(conn.get::<_, i64>("handshake:unproven").await.unwrap(), 1);
    assert_hidden(&format!("{pool:?} {unproven}"), APP_SECRET);
}

#[tokio::test]
async fn a_wrong_password_is_refused_once_with_the_servers_reason() {
    let cases = [
        (None, Some("wrong-canary"), "WRONGPASS"),
        (Some("app"), Some("wrong-canary"), "WRONGPASS"),
        (Some("nobody"), Some("wrong-canary"), "WRONGPASS"),
        (None, None, "NOAUTH"),
    ];
    for deployment in [guarded(), without_hello()] {
        let master = &deployment.nodes()[0];
        for (username, password, reason) in cases {
            let before = connections_received(master);
            let config = config_for(deployment, username, password);
            let debug = format!("{config:?}");
            let error = Pool::connect(config).await.unwrap_err();
            let text = chain(&error);
            assert!(matches!(error, Error::Connect { .. }), "{text}");
            let Error::Connect {
                source, role, node, ..
            } = &error
            else {
                unreachable!()
            };
            assert_eq!(source.code(), Some(reason), "{text}");
            assert_eq!((*role, node.port()), (Role::Master, master.port()));
            assert!(text.contains(&master.addr()), "{text}");
            assert!(!error.is_transient() && !error.is_timeout(), "{text}");
            // The look at the numbers is a connection too, and a Sentinel may come by.
            let dials = connections_received(master) - before;
            assert!(dials <= 6, "{dials} connections for one refusal");
            let all = format!("{text} {error:?} {debug}");
            assert_hidden(&all, "wrong-canary");
        }
    }
}

#[tokio::test]
async fn a_password_that_changes_meanwhile_is_no_reason_for_a_storm() {
    let server = Server::standalone(&["requirepass first-canary"]);
    let sentinel = sentinel_of(server.port());
    let mut config = watched_by(&sentinel);
    config.password = Some("first-canary".into());
    config.write.max_active = 20;
    let pool = Pool::connect(config).await.unwrap();
    let mut held = pool.write().await.unwrap();
    let () = run(&mut held, "CONFIG SET requirepass second-canary")
        .await
        .unwrap();
    let number = |text: String| -> u64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("total_connections_received:"));
        line.unwrap().trim().parse().unwrap()
    };
    let before = number(ask(&mut held, "INFO stats").await);
    for _ in 0..3 {
        let calls = (0..10).map(|_| {
            let pool = pool.clone();
            tokio::spawn(async move { pool.write().await.map(drop) })
        });
        for call in calls.collect::<Vec<_>>() {
            let error = call.await.unwrap().expect_err("the password is wrong now");
            let text = chain(&error);
            assert!(matches!(error, Error::Connect { .. }), "{text}");
            assert!(
                text.contains("WRONGPASS") || text.contains("invalid"),
                "{text}"
            );
            assert!(!error.is_transient(), "{text}");
            assert_hidden(&format!("{text} {error:?}"), "canary");
        }
    }
    let dials = number(ask(&mut held, "INFO stats").await) - before;
    assert!(dials <= 60, "{dials} connections for 30 calls");
    // Who is in stays in.
    let own = id(&mut held).await;
    drop(held);
    assert_eq!(id(&mut pool.write().await.unwrap()).await, own);
}

#[tokio::test]
async fn over_a_unix_socket() {
    let server = Server::standalone(&[]);
    let sentinel = sentinel_of(server.port());
    let mut config = watched_by(&sentinel);
    let (port, socket) = (server.port(), server.unix_socket());
    let socket = socket.to_str().unwrap().to_owned();
    config.address_map = Some(AddressMap::new(move |node| match node.port() == port {
        true => Node::unix(&socket),
        false => node.clone(),
    }));
    let pool = Pool::connect(config).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.node(), local(server.port()));
    let info: String = ask(&mut conn, "CLIENT INFO").await;
    assert!(info.contains(".sock:0"), "{info}");
    let value = vec![b'u'; 1 << 20];
    let () = conn.set("k", &value).await.unwrap();
    assert!(conn.get::<_, Vec<u8>>("k").await.unwrap() == value);
    drop(conn);
    // A server that closed it is noticed here too.
    let own = id(&mut pool.write().await.unwrap()).await;
    server.cmd(&["CLIENT", "KILL", "ID", &own.to_string()]);
    eventually("another connection", SOON, || async {
        let mut conn = pool.write().await.unwrap();
        run::<i64>(&mut conn, "CLIENT ID")
            .await
            .is_ok_and(|now| now != own)
    })
    .await;
}

#[tokio::test]
async fn over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("this machine has no IPv6 loopback address");
        return;
    }
    let server = Server::standalone(&["bind 127.0.0.1 ::1"]);
    let mut view = SentinelView::of_master(server.port());
    view.master.0 = "::1".to_owned();
    let sentinel = fake::sentinel(view);
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.node().to_string(), format!("[::1]:{}", server.port()));
    let info: String = ask(&mut conn, "CLIENT INFO").await;
    assert!(info.contains("addr=[::1]:"), "{info}");
}

#[tokio::test]
async fn a_database_that_does_not_exist_is_said_at_connect() {
    let mut config = config_for(guarded(), None, Some(SECRET));
    config.db = 4_000;
    let error = Pool::connect(config).await.unwrap_err();
    assert!(error.to_string().contains("out of range"), "{error}");
    assert!(matches!(error, Error::Connect { .. }), "{error}");
    assert!(!error.is_transient(), "{error}");
}
