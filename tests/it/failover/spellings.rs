//! Deployments in which not everybody calls a node by the same address.

use std::time::Duration;

use redis_rw_pool::{Adopt, Node, Pool, ReadFrom};
use testkit::Deployment;
use tokio::task::block_in_place;

use super::fence::{By, hand_over_by, nothing_is_lost_when};
use crate::support::{self, eventually};

const LIMIT: Duration = Duration::from_secs(60);

/// One Sentinel of three spells the master otherwise than the two others.
fn two_spellings() -> Deployment {
    let deployment = Deployment::start();
    let odd = &deployment.sentinels()[0];
    deployment.name_localhost(odd, Duration::from_secs(1));
    deployment.wait_healthy(LIMIT);
    assert!(deployment.is_named_localhost_by(odd));
    assert!(!deployment.is_named_localhost_by(&deployment.sentinels()[1]));
    deployment
}

async fn nothing_is_lost(by: By, adopt: Adopt) {
    let deployment = block_in_place(two_spellings);
    let odd = deployment.sentinels()[0].port();
    let lead = async |deployment: &Deployment, pool: &Pool| {
        let leader = deployment.sentinels().iter().find(|s| s.port() == odd);
        let leader = leader.expect("it is there");
        let failover = ["SENTINEL", "FAILOVER", deployment.master_name()];
        hand_over_by(pool, LIMIT, async || {
            eventually("it leads", LIMIT, || async {
                block_in_place(|| leader.try_cmd(&failover)).is_ok_and(|reply| !reply.is_error())
            })
            .await;
        })
        .await
    };
    let failed = nothing_is_lost_when(&deployment, by, |config| config.adopt = adopt, lead).await;
    assert_eq!(failed, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_led_by_a_sentinel_that_spells_the_master_otherwise_loses_no_write() {
    nothing_is_lost(By::Exclusive, Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_led_by_such_a_sentinel_loses_no_write_when_its_candidate_is_adopted_early() {
    nothing_is_lost(By::Shared, Adopt::Promoted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_under_two_spellings_is_one_node() {
    let deployment = block_in_place(two_spellings);
    let pool = support::pool(&deployment, |config| config.read_from = ReadFrom::Replica).await;
    eventually("both replicas are readable", LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    for _ in 0..5 {
        let topology = pool.refresh().await.unwrap();
        assert_eq!(topology.replicas.len(), 2, "{topology:?}");
        let ports: Vec<u16> = topology.replicas.iter().map(|r| r.node.port()).collect();
        assert_ne!(ports[0], ports[1], "{topology:?}");
        let master = topology.master.as_ref().map(Node::port);
        assert_eq!(master, Some(block_in_place(|| deployment.master().port())));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_knows_its_master_by_another_name_is_read_from_also_when_the_master_dies() {
    let deployment = block_in_place(|| {
        Deployment::builder()
            // It is the time without a master that is shown.
            .down_after(LIMIT)
            .start()
    });
    let master = deployment.master();
    block_in_place(|| {
        let port = master.port().to_string();
        for replica in deployment.replicas() {
            replica.cmd(&["REPLICAOF", "localhost", &port]);
        }
        deployment.wait_healthy(LIMIT);
    });
    let pool = support::pool(&deployment, |config| config.read_from = ReadFrom::Replica).await;
    let readable = || async { pool.topology().readable().count() == 2 };
    eventually("both replicas are readable", LIMIT, readable).await;
    block_in_place(|| master.kill());
    eventually("the loss is seen", LIMIT, || async {
        pool.topology().master_error.is_some()
    })
    .await;
    for _ in 0..20 {
        let _ = pool.read().await.expect("they have the data");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    eventually("both replicas stay readable", LIMIT, readable).await;
}
