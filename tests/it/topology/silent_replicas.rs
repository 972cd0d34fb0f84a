//! Replicas that take connections and commands and never answer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{
    Config, Pool, ReadFrom,
    redis::{AsyncCommands, RedisError, RedisResult},
};
use testkit::{
    Deployment,
    fake::{self, Action, FakeNode, FakeSentinel, NodeRole, SentinelView},
};
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, LONG, SECOND, eventually, local};

#[derive(Debug, Clone, Copy)]
enum By {
    Exclusive,
    Shared,
}

impl By {
    const BOTH: [Self; 2] = [Self::Exclusive, Self::Shared];

    async fn read(self, pool: &Pool) -> RedisResult<Option<String>> {
        match self {
            Self::Exclusive => pool.read().await?.get("k").await,
            Self::Shared => pool.reader().get("k").await,
        }
    }
}

fn is_readable(pool: &Pool, port: u16) -> bool {
    pool.topology().readable().any(|node| *node == local(port))
}

async fn readable(pool: &Pool, port: u16) {
    let is = || async { is_readable(pool, port) };
    eventually("the replica is readable", LONG, is).await;
}

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

#[derive(Debug, Default)]
struct Reader {
    reads: AtomicUsize,
    errors: Mutex<Vec<RedisError>>,
}

/// Callers that read one thing after the other.
struct Readers {
    stop: Arc<AtomicBool>,
    each: Vec<Arc<Reader>>,
    tasks: JoinSet<()>,
}

impl Readers {
    fn start(pool: &Pool) -> Self {
        let mut readers = Self {
            stop: Arc::default(),
            each: Vec::new(),
            tasks: JoinSet::new(),
        };
        for by in By::BOTH.into_iter().cycle().take(8) {
            let (pool, stop) = (pool.clone(), Arc::clone(&readers.stop));
            let reader = Arc::<Reader>::default();
            readers.each.push(Arc::clone(&reader));
            readers.tasks.spawn(async move {
                while !stop.load(SeqCst) {
                    if let Err(error) = by.read(&pool).await {
                        reader.errors.lock().push(error);
                    }
                    reader.reads.fetch_add(1, SeqCst);
                    tokio::task::yield_now().await;
                }
            });
        }
        readers
    }

    /// Each has read so many times more.
    async fn go_on(&self, count: usize) {
        let reads = || self.each.iter().map(|reader| reader.reads.load(SeqCst));
        let wanted: Vec<_> = reads().map(|reads| reads + count).collect();
        eventually("every reader goes on", LONG, || async {
            reads().zip(&wanted).all(|(reads, wanted)| reads >= *wanted)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_replica_costs_each_reader_one_deadline_at_most_and_is_used_again_when_it_thaws() {
    let deployment = block_in_place(|| {
        Deployment::builder()
            .replicas(2)
            .sentinels(1)
            // It is the pool that has to find out.
            .down_after(Duration::from_secs(600))
            .start()
    });
    let pool = support::pool(&deployment, |config| {
        config.command_timeout = Some(SECOND);
        // The look at it must not be over before.
        config.connect_timeout = LONG;
        // Many more connections than readers, so that each could meet one after the other.
        config.read.max_active = 40;
        config.read.min_idle = 40;
    })
    .await;
    let frozen = deployment.replicas()[0];
    for replica in deployment.replicas() {
        readable(&pool, replica.port()).await;
    }
    let filled = || async { pool.status().read.idle == 40 };
    eventually("the pool is full", LONG, filled).await;
    let mut readers = Readers::start(&pool);
    readers.go_on(50).await;
    frozen.pause();
    eventually("it is left out", LONG, || async {
        !is_readable(&pool, frozen.port())
    })
    .await;
    readers.go_on(500).await;
    frozen.resume();
    readable(&pool, frozen.port()).await;
    eventually("it is read from again", LONG, || async {
        pool.read().await.expect("all is well").node().port() == frozen.port()
    })
    .await;
    readers.go_on(50).await;
    readers.stop.store(true, SeqCst);
    while let Some(result) = readers.tasks.join_next().await {
        result.expect("no reader panics");
    }
    for reader in &readers.each {
        let errors = reader.errors.lock();
        assert!(errors.len() <= 1, "{errors:?}");
        assert!(errors.iter().all(RedisError::is_timeout), "{errors:?}");
    }
}
