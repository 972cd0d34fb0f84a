//! Shared connections where masters are replaced, and where replicas come and go.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{AsyncCommands, RedisResult};
use redis_rw_pool::{Config, Multiplexed, Pool, ReadFrom};
use testkit::{
    Deployment, Server,
    fake::{self, SentinelView},
};
use tokio::task::{JoinSet, block_in_place};

use crate::support::{
    self, FAILOVER_LIMIT, Side, Stage, ask, chain, eventually, id, local, readable_are, watched_by,
};

fn patient(config: &mut Config) {
    config.failover_timeout = FAILOVER_LIMIT;
    config.command_timeout = Some(Duration::from_secs(2));
}

async fn connections_are(pool: &Pool, writer: usize, reader: usize) {
    let what = format!("{writer} connections to write and {reader} to read");
    eventually(&what, FAILOVER_LIMIT, || async {
        let status = pool.status();
        (status.writer.connections, status.reader.connections) == (writer, reader)
    })
    .await;
}

/// Callers of one handle, at load.
struct Load {
    stop: Arc<AtomicBool>,
    /// What was acknowledged, with the topology version before it was sent.
    done: Arc<Mutex<Vec<(String, u64)>>>,
    failures: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(pool: &Pool, handle: &Multiplexed, writes: bool) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            done: Arc::default(),
            failures: Arc::default(),
            tasks: JoinSet::new(),
        };
        for caller in 0..8 {
            let (mut handle, topologies) = (handle.clone(), pool.watch());
            let (stop, done) = (Arc::clone(&load.stop), Arc::clone(&load.done));
            let failures = Arc::clone(&load.failures);
            load.tasks.spawn(async move {
                for i in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let key = format!("load:{caller}:{i}");
                    let version = topologies.borrow().version;
                    let result: RedisResult<()> = match writes {
                        true => handle.set(&key, "v").await,
                        false => handle.exists(&key).await,
                    };
                    match result {
                        Ok(()) => done.lock().push((key, version)),
                        Err(error) => failures.lock().push(chain(&error)),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        load
    }

    async fn goes_on(&self) {
        let wanted = self.done.lock().len() + 200;
        eventually("calls succeed", FAILOVER_LIMIT, || async {
            self.done.lock().len() >= wanted
        })
        .await;
    }

    async fn finish(mut self) -> (Vec<(String, u64)>, Vec<String>) {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("no caller panics");
        }
        let done = std::mem::take(&mut *self.done.lock());
        let failures = std::mem::take(&mut *self.failures.lock());
        (done, failures)
    }
}

/// Every failure says what became of the command.
fn assert_told(failures: &[String]) {
    for text in failures {
        let known = [
            "outcome is unknown",
            "was not executed",
            "READONLY",
            "LOADING",
            "MASTERDOWN",
            "UNBLOCKED",
        ];
        assert!(known.iter().any(|word| text.contains(word)), "{text}");
    }
}

fn exist(master: &Server, keys: impl Iterator<Item = String>) {
    let mut client = master.connect().unwrap();
    for key in keys {
        let there = client.call(&["EXISTS", &key]).unwrap().as_int();
        assert_eq!(there, 1, "{key} is gone");
    }
}

/// Follows writers through a change of masters, which `fail` brings about.
async fn writers_follow(fail: impl FnOnce(&Deployment)) {
    const NAME: &str = "multiplexed-writers";
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        config.client_name = Some(NAME.to_owned());
    })
    .await;
    let mut writer = pool.writer();
    let mut topologies = pool.watch();
    let load = Load::start(&pool, &writer, true);
    load.goes_on().await;
    let old = deployment.master().port();
    block_in_place(|| fail(&deployment));
    let new = block_in_place(|| deployment.wait_for_master_other_than(old, FAILOVER_LIMIT));
    let switched = topologies.wait_for(|topology| topology.master == Some(local(new.port())));
    let version = switched.await.unwrap().version;
    load.goes_on().await;
    let (acks, failures) = load.finish().await;
    assert_told(&failures);
    let after = acks.into_iter().filter(|(_, seen)| *seen >= version);
    exist(new, after.map(|(key, _)| key));
    connections_are(&pool, 1, 0).await;
    let status = pool.status().writer;
    assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
    let own = id(&mut writer).await.to_string();
    let of_writer =
        |client: &BTreeMap<String, String>| client["id"] == own && client["name"] == NAME;
    assert!(new.client_list().iter().any(of_writer));
    // Nothing is left at the others but looks at them, which end.
    for node in deployment.nodes() {
        if node.port() != new.port() && node.is_running() {
            eventually("the old connection is closed", FAILOVER_LIMIT, || async {
                let sets = |client: &BTreeMap<String, String>| {
                    client["name"] == NAME && client["cmd"].starts_with("set")
                };
                !node.client_list().iter().any(sets)
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_follow_a_planned_failover() {
    writers_follow(|deployment| {
        deployment.failover();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_go_on_when_a_killed_master_was_replaced() {
    writers_follow(|deployment| deployment.master().kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_that_wait_while_there_is_no_master_reach_the_next_one() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, patient).await;
    let mut writer = pool.writer();
    let () = writer.set("before", 1).await.unwrap();
    let old = deployment.master();
    old.kill();
    eventually(
        "the connection is known to be lost",
        FAILOVER_LIMIT,
        || async { pool.status().writer.connections == 0 },
    )
    .await;
    let mut callers = JoinSet::new();
    for n in 0..20 {
        let mut writer = writer.clone();
        callers.spawn(async move { writer.set::<_, _, ()>(format!("waited:{n}"), 1).await });
    }
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    for result in callers.join_all().await {
        assert_eq!(result, Ok(()));
    }
    exist(new, (0..20).map(|n| format!("waited:{n}")));
}

#[tokio::test]
async fn a_master_that_takes_no_writes_any_more_gets_no_more_over_that_connection() {
    let stage = Stage::own(Side::Write, |config| {
        config.failover_timeout = FAILOVER_LIMIT
    })
    .await;
    let mut writer = stage.pool.writer();
    let () = writer.set("k", 1).await.unwrap();
    let server = stage.server();
    let _ = server.cmd(&["REPLICAOF", "127.0.0.1", "1"]);
    let refused = server.command_stat("set");
    let set = |value| {
        let mut writer = writer.clone();
        tokio::spawn(async move { writer.set::<_, _, ()>("k", value).await })
    };
    let first = set(2);
    eventually("the connection is given up", FAILOVER_LIMIT, || async {
        stage.pool.status().writer.connections == 0
    })
    .await;
    let second = set(3);
    let _ = server.cmd(&["REPLICAOF", "NO", "ONE"]);
    for set in [first, second] {
        assert_eq!(set.await.unwrap(), Ok(()));
    }
    assert_eq!(
        server.command_stat("set"),
        refused + 2,
        "executed once each"
    );
    assert!([Ok(2), Ok(3)].contains(&writer.get::<_, i64>("k").await));
    assert_eq!(stage.pool.status().writer.created, 2);
}

/// How often each node has executed `EXISTS`, which nobody else sends.
fn shares(deployment: &Deployment) -> BTreeMap<u16, u64> {
    let nodes = deployment.nodes().iter().filter(|node| node.is_running());
    nodes
        .map(|node| (node.port(), node.command_stat("exists")))
        .collect()
}

/// What so many reads add to that, from 64 callers at once.
async fn reads(deployment: &Deployment, reader: &Multiplexed, count: usize) -> BTreeMap<u16, u64> {
    let before = shares(deployment);
    let mut callers = JoinSet::new();
    for _ in 0..64 {
        let mut reader = reader.clone();
        callers.spawn(async move {
            for _ in 0..count / 64 {
                let _: bool = reader.exists("k").await.unwrap();
            }
        });
    }
    callers.join_all().await;
    let mut after = shares(deployment);
    after
        .iter_mut()
        .for_each(|(port, share)| *share -= before[port]);
    assert_eq!(after.values().sum::<u64>(), count as u64);
    after
}

// In one test, since they all need two replicas that nobody disturbs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_where_they_may_and_each_node_has_its_share() {
    const COUNT: usize = 50 * 64;
    let deployment = Deployment::start();
    let master = deployment.master().port();
    for (read_from, on_master, nodes) in [
        (ReadFrom::Replica, false, 2),
        (ReadFrom::ReplicaPreferred, false, 2),
        (ReadFrom::Master, true, 1),
        (ReadFrom::Any, true, 3),
    ] {
        let pool = support::pool(&deployment, |config| config.read_from = read_from).await;
        readable_are(&pool, 2, FAILOVER_LIMIT).await;
        let mut reader = pool.reader();
        let _: bool = reader.exists("k").await.unwrap();
        connections_are(&pool, 0, nodes).await;
        let shares = reads(&deployment, &reader, COUNT).await;
        let used = shares.iter().filter(|(_, share)| **share > 0);
        assert_eq!(used.count(), nodes, "{read_from:?}: {shares:?}");
        assert_eq!(shares[&master] > 0, on_master, "{read_from:?}: {shares:?}");
        // Half of an equal share: they are as fast as this machine lets them be.
        let fair = |share: &u64| *share == 0 || *share >= (COUNT / nodes / 2) as u64;
        assert!(shares.values().all(fair), "{read_from:?}: {shares:?}");
        let () = pool.writer().set("written", 1).await.unwrap();
        connections_are(&pool, 1, nodes).await;
    }
    for replica in deployment.replicas() {
        let errors = replica.info("errorstats");
        assert!(!errors.contains_key("errorstat_READONLY"), "{errors:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_go_on_when_a_replica_dies_and_it_is_used_when_it_comes_back() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, patient).await;
    readable_are(&pool, 2, FAILOVER_LIMIT).await;
    let reader = pool.reader();
    let load = Load::start(&pool, &reader, false);
    load.goes_on().await;
    connections_are(&pool, 0, 2).await;
    let replica = deployment.replicas()[0];
    block_in_place(|| replica.kill());
    connections_are(&pool, 0, 1).await;
    load.goes_on().await;
    block_in_place(|| replica.restart());
    eventually("it is read from again", FAILOVER_LIMIT, || async {
        replica.command_stat("exists") > 50
    })
    .await;
    connections_are(&pool, 0, 2).await;
    let (_, failures) = load.finish().await;
    for text in &failures {
        assert!(text.contains("outcome is unknown"), "{text}");
    }
    let status = pool.status().reader;
    assert_eq!((status.in_flight, status.waiting), (0, 0), "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_fails_when_a_replica_leaves_and_one_that_joins_is_read_from() {
    let deployment = Deployment::start();
    let [first, second] = [deployment.replicas()[0], deployment.replicas()[1]];
    let master = deployment.master().port();
    let view = SentinelView::of_master(master).with_replica(first.port());
    let sentinel = fake::sentinel(view.clone());
    let mut config = watched_by(&sentinel);
    config.refresh_interval = Duration::from_millis(100);
    let pool = Pool::connect(config).await.unwrap();
    let load = Load::start(&pool, &pool.reader(), false);
    load.goes_on().await;
    assert_eq!(second.command_stat("exists"), 0);
    sentinel.set(view.clone().with_replica(second.port()));
    eventually("the second is read from", FAILOVER_LIMIT, || async {
        second.command_stat("exists") > 100
    })
    .await;
    let mut view = view.with_replica(second.port());
    view.replicas.remove(0);
    sentinel.set(view);
    let _ = first.cmd(&["REPLICAOF", "NO", "ONE"]);
    connections_are(&pool, 0, 1).await;
    load.goes_on().await;
    let before = first.command_stat("exists");
    load.goes_on().await;
    assert_eq!(first.command_stat("exists"), before);
    let (_, failures) = load.finish().await;
    assert_eq!(failures, Vec::<String>::new());
    assert_eq!(pool.status().reader.created, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_on_their_way_to_a_master_that_is_killed_are_answered_by_the_next_one() {
    const READS: usize = 20;
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        // Less than it takes to elect another master.
        config.command_timeout = Some(Duration::from_millis(1000));
    })
    .await;
    let mut writer = pool.writer();
    let _: bool = writer.exists("k").await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let () = conn.set("k", "v").await.unwrap();
    assert_eq!(ask::<i64>(&mut conn, "WAIT 2 20000").await, 2);
    // Frozen first, so that no read is answered before the end.
    let old = deployment.master();
    old.pause();
    let mut reads = JoinSet::new();
    for _ in 0..READS {
        let mut writer = writer.clone();
        reads.spawn(async move { writer.get::<_, String>("k").await });
    }
    reads.spawn(async move { conn.get("k").await });
    eventually("all are on their way", FAILOVER_LIMIT, || async {
        pool.status().writer.in_flight == READS
    })
    .await;
    block_in_place(|| old.kill());
    for read in reads.join_all().await {
        assert_eq!(read, Ok("v".to_owned()));
    }
    assert_ne!(pool.topology().master, Some(local(old.port())));
}
