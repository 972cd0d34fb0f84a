//! What Sentinels claim, and what a pool makes of it.

use std::time::Duration;

use redis_rw_pool::redis::AsyncCommands;
use testkit::Deployment;
use tokio::{task::block_in_place, time::Instant};

use crate::support::{self, eventually, local};

const LIMIT: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_that_cannot_sign_in_at_a_healthy_master_do_not_stop_its_writes() {
    let deployment = block_in_place(|| {
        Deployment::builder()
            .password("old")
            .username_acl("app", "pw", "~* &* +@all")
            .start()
    });
    let pool = support::pool(&deployment, |config| {
        config.username = Some("app".to_owned());
        config.password = Some("pw".into());
    })
    .await;
    block_in_place(|| {
        for node in deployment.nodes() {
            let mut client = node.connect().unwrap();
            for setting in ["masterauth", "requirepass"] {
                client.call(&["CONFIG", "SET", setting, "new"]).unwrap();
            }
            for kind in ["normal", "pubsub"] {
                let kill = [
                    "CLIENT", "KILL", "USER", "default", "TYPE", kind, "SKIPME", "yes",
                ];
                client.call(&kill).unwrap();
            }
        }
    });
    eventually("all Sentinels say o_down", LIMIT, || async {
        let said = pool.status().sentinel.reports;
        said.to_string().matches("o_down").count() >= 3
    })
    .await;
    // They try a failover every now and then, find no replica that would do, and give up.
    let began = Instant::now();
    let mut longest = Duration::ZERO;
    for i in 0.. {
        if began.elapsed() > Duration::from_secs(10) {
            break;
        }
        let before = Instant::now();
        let mut conn = pool.write().await.expect("the master is well");
        let () = conn.set("k", i).await.expect("the master is well");
        longest = longest.max(before.elapsed());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(longest < Duration::from_secs(5), "{longest:?}");
    assert_eq!(pool.topology().readable().count(), 2, "nor its replicas");
    let claim = pool.status().sentinel.claim;
    assert!(claim.is_some_and(|claim| claim.contains("o_down")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_taken_off_the_list_is_no_longer_read_from() {
    let deployment = block_in_place(Deployment::start);
    let pool = support::pool(&deployment, |_| {}).await;
    eventually("both replicas are readable", LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    let hidden = deployment.replicas()[0];
    hidden.cmd(&["CONFIG", "SET", "replica-announced", "no"]);
    eventually("it takes no reads", LIMIT, || async {
        let node = local(hidden.port());
        pool.topology()
            .replicas
            .iter()
            .all(|replica| replica.node != node)
    })
    .await;
    hidden.cmd(&["CONFIG", "SET", "replica-announced", "yes"]);
    eventually("it takes reads again", LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_is_lost_is_told_at_once() {
    let deployment = block_in_place(|| Deployment::builder().down_after(LIMIT).start());
    let pool = support::pool(&deployment, |config| {
        // Nothing but the closed connections can tell.
        config.refresh_interval = Duration::from_secs(3600);
    })
    .await;
    assert_eq!(pool.status().master_error, None);
    let master = deployment.master();
    block_in_place(|| master.kill());
    eventually("the loss is told", Duration::from_secs(5), || async {
        pool.status().master_error.is_some() && pool.topology().master_error.is_some()
    })
    .await;
    block_in_place(|| master.restart());
    eventually("its return is told", LIMIT, || async {
        pool.status().master_error.is_none()
    })
    .await;
}
