//! Nodes that do not say what they are, or say nothing at all.

use std::time::Duration;

use redis::AsyncCommands;
use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, Action, NodeRole};
use tokio::time::Instant;

use crate::support::{LONG, SECOND, local, node_with, patient};

#[tokio::test]
async fn a_proxy_that_knows_neither_hello_nor_role_is_used_and_called_unproven() {
    let proxy = node_with(|_, words| {
        let unknown = matches!(words[0].as_str(), "HELLO" | "ROLE" | "INFO");
        unknown.then(|| Action::reply("-ERR unknown command\r\n"))
    });
    let mut config = Config::standalone(proxy.addr());
    patient(&mut config);
    let pool = Pool::connect(config).await.unwrap();
    let topology = pool.topology();
    assert_eq!(topology.master, Some(local(proxy.port())));
    let unproven = topology.unproven.clone().unwrap_or_default();
    assert!(unproven.contains("unknown command"), "{unproven}");
    let () = pool.write().await.unwrap().set("k", 1).await.unwrap();
    let () = pool.writer().set("k", 1).await.unwrap();
    let mut conn = pool.read().await.unwrap();
    let echo: String = redis::cmd("ECHO")
        .arg("x")
        .query_async(&mut conn)
        .await
        .unwrap();
    assert_eq!(echo, "x");
}

#[tokio::test]
async fn a_node_that_hangs_holds_up_the_start_for_a_moment_only() {
    let hung = fake::hung();
    let master = fake::node(NodeRole::Master);
    let mut config = Config::nodes([hung.addr(), master.addr()]);
    config.connect_timeout = LONG;
    config.failover_timeout = LONG;
    config.sentinel_timeout = Duration::from_millis(200);
    let began = Instant::now();
    let pool = Pool::connect(config).await.unwrap();
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!(pool.topology().master, Some(local(master.port())));
    assert_eq!(pool.read().await.unwrap().node(), local(master.port()));
}
