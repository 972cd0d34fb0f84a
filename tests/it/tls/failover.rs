//! Failovers over TLS.

use redis_rw_pool::{Config, Pool, Retry, Tls, redis::AsyncCommands};
use testkit::{Authority, Deployment, Identity};
use tokio::task::block_in_place;

use super::deployment;
use crate::{
    failover::fence::{By, hand_over, nothing_is_lost_when},
    support::{FAILOVER_LIMIT, eventually, pool},
};

fn speak_tls(config: &mut Config, ca: &Authority, client: &Identity) {
    let tls = Tls::builder().ca_pem(ca.pem());
    let tls = tls.client_pem(client.cert.clone(), client.key.clone());
    config.tls = Some(tls.build().unwrap());
    config.failover_timeout = FAILOVER_LIMIT;
}

async fn follows(pool: &Pool, deployment: &Deployment, old: u16) {
    let new = block_in_place(|| deployment.wait_for_master_other_than(old, FAILOVER_LIMIT));
    eventually("the pool follows", FAILOVER_LIMIT, || async {
        let topology = pool.topology();
        topology.fence.is_none()
            && topology
                .master
                .as_ref()
                .is_some_and(|master| master.port() == new.port())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_nothing_and_a_crash_is_survived() {
    let ca = Authority::new("ours");
    let deployment = deployment(&ca, ca.issue(&["127.0.0.1"]), 2, 3);
    let client = ca.issue(&["app"]);
    let change = |config: &mut Config| speak_tls(config, &ca, &client);

    let lead = async |deployment: &Deployment, pool: &Pool| {
        eventually("all Sentinels are heard", FAILOVER_LIMIT, || async {
            pool.status().sentinel.listening == 3
        })
        .await;
        hand_over(deployment, pool).await
    };
    let failed = nothing_is_lost_when(&deployment, By::Shared, change, lead).await;
    assert_eq!(failed, []);

    let pool = pool(&deployment, change).await;
    let old = block_in_place(|| {
        let master = deployment.master();
        master.kill();
        master.port()
    });
    let mut policy = Retry::default();
    policy.deadline = FAILOVER_LIMIT;
    let written = pool.retry_write(policy, |mut conn| async move { conn.set("crash", 1).await });
    let () = written.await.expect("the next master takes it");
    follows(&pool, &deployment, old).await;
    let read: i64 = pool.write().await.unwrap().get("crash").await.unwrap();
    assert_eq!(read, 1);
    eventually("a replica is read", FAILOVER_LIMIT, || async {
        pool.reader().get::<_, Option<i64>>("crash").await == Ok(Some(1))
    })
    .await;
}
