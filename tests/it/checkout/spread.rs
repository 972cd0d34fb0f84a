//! How reads are spread over the replicas, and how the pools grow and shrink.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use redis_rw_pool::{
    Connection, Discard, Node, Pool,
    redis::{self, AsyncCommands, RedisResult, Value},
};
use testkit::{Deployment, Server};
use tokio::time::Instant;

use crate::support::{self, eventually, local};

const LIMIT: Duration = Duration::from_secs(30);

async fn read(pool: &Pool) -> Node {
    let mut conn = pool.read().await.expect("a replica is there");
    let _: Option<String> = conn.get("k").await.expect("it answers");
    conn.node()
}

/// A read that takes 20 ms on the server whatever else this machine has to do: under saturation
/// shares follow the replicas' speed, so equal shares take replicas that are equally fast.
async fn slow_read(pool: &Pool) -> Node {
    let mut conn = pool.read().await.expect("a replica is there");
    let read: RedisResult<Value> = redis::cmd("XREAD")
        .arg(&["BLOCK", "20", "STREAMS", "s", "$"])
        .query_async(&mut conn)
        .await;
    assert_eq!(read, Ok(Value::Nil));
    conn.node()
}

type Shares = BTreeMap<Node, u64>;

async fn reads(pool: &Pool, callers: u64, each: u64) -> Shares {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let pool = pool.clone();
        tasks.spawn(async move {
            let mut shares = Shares::new();
            for _ in 0..each {
                let node = match callers {
                    64 => slow_read(&pool).await,
                    _ => read(&pool).await,
                };
                *shares.entry(node).or_default() += 1;
            }
            shares
        });
    }
    let mut all = Shares::new();
    for (node, count) in tasks.join_all().await.into_iter().flatten() {
        *all.entry(node).or_default() += count;
    }
    all
}

fn is_even(shares: &Shares, nodes: usize) -> bool {
    let total: u64 = shares.values().sum();
    let nodes = nodes as u64;
    let fair = |count: &u64| (total * 9..=total * 11).contains(&(count * nodes * 10));
    shares.len() as u64 == nodes && shares.values().all(fair)
}

async fn connected(pool: &Pool, replicas: usize) {
    eventually("all replicas are readable", LIMIT, || async {
        pool.topology().readable().count() == replicas
    })
    .await;
}

async fn spread_over(replicas: usize) {
    let deployment = Deployment::builder().replicas(replicas).start();
    let pool = support::pool(&deployment, |config| {
        // So that each of them can have the same number of connections.
        config.read.max_active = 5 * replicas;
    })
    .await;
    connected(&pool, replicas).await;
    for (callers, each, command) in [(1, 600, "get"), (64, 15, "xread")] {
        // Every replica gets its connections in the course of the first reads.
        eventually("every replica has its share", LIMIT, || async {
            is_even(&reads(&pool, callers, each).await, replicas)
        })
        .await;
        let nodes = deployment.replicas();
        let count = || -> Shares {
            let count = |node: &&Server| (local(node.port()), node.command_stat(command));
            nodes.iter().map(count).collect()
        };
        let before = count();
        let shares = reads(&pool, callers, each).await;
        assert!(is_even(&shares, replicas), "{callers} callers: {shares:?}");
        for (node, after) in count() {
            assert_eq!(after - before[&node], shares[&node], "{node} counts too");
        }
    }
    let master = deployment.master();
    let reads = master.command_stat("get") + master.command_stat("xread");
    assert_eq!(reads, 0, "no read went to the master");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_equal_replicas_get_equal_shares() {
    spread_over(2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_equal_replicas_get_equal_shares() {
    spread_over(3).await;
}

#[tokio::test]
async fn connections_that_cannot_be_shared_out_evenly_take_turns() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| config.read.max_active = 1).await;
    connected(&pool, 2).await;
    eventually("they take turns", LIMIT, || async {
        reads(&pool, 1, 64).await;
        pool.status().read.created > 2
    })
    .await;
    let (before, began) = (pool.status().read.created, Instant::now());
    let mut shares = Shares::new();
    while began.elapsed() < Duration::from_secs(4) {
        for (node, count) in reads(&pool, 1, 64).await {
            *shares.entry(node).or_default() += count;
        }
    }
    // How many reads a turn has depends on how busy this machine is.
    let total: u64 = shares.values().sum();
    let fair = |count: &u64| (total * 7..=total * 13).contains(&(count * 20));
    assert!(shares.len() == 2 && shares.values().all(fair), "{shares:?}");
    let turns = pool.status().read.created - before;
    assert!(
        turns <= 41,
        "{turns}: a turn lasts a while even under full load"
    );
}

/// Opens `count` connections at once and says where each goes, and its `CLIENT ID` there.
async fn ids(pool: &Pool, count: usize) -> BTreeSet<(Node, i64)> {
    let mut guards: Vec<Connection> = Vec::new();
    for _ in 0..count {
        guards.push(pool.read().await.expect("there is room"));
    }
    let mut ids = BTreeSet::new();
    for conn in &mut guards {
        let id = redis::cmd("CLIENT").arg("ID").query_async(conn).await;
        ids.insert((conn.node(), id.expect("it answers")));
    }
    ids
}

fn still_open(deployment: &Deployment, ids: &BTreeSet<(Node, i64)>) -> bool {
    ids.iter().all(|(node, id)| {
        let clients = deployment.node(node.port()).client_list();
        clients.iter().any(|client| client["id"] == id.to_string())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_gets_its_share_and_disturbs_no_connection() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |_| {}).await;
    connected(&pool, 2).await;
    let before = ids(&pool, 4).await;
    assert_eq!(before.len(), 4);
    let newcomer = Server::standalone(&[]);
    let port = deployment.master().port().to_string();
    newcomer.cmd(&["REPLICAOF", "127.0.0.1", &port]);
    connected(&pool, 3).await;
    eventually("the newcomer has its share", LIMIT, || async {
        is_even(&reads(&pool, 1, 120).await, 3)
    })
    .await;
    assert!(still_open(&deployment, &before));
    assert_eq!(pool.status().read.discards.total(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_joins_a_full_pool_gets_its_share_too() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| config.read.max_active = 6).await;
    connected(&pool, 2).await;
    ids(&pool, 6).await;
    let newcomer = Server::standalone(&[]);
    let port = deployment.master().port().to_string();
    newcomer.cmd(&["REPLICAOF", "127.0.0.1", &port]);
    connected(&pool, 3).await;
    for callers in [1, 16] {
        eventually("the newcomer has its share", LIMIT, || async {
            is_even(&reads(&pool, callers, 120).await, 3)
        })
        .await;
    }
    let status = pool.status().read;
    assert!(status.active <= 6, "{status:?}");
    let rebalanced = status.discards.get(Discard::Rebalance);
    assert_eq!(rebalanced, status.discards.total(), "{status:?}");
    assert!(
        (1..=4).contains(&rebalanced),
        "no more than needed: {status:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_dies_is_drained_at_once() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |_| {}).await;
    connected(&pool, 2).await;
    ids(&pool, 6).await;
    let victim = deployment.replicas()[0];
    victim.kill();
    // Not even the first read after its death meets it: the closed sockets are seen at checkout.
    let shares = reads(&pool, 4, 50).await;
    let victim = local(victim.port());
    assert!(!shares.contains_key(&victim), "{shares:?}");
    eventually("nothing is left of it", LIMIT, || async {
        pool.topology().readable().all(|node| *node != victim)
    })
    .await;
    let again = reads(&pool, 4, 50).await;
    assert_eq!(again.len(), 1, "{again:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_follows_somebody_else_is_drained() {
    // The Sentinels must not lead it back while we look.
    let deployment = Deployment::builder()
        .failover_timeout(Duration::from_secs(600))
        .start();
    let stranger = Server::standalone(&[]);
    let pool = support::pool(&deployment, |config| {
        config.client_name = Some("pool".into());
        config.refresh_interval = Duration::from_millis(300);
    })
    .await;
    connected(&pool, 2).await;
    ids(&pool, 6).await;
    let traitor = deployment.replicas()[0];
    let port = stranger.port().to_string();
    traitor.cmd(&["REPLICAOF", "127.0.0.1", &port]);
    connected(&pool, 1).await;
    let shares = reads(&pool, 4, 50).await;
    assert!(!shares.contains_key(&local(traitor.port())), "{shares:?}");
    eventually("idle connections to it are closed", LIMIT, || async {
        // Looks at the node itself come and go.
        (0..3).any(|_| traitor.client_count_named("pool") == 0)
    })
    .await;
    let gone = pool.status().read.discards.get(Discard::NodeGone);
    assert!(gone >= 1, "{:?}", pool.status().read);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_pools_shrink_again_under_trickle_traffic_and_keep_serving() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        for limits in [&mut config.read, &mut config.write] {
            limits.max_active = 12;
            limits.idle_timeout = Some(Duration::from_millis(400));
        }
    })
    .await;
    connected(&pool, 2).await;
    let mut burst = Vec::new();
    for _ in 0..12 {
        burst.push(pool.read().await.expect("there is room"));
        burst.push(pool.write().await.expect("there is room"));
    }
    let status = pool.status();
    assert_eq!((status.read.active, status.write.active), (12, 12));
    drop(burst);
    eventually("few connections are left", LIMIT, || async {
        read(&pool).await;
        let mut conn = pool.write().await.expect("the master is there");
        let () = conn.set("k", "v").await.expect("it takes writes");
        drop(conn);
        let status = pool.status();
        status.read.active <= 4 && status.write.active <= 2
    })
    .await;
    let status = pool.status();
    let surplus = status.read.discards.get(Discard::Surplus);
    assert!(surplus >= 8, "{:?}", status.read);
    let idle = status.write.discards.get(Discard::Idle);
    assert!(idle >= 10, "{:?}", status.write);
    assert!(
        is_even(&reads(&pool, 1, 60).await, 2),
        "both are still served"
    );
}

/// Connections that grow old at different moments must not be replaced for the balance's sake.
#[tokio::test]
async fn without_traffic_nothing_is_dialled_to_even_out_the_shares() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        config.read.idle_timeout = Some(Duration::from_secs(1));
    })
    .await;
    read(&pool).await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    read(&pool).await;
    eventually("all have grown old", LIMIT, || async {
        pool.status().read.active == 0
    })
    .await;
    let created = pool.status().read.created;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(pool.status().read.created, created);
    assert!(created <= 3, "{:?}", pool.status().read);
}

#[tokio::test]
async fn where_fewer_may_stay_idle_than_there_are_replicas_none_is_dialled_to_be_closed() {
    let deployment = Deployment::start();
    for max_idle in [0, 1] {
        let pool = support::pool(&deployment, |config| {
            config.read.max_idle = Some(max_idle);
            // The reaper comes every 20 ms.
            config.read.max_lifetime = Some(Duration::from_millis(200));
            config.read.idle_timeout = None;
        })
        .await;
        let lent = pool.read().await.expect("a replica is there");
        tokio::time::sleep(Duration::from_millis(500)).await;
        drop(lent);
        tokio::time::sleep(Duration::from_millis(500)).await;
        let status = pool.status().read;
        assert!(status.created <= 4, "{status:?}");
    }
}
