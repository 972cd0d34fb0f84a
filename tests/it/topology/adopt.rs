//! When a new master is believed in, and what a sign that the old one goes may cost.

use redis_rw_pool::Adopt;
use testkit::Deployment;
use tokio::task::block_in_place;

use crate::support::{self, FAILOVER_LIMIT, eventually, local, write};

async fn a_dead_master_is_followed(adopt: Adopt) {
    let deployment = block_in_place(|| Deployment::builder().replicas(2).sentinels(3).start());
    let pool = support::pool(&deployment, |config| {
        config.adopt = adopt;
        config.failover_timeout = FAILOVER_LIMIT;
    })
    .await;
    let old = deployment.master().port();
    assert_eq!(write(&pool, "k").await, Ok(local(old)));
    block_in_place(|| deployment.node(old).kill());
    eventually("writes go to another master", FAILOVER_LIMIT, || async {
        write(&pool, "k").await.is_ok_and(|node| node != local(old))
    })
    .await;
    let new = block_in_place(|| {
        deployment
            .wait_for_master_other_than(old, FAILOVER_LIMIT)
            .port()
    });
    eventually("all agree", FAILOVER_LIMIT, || async {
        let topology = pool.topology();
        topology.master == Some(local(new)) && topology.previous_master.is_none()
    })
    .await;
    assert_eq!(write(&pool, "k").await, Ok(local(new)));
    assert_eq!(pool.status().fence.sign, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_killed_is_followed_when_announced() {
    a_dead_master_is_followed(Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_was_killed_is_followed_when_promoted() {
    a_dead_master_is_followed(Adopt::Promoted).await;
}
