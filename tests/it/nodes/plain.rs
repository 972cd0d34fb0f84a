//! What a pool does with plain servers that nobody disturbs, or that are restarted.

use std::time::Duration;

use redis::{AsyncCommands, pipe};
use redis_rw_pool::{Config, Error, Pool, ReadFrom};
use testkit::Server;

use super::{addresses, config, deployment};
use crate::support::{
    LONG, SECOND, SOON, alive_tasks, ask, eventually, local, readable_are, tasks_are_back_to,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plain_redis_serves_reads_and_writes_within_the_limits() {
    let server = Server::standalone(&["requirepass secret", "databases 4"]);
    let base = alive_tasks();
    let url = format!(
        "redis://:secret@{}/3?max_active=2&wait_timeout=100ms&client_name=app",
        server.addr()
    );
    let pool = Pool::connect(Config::from_url(&url).unwrap())
        .await
        .unwrap();
    let node = local(server.port());
    let topology = pool.topology();
    assert_eq!(topology.master.as_ref(), Some(&node));
    assert!(
        topology.replicas.is_empty() && topology.unproven.is_none(),
        "{topology:?}"
    );

    let mut master = pool.write().await.unwrap();
    let () = master.set("k", 1).await.unwrap();
    let mut reading = pool.read().await.unwrap();
    assert_eq!(reading.node(), node);
    assert_eq!(reading.get::<_, i64>("k").await.unwrap(), 1);
    let () = pool.writer().incr("k", 1).await.unwrap();
    assert_eq!(pool.reader().get::<_, i64>("k").await.unwrap(), 2);
    let (n,): (i64,) = master
        .transaction("k", |mut conn, mut pipe| async move {
            pipe.incr("k", 1).query_async(&mut conn).await
        })
        .await
        .unwrap();
    assert_eq!(n, 3);
    let second = pool.write().await.unwrap();
    let error = pool.write().await.expect_err("two are lent");
    assert!(
        matches!(error, Error::WaitTimeout { max_active: 2, .. }),
        "{error}"
    );
    drop((master, reading, second));
    let before = pool.status().sentinel.refreshes;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let status = pool.status().sentinel;
    assert!(
        status.refreshes <= before + 1,
        "every five seconds: {status:?}"
    );
    assert_eq!(
        (status.known, status.reachable, status.listening),
        (0, 0, 0)
    );
    assert!(status.last_answer.is_some(), "{status:?}");
    pool.close();
    pool.closed().await;
    drop(pool);
    tasks_are_back_to(base).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_redis_that_is_restarted_is_used_again() {
    let server = Server::standalone(&[]);
    let pool = Pool::connect(config([&server])).await.unwrap();
    let () = pool.writer().set("k", 1).await.unwrap();
    let mut lent = pool.write().await.unwrap();
    let () = lent.set("k", 1).await.unwrap();
    server.kill();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.writer().set::<_, _, ()>("k", 2).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::task::block_in_place(|| server.restart());
    waiting.await.unwrap().expect("it waited for the server");
    let () = lent
        .set("k", 3)
        .await
        .expect("the guard has a new connection");
    assert_eq!(pool.reader().get::<_, i64>("k").await.unwrap(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_is_one_node_under_all_its_addresses() {
    let server = Server::standalone(&["bind 127.0.0.1 -::1"]);
    let port = server.port();
    let socket = server.unix_socket().display().to_string();
    for nodes in [
        vec![format!("localhost:{port}"), format!("127.0.0.1:{port}")],
        vec![format!("127.0.0.1:{port}"), socket.clone()],
        vec![socket],
        vec![
            format!("[::1]:{port}"),
            format!("127.0.0.1:{port}"),
            format!("127.0.0.1:{port}"),
        ],
    ] {
        let mut config = Config::nodes(nodes.clone());
        config.refresh_interval = Duration::from_millis(100);
        let pool = Pool::connect(config)
            .await
            .unwrap_or_else(|e| panic!("{nodes:?}: {e}"));
        let () = pool.writer().set("k", 1).await.unwrap();
        assert_eq!(
            pool.read().await.unwrap().get::<_, i64>("k").await.unwrap(),
            1
        );
        let before = pool.topology().version;
        // Several refreshes, so that what is known of the second name is asked anew.
        let after = pool.status().sentinel.refreshes + 5;
        eventually("refreshes", SOON, || async {
            pool.status().sentinel.refreshes > after
        })
        .await;
        let topology = pool.topology();
        assert!(
            topology.replicas.is_empty() && topology.unproven.is_none(),
            "{nodes:?}: {topology:?}"
        );
        assert!(
            topology.version <= before + 1,
            "{nodes:?}: it changes all the time: {topology:?}"
        );
        assert_eq!(pool.status().fence.raised, 0, "{nodes:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_are_read_from_whatever_the_order_of_the_nodes() {
    let servers = deployment(2);
    let mut nodes = addresses(servers.nodes());
    nodes.reverse();
    let mut config = Config::nodes(nodes);
    config.read_from = ReadFrom::Replica;
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, 2, SOON).await;
    assert_eq!(
        pool.topology().master,
        Some(local(servers.nodes()[0].port()))
    );
    let () = pool.writer().set("k", 1).await.unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        let mut conn = pool.read().await.unwrap();
        let role: redis::Value = ask(&mut conn, "ROLE").await;
        assert!(format!("{role:?}").contains("slave"), "{role:?}");
        seen.insert(conn.node());
    }
    assert_eq!(seen.len(), 2);
    // A replica that goes and comes back.
    let replica = &servers.nodes()[1];
    replica.kill();
    readable_are(&pool, 1, SOON).await;
    let _: () = pipe()
        .set("a", 1)
        .query_async(&mut pool.writer())
        .await
        .unwrap();
    tokio::task::block_in_place(|| replica.restart());
    readable_are(&pool, 2, LONG).await;
    assert!(pool.status().fence.held < SECOND);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_that_may_not_ask_for_roles_can_use_a_master_and_its_replica() {
    let servers = testkit::Deployment::builder()
        .sentinels(0)
        .replicas(1)
        .username_acl("app", "pw", "~* &* +@all -role -info -client")
        .start();
    let mut config = config(servers.nodes());
    config.username = Some("app".into());
    config.password = Some("pw".into());
    let pool = Pool::connect(config).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    let () = pool.writer().set("k", 1).await.unwrap();
    assert_eq!(
        pool.read().await.unwrap().node(),
        local(servers.nodes()[1].port())
    );
    let unproven = pool.topology().unproven.clone().unwrap_or_default();
    assert!(unproven.contains("ROLE is refused"), "{unproven}");
}
