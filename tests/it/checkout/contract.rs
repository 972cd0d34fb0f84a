//! The public contract: names, shapes and traits that callers rely on, written as a caller writes
//! them.

use std::{fmt::Debug, sync::Arc, time::Duration};

use redis::AsyncCommands;
use redis_rw_pool::{
    Config, Connection, Discard, Error, Node, Pool, PoolStatus, Replica, Role, Status, Topology,
};
use testkit::Deployment;

use crate::support::{self};

pub(super) fn is<T: Send + Sync + Debug + 'static>() {}

/// The futures can be spawned, and the guard serves the redis crate's commands.
#[expect(dead_code, reason = "that it compiles is the test")]
fn everything_is_send(pool: Pool) {
    fn send<T: Send>(_: T) {}
    fn commands<T: AsyncCommands + Sync>() {}
    send(Pool::connect(Config::new(["a"], "m")));
    send(pool.write());
    send(pool.read());
    send(pool.refresh());
    commands::<Connection>();
}

async fn as_in_the_design(sentinels: Vec<String>) -> Result<Pool, Box<dyn std::error::Error>> {
    let mut config = Config::new(sentinels, "mymaster");
    config.write.max_active = 32;
    config.read.idle_timeout = Some(Duration::from_secs(240));
    let pool = Pool::connect(config).await?;

    let () = pool.write().await?.set("k", 1).await?;
    let _v: Option<i64> = pool.read().await?.get("k").await?;
    Ok(pool)
}

#[tokio::test]
async fn a_caller_writes_it_as_the_design_does() {
    let deployment = Deployment::start();
    let pool = as_in_the_design(deployment.sentinel_addrs())
        .await
        .expect("a healthy deployment");

    let topology: Arc<Topology> = pool.topology();
    let master: Option<Node> = topology.master.clone();
    assert!(master.is_some() && topology.version > 0);
    let replicas: &Vec<Replica> = &topology.replicas;
    assert_eq!(replicas.len(), 2);
    for replica in replicas {
        let _: &Node = &replica.node;
        assert_eq!(replica.is_readable(), replica.excluded.is_none());
    }
    let mut watched = pool.watch();
    assert_eq!(watched.borrow_and_update().master, master);

    let guard: Connection = pool.write().await.expect("healthy");
    let (node, role): (Node, Role) = (guard.node(), guard.role());
    assert_eq!((Some(node), role), (master, Role::Master));

    let Status { write, read, .. } = pool.status();
    let of: PoolStatus = write;
    assert_eq!(
        (of.max_active, of.active, of.idle, of.waiting),
        (32, 1, 0, 0)
    );
    assert_eq!((of.wait_count, of.wait_duration), (0, Duration::ZERO));
    assert_eq!((of.created, of.discards.total()), (1, 0));
    assert_eq!(of.discards.get(Discard::Idle), 0);
    assert_eq!(read.max_active, 16);

    pool.refresh().await.expect("the Sentinels are there");
    let clone = pool.clone();
    clone.close();
    let closed: Error = pool.write().await.expect_err("closed");
    assert!(closed.is_closed() && !closed.is_timeout() && !closed.is_transient());
}

/// One `?` for both kinds of error, for functions that speak the redis crate's language.
#[tokio::test]
async fn a_pool_error_becomes_a_redis_error() {
    async fn get(pool: &Pool) -> redis::RedisResult<Option<String>> {
        pool.read().await?.get("k").await
    }
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |_| ()).await;
    assert_eq!(get(&pool).await, Ok(None));
    pool.close();
    let error = get(&pool).await.expect_err("closed");
    assert!(error.is_io_error());
    assert_eq!(error.to_string(), "the pool is closed");
}
