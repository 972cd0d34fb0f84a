//! Masters that are replaced, under load.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{
    Config, Discard, Node, Pool, Role, Topology,
    redis::{AsyncCommands, RedisResult},
};
use testkit::{Deployment, Server};
use tokio::{
    task::{JoinSet, block_in_place},
    time::Instant,
};

use crate::support::{self, FAILOVER_LIMIT, PROBE, eventually, local};

fn patient(config: &mut Config) {
    config.failover_timeout = FAILOVER_LIMIT;
    config.command_timeout = Some(Duration::from_secs(1));
}

async fn set(pool: &Pool, key: &str) -> RedisResult<Node> {
    let mut conn = pool.write().await?;
    assert_eq!(conn.role(), Role::Master);
    let () = conn.set(key, "v").await?;
    Ok(conn.node())
}

async fn follows(pool: &Pool, master: &Node) {
    eventually(
        &format!("the pool knows {master}"),
        FAILOVER_LIMIT,
        || async { pool.topology().master.as_ref() == Some(master) },
    )
    .await;
}

/// A write that was acknowledged.
#[derive(Debug, Clone)]
struct Ack {
    key: String,
    node: Node,
    begun: Instant,
}

/// Writers and readers at load, and what became of their calls.
struct Load {
    stop: Arc<AtomicBool>,
    acks: Arc<Mutex<Vec<Ack>>>,
    write_failures: Arc<Mutex<Vec<String>>>,
    reads: Arc<AtomicU64>,
    read_failures: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Load {
    fn start(pool: &Pool, writers: usize, readers: usize) -> Self {
        let mut load = Self {
            stop: Arc::default(),
            acks: Arc::default(),
            write_failures: Arc::default(),
            reads: Arc::default(),
            read_failures: Arc::default(),
            tasks: JoinSet::new(),
        };
        for writer in 0..writers {
            let (pool, stop) = (pool.clone(), Arc::clone(&load.stop));
            let (acks, failures) = (Arc::clone(&load.acks), Arc::clone(&load.write_failures));
            load.tasks.spawn(async move {
                for i in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let (key, begun) = (format!("key:{writer}:{i}"), Instant::now());
                    match set(&pool, &key).await {
                        Ok(node) => acks.lock().push(Ack { key, node, begun }),
                        Err(error) => failures.lock().push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        for _ in 0..readers {
            let (pool, stop) = (pool.clone(), Arc::clone(&load.stop));
            let (reads, failures) = (Arc::clone(&load.reads), Arc::clone(&load.read_failures));
            load.tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    let result: RedisResult<Option<String>> =
                        async { pool.read().await?.get("key:0:0").await }.await;
                    match result {
                        Ok(_) => drop(reads.fetch_add(1, SeqCst)),
                        Err(error) => failures.lock().push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        load
    }

    /// Waits until another `count` writes and reads have succeeded.
    async fn goes_on(&self, count: u64) {
        let writes = self.acks.lock().len() as u64 + count;
        let reads = self.reads.load(SeqCst) + count;
        eventually("writes and reads succeed", FAILOVER_LIMIT, || async {
            self.acks.lock().len() as u64 >= writes && self.reads.load(SeqCst) >= reads
        })
        .await;
    }

    /// Waits until `count` writes have succeeded on this node.
    async fn reaches(&self, node: &Node, count: usize) {
        eventually(&format!("writes reach {node}"), FAILOVER_LIMIT, || async {
            let acks = self.acks.lock();
            acks.iter().filter(|ack| ack.node == *node).count() >= count
        })
        .await;
    }

    async fn finish(mut self) -> Vec<Ack> {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("no caller panics");
        }
        std::mem::take(&mut *self.acks.lock())
    }
}

type Seen = Vec<(Instant, Arc<Topology>)>;

/// Every snapshot that was published, and when it was seen.
#[derive(Clone)]
struct Chronicle(Arc<Mutex<Seen>>);

impl Chronicle {
    fn of(pool: &Pool) -> Self {
        let seen = Self(Arc::default());
        let mut topologies = pool.watch();
        let chronicle = seen.clone();
        tokio::spawn(async move {
            loop {
                let snapshot = Arc::clone(&topologies.borrow_and_update());
                chronicle.0.lock().push((Instant::now(), snapshot));
                if topologies.changed().await.is_err() {
                    return;
                }
            }
        });
        seen
    }

    /// When this node was first seen as the master.
    fn since(&self, master: &Node) -> Instant {
        let seen = self.0.lock();
        let mut of = seen
            .iter()
            .filter(|(_, t)| t.master.as_ref() == Some(master));
        of.next().expect("it was the master").0
    }

    fn check(&self) {
        let seen = self.0.lock();
        for pair in seen.windows(2) {
            let (before, after) = (&pair[0].1, &pair[1].1);
            assert!(before.version < after.version, "{before:?} {after:?}");
            assert!(before.epoch <= after.epoch, "{before:?} {after:?}");
            assert!(after.master.is_some(), "{after:?}");
        }
    }
}

/// Sentinel closes the clients of the replicas that it leads to the new master; a read that was
/// under way may fail by that, and none for any other reason.
fn check_reads(failures: &[String]) {
    for text in failures {
        let known = text.contains("outcome is unknown") || text.contains("LOADING");
        assert!(known, "{text}");
    }
}

fn missing(acks: &[Ack], master: &Server) -> Vec<String> {
    let mut client = master.connect().expect("it runs");
    let mut is_there = |key: &str| client.call(&["EXISTS", key]).expect("it answers").as_int() == 1;
    let gone = acks.iter().filter(|ack| !is_there(&ack.key));
    gone.map(|ack| ack.key.clone()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_planned_failover_is_followed_under_load() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, patient).await;
    let chronicle = Chronicle::of(&pool);
    let old = deployment.master().port();
    let load = Load::start(&pool, 4, 4);
    load.goes_on(50).await;
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| {
        deployment
            .wait_for_master_other_than(old, FAILOVER_LIMIT)
            .port()
    });
    load.reaches(&local(new), 50).await;
    load.goes_on(50).await;
    let (write_failures, read_failures) = (
        Arc::clone(&load.write_failures),
        Arc::clone(&load.read_failures),
    );
    let acks = load.finish().await;

    chronicle.check();
    let switch = chronicle.since(&local(new));
    let late = |ack: &&Ack| ack.begun > switch && ack.node != local(new);
    assert_eq!(
        acks.iter().filter(late).count(),
        0,
        "written to the old one"
    );
    let after: Vec<_> = acks
        .iter()
        .filter(|ack| ack.node == local(new))
        .cloned()
        .collect();
    assert_eq!(missing(&after, deployment.master()), Vec::<String>::new());
    let status = pool.status();
    assert!(
        status.write.discards.get(Discard::RoleChanged) >= 1,
        "{status:?}"
    );
    // A write that met the switch failed, and said what became of it.
    for text in write_failures.lock().iter() {
        let known = [
            "not executed",
            "READONLY",
            "outcome is unknown",
            "UNBLOCKED",
        ];
        assert!(known.iter().any(|word| text.contains(word)), "{text}");
    }
    check_reads(&read_failures.lock());
    eventually("the old master is read from", FAILOVER_LIMIT, || async {
        pool.topology().readable().any(|node| *node == local(old))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_master_is_replaced_and_comes_back_as_a_replica() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, patient).await;
    let chronicle = Chronicle::of(&pool);
    let old = deployment.master();
    let load = Load::start(&pool, 4, 4);
    load.goes_on(50).await;
    block_in_place(|| old.kill());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    load.reaches(&local(new.port()), 50).await;
    block_in_place(|| old.restart());
    eventually("the old master is read from", FAILOVER_LIMIT, || async {
        pool.topology()
            .readable()
            .any(|node| *node == local(old.port()))
    })
    .await;
    load.goes_on(50).await;
    let read_failures = Arc::clone(&load.read_failures);
    let acks = load.finish().await;
    check_reads(&read_failures.lock());
    chronicle.check();
    let switch = chronicle.since(&local(new.port()));
    let late = |ack: &&Ack| ack.begun > switch && ack.node != local(new.port());
    assert_eq!(
        acks.iter().filter(late).count(),
        0,
        "written to the old one"
    );
    let after: Vec<_> = acks
        .iter()
        .filter(|ack| ack.node == local(new.port()))
        .cloned()
        .collect();
    assert_eq!(missing(&after, new), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_who_wait_while_there_is_no_master_are_served_by_the_next_one() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        config.write.max_active = 4;
        config.write.wait_timeout = None;
    })
    .await;
    let old = deployment.master();
    // Not over a pooled connection: one that ends at this moment may be lent once more, and the write over it fails.
    let () = pool
        .writer()
        .set("before", "v")
        .await
        .expect("there is one");
    old.kill();
    let mut waiters = JoinSet::new();
    for i in 0..12 {
        let pool = pool.clone();
        waiters.spawn(async move { set(&pool, &format!("waited:{i}")).await });
    }
    eventually(
        "eight wait behind four who dial",
        FAILOVER_LIMIT,
        || async { pool.status().write.waiting == 8 },
    )
    .await;
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    while let Some(result) = waiters.join_next().await {
        let node = result.expect("it does not panic");
        assert_eq!(node, Ok(local(new.port())));
    }
    for i in 0..12 {
        assert_eq!(new.cmd(&["EXISTS", &format!("waited:{i}")]).as_int(), 1);
    }
    let status = pool.status().write;
    assert_eq!(status.waiting, 0);
    assert!(status.active <= 4, "{status:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guard_to_the_previous_master_writes_to_the_new_one_over_another_connection() {
    // Periods as in production: the old master takes writes for ten seconds more.
    let deployment = Deployment::builder().fast(false).start();
    let pool = support::pool(&deployment, patient).await;
    let old = deployment.master();
    let mut held = pool.write().await.expect("there is a master");
    let unused = pool.write().await.expect("there is a master");
    // One idle, to be found at checkout or by the sweep.
    drop(pool.write().await.expect("there is a master"));
    let () = held.set("before", "v").await.expect("it takes writes");
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    follows(&pool, &local(new.port())).await;
    let role = old.cmd(&["ROLE"]);
    assert_eq!(
        role.array()[0].as_str(),
        "master",
        "it would take the write"
    );

    let () = held.set("after", "v").await.expect("it takes the place");
    assert_eq!(held.node(), local(new.port()));
    let mut pipeline = redis::pipe();
    pipeline.set("later", "v");
    let () = pipeline.query_async(&mut held).await.expect("it is there");
    for key in ["after", "later"] {
        assert_eq!(old.cmd(&["EXISTS", key]).as_int(), 0);
        assert_eq!(new.cmd(&["EXISTS", key]).as_int(), 1);
    }

    let discarded = || pool.status().write.discards.get(Discard::RoleChanged);
    eventually(
        "the idle one and that of the guard are gone",
        FAILOVER_LIMIT,
        || async { discarded() == 2 },
    )
    .await;
    drop(held);
    assert_eq!(discarded(), 2);
    drop(unused);
    assert_eq!(discarded(), 3);
    assert_eq!(set(&pool, "again").await, Ok(local(new.port())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_written_to_an_old_master_that_would_take_it() {
    let deployment = Deployment::builder().fast(false).start();
    let pool = support::pool(&deployment, patient).await;
    let chronicle = Chronicle::of(&pool);
    let old = deployment.master();
    let load = Load::start(&pool, 8, 2);
    load.goes_on(50).await;
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old.port(), FAILOVER_LIMIT));
    load.reaches(&local(new.port()), 400).await;
    let raw: BTreeSet<String> = old
        .cmd(&["KEYS", "key:*"])
        .array()
        .iter()
        .map(|key| key.as_str().to_owned())
        .collect();
    let role = old.cmd(&["ROLE"]);
    assert_eq!(
        role.array()[0].as_str(),
        "master",
        "or the test shows nothing"
    );
    let acks = load.finish().await;
    chronicle.check();
    let switch = chronicle.since(&local(new.port()));
    let after: Vec<_> = acks.iter().filter(|ack| ack.begun > switch).collect();
    assert!(after.len() >= 350, "{}", after.len());
    for ack in after {
        assert!(!raw.contains(&ack.key), "{ack:?} reached the old master");
        assert_eq!(ack.node, local(new.port()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_master_is_warm_before_anybody_asks_for_it() {
    // Periods as in production: the old master closes nothing by itself for ten seconds.
    let deployment = Deployment::builder().fast(false).start();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        config.write.max_idle = Some(5);
    })
    .await;
    let mut lent = Vec::new();
    for _ in 0..6 {
        lent.push(pool.write().await.expect("there is a master"));
    }
    drop(lent);
    let old = deployment.master().port();
    block_in_place(|| deployment.failover());
    let new = block_in_place(|| deployment.wait_for_master_other_than(old, FAILOVER_LIMIT));
    follows(&pool, &local(new.port())).await;
    eventually("as many are idle as before", FAILOVER_LIMIT, || async {
        let status = pool.status().write;
        (status.idle, status.active) == (5, 5) && status.discards.get(Discard::RoleChanged) == 5
    })
    .await;
    let created = pool.status().write.created;
    assert_eq!(set(&pool, "k").await, Ok(local(new.port())));
    assert_eq!(pool.status().write.created, created);
}

/// Sockets of this process that lead to one of these ports.
fn sockets_to(ports: &[u16]) -> usize {
    let table = fs::read_to_string("/proc/self/net/tcp").expect("this is Linux");
    let mut inodes = BTreeMap::new();
    for line in table.lines().skip(1) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let port = fields[2].rsplit(':').next().expect("an address");
        let port = u16::from_str_radix(port, 16).expect("a port");
        inodes.insert(fields[9].to_owned(), port);
    }
    let open = fs::read_dir("/proc/self/fd").expect("this is Linux");
    open.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|target| {
            let target = target.to_str()?.to_owned();
            let inode = target.strip_prefix("socket:[")?.strip_suffix(']')?;
            inodes.get(inode).copied()
        })
        .filter(|port| ports.contains(port))
        .count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_failovers_in_a_row_are_followed_and_leave_nothing_behind() {
    let deployment = Deployment::start();
    let pool = support::pool(&deployment, |config| {
        patient(config);
        for limits in [&mut config.read, &mut config.write] {
            limits.max_active = 8;
            limits.idle_timeout = Some(Duration::from_millis(500));
        }
    })
    .await;
    let servers = deployment.nodes().iter().chain(deployment.sentinels());
    let ports: Vec<u16> = servers.map(Server::port).collect();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let chronicle = Chronicle::of(&pool);
    // Two sockets to each Sentinel, and one to each node, are open when nobody calls.
    let open = 2 * 3 + 3 * PROBE;
    let quiet = || {
        let status = pool.status();
        let sentinel = status.sentinel.reachable == 3;
        status.read.active + status.write.active == 0 && sentinel
    };
    eventually("all Sentinels are heard", FAILOVER_LIMIT, || async {
        quiet() && sockets_to(&ports) == open
    })
    .await;
    let base = tasks();

    let load = Load::start(&pool, 4, 4);
    let mut masters = vec![deployment.master().port()];
    for round in 0..5 {
        load.goes_on(20).await;
        let old = *masters.last().expect("there is one");
        block_in_place(|| match round {
            // Each second one is a murder.
            1 | 3 => deployment.node(old).kill(),
            _ => drop(deployment.failover()),
        });
        let new = block_in_place(|| {
            deployment
                .wait_for_master_other_than(old, FAILOVER_LIMIT)
                .port()
        });
        load.reaches(&local(new), 20).await;
        follows(&pool, &local(new)).await;
        block_in_place(|| {
            if !deployment.node(old).is_running() {
                deployment.node(old).restart();
            }
            deployment.wait_healthy(FAILOVER_LIMIT);
        });
        masters.push(new);
    }
    load.goes_on(20).await;
    load.finish().await;
    chronicle.check();
    eventually("all replicas are readable", FAILOVER_LIMIT, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    eventually("idle connections are closed", FAILOVER_LIMIT, || async {
        quiet()
    })
    .await;
    eventually(
        "tasks and sockets are as before",
        FAILOVER_LIMIT,
        || async { tasks() <= base && sockets_to(&ports) <= open },
    )
    .await;
}
