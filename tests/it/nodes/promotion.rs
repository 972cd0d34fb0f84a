//! Replicas that become masters, and nobody announces it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::AsyncCommands;
use redis_rw_pool::{Pool, SignKind};
use testkit::Server;
use tokio::{task::block_in_place, time::Instant};

use super::{config, deployment, follow, promote};
use crate::support::{LONG, SECOND, SOON, eventually, local, readable_are};

/// What was acknowledged so shortly before the promotion may not have reached the replica. A millisecond, but
/// for a machine with other work.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// What became of writes that one caller sent one after another.
struct Writes {
    /// The time of each that was acknowledged.
    acknowledged: Vec<Instant>,
    failed: usize,
    longest: Duration,
}

/// Writes numbered keys until it is told to stop.
fn write_until(pool: &Pool, stop: &Arc<AtomicBool>) -> tokio::task::JoinHandle<Writes> {
    let (pool, stop) = (pool.clone(), Arc::clone(stop));
    tokio::spawn(async move {
        let mut writes = Writes {
            acknowledged: Vec::new(),
            failed: 0,
            longest: Duration::ZERO,
        };
        while !stop.load(SeqCst) {
            let began = Instant::now();
            let key = writes.acknowledged.len();
            match pool.writer().set::<_, _, ()>(key, "v").await {
                Ok(()) => writes.acknowledged.push(Instant::now()),
                Err(_) => writes.failed += 1,
            }
            writes.longest = writes.longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        writes
    })
}

/// The numbers of the acknowledged writes that a server does not have.
fn lost(writes: &Writes, server: &Server) -> Vec<usize> {
    let mut client = server.connect().unwrap();
    let mut has = |key: usize| client.call(&["EXISTS", &key.to_string()]).unwrap().as_int() == 1;
    (0..writes.acknowledged.len())
        .filter(|key| !has(*key))
        .collect()
}

/// A master sends nothing to a new replica until the replica's next acknowledgement, up to a second
/// later.
fn replicates(master: &Server, replicas: usize) {
    let mut client = master.connect().unwrap();
    client.call(&["SET", "first", "1"]).unwrap();
    let replicas = replicas.to_string();
    let acknowledged = client.call(&["WAIT", &replicas, "1900"]).unwrap();
    assert_eq!(acknowledged.as_int().to_string(), replicas);
}

async fn master_is(pool: &Pool, server: &Server) {
    let node = local(server.port());
    eventually("the new master is known", LONG, || async {
        pool.topology().master.as_ref() == Some(&node)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promotion_by_hand_is_followed_and_loses_only_what_came_between_its_steps() {
    let servers = deployment(2);
    let [old, new, other] = servers.nodes() else {
        unreachable!()
    };
    let pool = Pool::connect(config(servers.nodes())).await.unwrap();
    readable_are(&pool, 2, SOON).await;
    block_in_place(|| replicates(old, 2));
    let stop = Arc::new(AtomicBool::new(false));
    let load = write_until(&pool, &stop);
    tokio::time::sleep(Duration::from_millis(300)).await;

    let promoted = Instant::now();
    block_in_place(|| promote(new));
    tokio::time::sleep(Duration::from_millis(100)).await;
    block_in_place(|| {
        follow(old, new);
        follow(other, new);
    });
    let repointed = Instant::now();
    master_is(&pool, new).await;
    let followed = repointed.elapsed();
    readable_are(&pool, 2, SOON).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, SeqCst);
    let writes = load.await.unwrap();

    let lost = block_in_place(|| lost(&writes, new));
    println!(
        "{} acknowledged, {} lost, {} failed, longest {:?}, followed after {followed:?}",
        writes.acknowledged.len(),
        lost.len(),
        writes.failed,
        writes.longest,
    );
    assert_eq!(
        writes.failed, 0,
        "what a replica refuses is sent to the master"
    );
    assert!(writes.longest < 3 * SECOND, "{:?}", writes.longest);
    let last = *writes.acknowledged.last().unwrap();
    assert!(
        last > repointed + Duration::from_millis(100),
        "writes went on"
    );
    for key in lost {
        let at = writes.acknowledged[key];
        assert!(
            at + ON_ITS_WAY > promoted && at < repointed,
            "{key} is lost, acknowledged {:?} before the promotion",
            promoted.saturating_duration_since(at)
        );
    }
    assert_eq!(pool.topology().unproven, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_command_loses_nothing() {
    if !testkit::provides("FAILOVER", (6, 2)) {
        return;
    }
    let servers = deployment(1);
    let [old, new] = servers.nodes() else {
        unreachable!()
    };
    let pool = Pool::connect(config(servers.nodes())).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    let stop = Arc::new(AtomicBool::new(false));
    let load = write_until(&pool, &stop);
    tokio::time::sleep(Duration::from_millis(200)).await;
    block_in_place(|| replicates(old, 1));
    block_in_place(|| old.cmd(&["FAILOVER"]));
    master_is(&pool, new).await;
    readable_are(&pool, 1, SOON).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.store(true, SeqCst);
    let writes = load.await.unwrap();
    println!(
        "{} acknowledged, longest {:?}",
        writes.acknowledged.len(),
        writes.longest
    );
    assert_eq!(
        (writes.failed, block_in_place(|| lost(&writes, new))),
        (0, Vec::new())
    );
    assert!(writes.longest < 3 * SECOND, "{:?}", writes.longest);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_promoted_after_its_master_died_is_followed() {
    let servers = deployment(1);
    let [old, new] = servers.nodes() else {
        unreachable!()
    };
    let pool = Pool::connect(config(servers.nodes())).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    old.kill();
    let waiting = tokio::spawn({
        let pool = pool.clone();
        async move { pool.writer().set::<_, _, ()>("k", 1).await }
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(
        pool.read().await.is_ok(),
        "the replica is read from meanwhile"
    );
    block_in_place(|| promote(new));
    waiting.await.unwrap().expect("it waited for the promotion");
    assert_eq!(pool.topology().master, Some(local(new.port())));

    // The old master comes back as a master, without its data. Nobody follows it.
    block_in_place(|| old.restart());
    let excluded = || async {
        let topology = pool.topology();
        topology.unproven.is_some() && topology.replicas.iter().all(|r| !r.is_readable())
    };
    eventually("the old master is noticed", SOON, excluded).await;
    assert_eq!(pool.topology().master, Some(local(new.port())));
    assert_eq!(
        pool.status().fence.kind,
        None,
        "it was never a replica of the new one"
    );
    let () = pool.writer().set("k", 2).await.unwrap();
    assert_eq!(new.cmd(&["GET", "k"]).as_str(), "2");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_is_split_off_holds_writes_up_for_three_seconds_and_never_becomes_the_master()
 {
    let servers = deployment(1);
    let [master, split] = servers.nodes() else {
        unreachable!()
    };
    let pool = Pool::connect(config(servers.nodes())).await.unwrap();
    readable_are(&pool, 1, SOON).await;
    block_in_place(|| promote(split));
    let up = || async { pool.status().fence.kind == Some(SignKind::Promotion) };
    eventually("the fence is up", SOON, up).await;
    let began = Instant::now();
    let () = pool
        .writer()
        .set("k", 1)
        .await
        .expect("the fence comes down");
    let waited = began.elapsed();
    assert!(waited > 2 * SECOND && waited < 5 * SECOND, "{waited:?}");
    let topology = pool.topology();
    assert_eq!(topology.master, Some(local(master.port())));
    let unproven = topology.unproven.clone().unwrap_or_default();
    assert!(
        unproven.contains("both say that they are masters"),
        "{unproven}"
    );

    // That the master is away for a moment does not make the other one its successor.
    block_in_place(|| master.kill());
    let lost = || async { pool.topology().master_error.is_some() };
    eventually("the loss is noticed", SOON, lost).await;
    tokio::time::sleep(SECOND).await;
    block_in_place(|| master.restart());
    let () = pool.writer().set("k", 2).await.unwrap();
    assert_eq!(pool.topology().master, Some(local(master.port())));
    assert!(split.cmd(&["GET", "k"]).is_nil());
}
