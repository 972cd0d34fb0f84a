//! Masters that are replaced without a word from the Sentinels, or in another way than they are used to.

use std::time::Duration;

use redis_rw_pool::{Pool, ReadFrom, redis::AsyncCommands};
use testkit::{
    Deployment,
    history::Action,
    program, provides,
    proxy::{Flow, Proxy, Toward},
};
use tokio::{task::block_in_place, time::Instant};

use super::fence::{By, Writers, hand_over, hand_over_by, master, nothing_is_lost_when};
use crate::support::{self, FAILOVER_LIMIT, eventually};

/// May ask everything, and hears nothing.
const DEAF: &str = "user deaf on >pw ~* -@all +auth +hello +ping +role +client +sentinel \
                    +subscribe +psubscribe resetchannels";

fn key(action: &Action) -> &str {
    match action {
        Action::Set { key, .. } => key,
        other => panic!("{other:?} is no SET"),
    }
}

async fn lost_without_events(by: By) -> (usize, usize) {
    let deployment = block_in_place(|| Deployment::builder().sentinel_config(DEAF).start());
    let pool = support::pool(&deployment, |config| {
        config.sentinel_username = Some("deaf".to_owned());
        config.sentinel_password = Some("pw".into());
        config.failover_timeout = FAILOVER_LIMIT;
        // No poll may come to help.
        config.refresh_interval = Duration::from_secs(30);
    })
    .await;
    let old = master(&pool).port();
    let writers = Writers::start(&pool, by);
    writers.go_on(1000).await;
    block_in_place(|| writers.history.in_step(&deployment, FAILOVER_LIMIT));
    let new = hand_over(&deployment, &pool).await;
    writers.go_on(200).await;
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    let calls = writers.finish().await;
    assert_eq!(pool.status().sentinel.events, 0, "it is deaf");
    assert_ne!(new.port(), old);
    let acknowledged = calls.iter().filter(|call| call.error.is_empty());
    let keys: Vec<&str> = acknowledged.map(|call| key(&call.action)).collect();
    let mut client = deployment.node(new.port()).connect().unwrap();
    let lost = keys.iter().filter(|key| {
        let reply = client.call(&["EXISTS", key]).unwrap();
        reply.as_int() == 0
    });
    (lost.count(), keys.len())
}

/// The promotion closes the connection over which the pool asks the replica. Without that sign it goes
/// on writing to the old master for about a second.
#[tokio::test(flavor = "multi_thread")]
async fn without_any_event_a_planned_failover_loses_the_writes_of_milliseconds() {
    let (lost, of) = lost_without_events(By::Exclusive).await;
    eprintln!("{lost} of {of} acknowledged writes were lost");
    // Without that sign three quarters are lost, all that is written until the old master is demoted. On
    // a machine with other work the replica itself is behind when it is promoted.
    assert!(lost * 4 < of, "{lost} of {of}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_is_made_a_master_by_hand_holds_up_writes_for_a_moment() {
    let deployment = block_in_place(|| {
        // The Sentinels leave it alone for a while.
        Deployment::builder().fast(false).start()
    });
    let pool = support::pool(&deployment, |config| {
        config.failover_timeout = Duration::from_secs(5);
    })
    .await;
    eventually("both replicas are readable", FAILOVER_LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    let before = master(&pool);
    let stray = deployment.replicas()[0];
    stray.cmd(&["REPLICAOF", "NO", "ONE"]);
    eventually("it is seen", FAILOVER_LIMIT, || async {
        pool.status().fence.raised > 0
    })
    .await;
    let () = pool.write().await.unwrap().set("k", 1).await.unwrap();
    eventually("writes go on", Duration::from_secs(5), || async {
        pool.topology().fence.is_none()
    })
    .await;
    assert_eq!(master(&pool), before);
    assert_eq!(
        pool.status().fence.raised,
        1,
        "and it is not asked for again"
    );
}

/// The time that no write succeeded, at the longest.
async fn longest_stall(pool: &Pool, stop: impl Fn() -> bool) -> Duration {
    let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
    while !stop() {
        if let Ok(mut conn) = pool.write().await
            && conn.set::<_, _, ()>("stall", 1).await.is_ok()
        {
            longest = longest.max(last.elapsed());
            last = Instant::now();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    longest
}

#[tokio::test(flavor = "multi_thread")]
async fn a_master_that_hands_over_by_itself_is_followed_by_what_the_nodes_report() {
    let deployment = block_in_place(|| {
        // With the real periods they notice half a minute later.
        Deployment::builder().fast(false).start()
    });
    let pool = support::pool(&deployment, |config| {
        config.failover_timeout = FAILOVER_LIMIT
    })
    .await;
    eventually("both replicas are readable", FAILOVER_LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    let old = deployment.master();
    let new = deployment.replicas()[0].port();
    let to = new.to_string();
    old.cmd(&["FAILOVER", "TO", "127.0.0.1", &to]);
    let began = Instant::now();
    let followed = || master(&pool).port() == new && pool.topology().fence.is_none();
    let stall = longest_stall(&pool, || followed() || began.elapsed() > FAILOVER_LIMIT).await;
    assert!(
        followed(),
        "{:#?} {:#?}",
        pool.topology(),
        pool.status().fence
    );
    assert!(stall < Duration::from_secs(10), "{stall:?}");
    let topology = pool.topology();
    let deposed = topology
        .previous_master
        .as_ref()
        .expect("the Sentinels still name it");
    assert_eq!(deposed.port(), old.port());
    let () = pool.write().await.unwrap().set("k", 1).await.unwrap();
    assert_eq!(
        deployment
            .node(new)
            .connect()
            .unwrap()
            .call(&["GET", "k"])
            .unwrap()
            .as_str(),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinated_failover_loses_nothing_and_is_followed_before_it_is_announced() {
    if !program().is_valkey() || !provides("a coordinated failover", (9, 0)) {
        eprintln!("left out: {} knows no coordinated failover", program());
        return;
    }
    let deployment = block_in_place(|| Deployment::builder().fast(false).start());
    let lead = async |deployment: &Deployment, pool: &Pool| {
        let name = deployment.master_name();
        let new = hand_over_by(pool, FAILOVER_LIMIT, async || {
            block_in_place(|| {
                deployment.sentinels()[0].cmd(&["SENTINEL", "FAILOVER", name, "COORDINATED"]);
            });
        })
        .await;
        assert!(
            pool.topology().previous_master.is_some(),
            "it is not announced yet"
        );
        new
    };
    let failed = nothing_is_lost_when(&deployment, By::Exclusive, |_| {}, lead).await;
    // The Sentinel cuts the clients of both nodes some 50 ms after the new master took its first write.
    for call in failed {
        let cut = call.error.contains("the outcome is unknown");
        assert!(cut, "{call:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_whose_link_is_up_is_not_read_from_before_it_has_caught_up() {
    let deployment = block_in_place(|| {
        Deployment::builder()
            .replicas(1)
            .node_config("repl-timeout 60")
            .start()
    });
    let (master, replica) = (deployment.master(), deployment.replicas()[0]);
    let link = Proxy::to(master.port());
    block_in_place(|| {
        replica.cmd(&["REPLICAOF", "127.0.0.1", &link.port().to_string()]);
        let until = Instant::now() + FAILOVER_LIMIT;
        while replica.info("replication")["master_link_status"] != "up" {
            assert!(Instant::now() < until, "it has no link");
        }
        // Its link stays up, and nothing comes over it.
        link.set(Toward::Client, Flow::Hold);
        master.cmd(&["SET", "k", "new"]);
    });
    let mut config = support::config(&deployment);
    config.read_from = ReadFrom::Replica;
    let pool = Pool::connect(config).await.unwrap();
    for _ in 0..10 {
        let topology = pool.refresh().await.unwrap();
        assert_eq!(topology.readable().count(), 0, "{topology:?}");
    }
    let reason = pool.topology().replicas[0].excluded.clone().unwrap();
    assert!(reason.to_string().contains("has yet to apply"), "{reason}");
    link.heal();
    eventually("it is readable", FAILOVER_LIMIT, || async {
        pool.topology().readable().count() == 1
    })
    .await;
    let value: String = pool.read().await.unwrap().get("k").await.unwrap();
    assert_eq!(value, "new");
}
