//! The tests of `topology::silent_replicas` that need no redis-server.

use std::time::Duration;

use redis_rw_pool::{Config, Pool, ReadFrom};
use testkit::fake::{self, Action, FakeNode, FakeSentinel, NodeRole, SentinelView};

use super::super::silent_replicas::{By, is_readable, readable};
use crate::support::{LONG, SECOND, eventually};

/// A master, replicas and a Sentinel, all fake. Nothing is looked at but for a reason, and a look at
/// a node that is silent goes on for longer than any test.
async fn fakes(
    replicas: usize,
    read_from: ReadFrom,
) -> (FakeNode, Vec<FakeNode>, FakeSentinel, Pool) {
    let master = fake::node(NodeRole::Master);
    let mut view = SentinelView::of_master(master.port());
    let role = NodeRole::replica_of(master.port());
    let replicas: Vec<_> = (0..replicas).map(|_| fake::node(role.clone())).collect();
    for replica in &replicas {
        view = view.with_replica(replica.port());
    }
    let sentinel = fake::sentinel(view);
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.refresh_interval = Duration::from_secs(3600);
    config.sentinel_timeout = LONG;
    config.connect_timeout = 10 * LONG;
    config.command_timeout = Some(SECOND);
    config.failover_timeout = 10 * LONG;
    config.read_from = read_from;
    let pool = Pool::connect(config).await.expect("all is well");
    for replica in &replicas {
        readable(&pool, replica.port()).await;
    }
    (master, replicas, sentinel, pool)
}

#[tokio::test]
async fn a_silent_replica_is_left_out_by_the_time_the_first_deadline_is_missed() {
    for by in By::BOTH {
        let (_master, nodes, _sentinel, pool) = fakes(2, ReadFrom::ReplicaPreferred).await;
        let [silent, well] = &nodes[..] else {
            panic!("there are two")
        };
        eventually("both are read from", LONG, || async {
            by.read(&pool).await.unwrap();
            nodes.iter().all(|node| node.count("GET") > 0)
        })
        .await;
        silent.set_override(Some(Action::Silence));
        let mut failed = None;
        while failed.is_none() {
            failed = by.read(&pool).await.err();
        }
        assert!(failed.is_some_and(|error| error.is_timeout()), "{by:?}");
        let reads = silent.count("GET");
        for _ in 0..50 {
            by.read(&pool).await.unwrap();
        }
        assert_eq!(silent.count("GET"), reads, "{by:?}");
        let topology = pool.topology();
        let replica = topology.replicas.iter();
        let mut replica = replica.filter(|replica| replica.node.port() == silent.port());
        let reason = replica.next().unwrap().excluded.as_ref().unwrap();
        assert_eq!(reason.to_string(), "did not answer within 1s");
        assert!(is_readable(&pool, well.port()));
    }
}

/// `NoReplica` at once would be worse than to try.
#[tokio::test]
async fn a_silent_replica_is_tried_all_the_same_where_there_is_no_other() {
    for by in By::BOTH {
        let (_master, nodes, _sentinel, pool) = fakes(1, ReadFrom::Replica).await;
        let replica = &nodes[0];
        by.read(&pool).await.unwrap();
        replica.set_override(Some(Action::Silence));
        assert!(by.read(&pool).await.unwrap_err().is_timeout(), "{by:?}");
        assert!(!is_readable(&pool, replica.port()));
        replica.set_override(None);
        by.read(&pool).await.unwrap();
    }
}
