//! Failovers over TLS.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{Pool, Retry, Tls, redis::AsyncCommands};
use testkit::{Authority, Deployment};
use tokio::task::block_in_place;

use super::deployment;
use crate::support::{FAILOVER_LIMIT, config, eventually, readable_are};

/// Writes over the shared connection, until it is told to stop. Returns what was acknowledged.
async fn write_on(pool: Pool, stop: Arc<AtomicBool>, name: &str) -> Vec<String> {
    let mut done = Vec::new();
    while !stop.load(SeqCst) {
        let key = format!("{name}-{}", done.len());
        let written: Result<(), _> = pool.writer().set(&key, 1).await;
        written.unwrap_or_else(|error| panic!("{key}: {error}"));
        done.push(key);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    done
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
    let mut config = config(&deployment);
    config.failover_timeout = FAILOVER_LIMIT;
    let tls = Tls::builder().ca_pem(ca.pem());
    config.tls = Some(tls.client_pem(client.cert, client.key).build().unwrap());
    let pool = Pool::connect(config).await.unwrap();
    eventually("all Sentinels are heard", FAILOVER_LIMIT, || async {
        pool.status().sentinel.listening == 3
    })
    .await;
    readable_are(&pool, 2, FAILOVER_LIMIT).await;

    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let (pool, stop) = (pool.clone(), Arc::clone(&stop));
        tokio::spawn(async move { write_on(pool, stop, "planned").await })
    };
    let old = block_in_place(|| {
        let old = deployment.master().port();
        deployment.failover();
        old
    });
    follows(&pool, &deployment, old).await;
    stop.store(true, SeqCst);
    let written = load.await.expect("no write failed");
    assert!(!written.is_empty());
    let there: usize = pool.writer().exists(&written).await.unwrap();
    assert_eq!(there, written.len(), "what was acknowledged is there");

    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
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
