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
    Pool,
    redis::{AsyncCommands, RedisError, RedisResult},
};
use testkit::Deployment;
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, LONG, SECOND, eventually, local};

#[derive(Debug, Clone, Copy)]
pub(super) enum By {
    Exclusive,
    Shared,
}

impl By {
    pub(super) const BOTH: [Self; 2] = [Self::Exclusive, Self::Shared];

    pub(super) async fn read(self, pool: &Pool) -> RedisResult<Option<String>> {
        match self {
            Self::Exclusive => pool.read().await?.get("k").await,
            Self::Shared => pool.reader().get("k").await,
        }
    }
}

pub(super) fn is_readable(pool: &Pool, port: u16) -> bool {
    pool.topology().readable().any(|node| *node == local(port))
}

pub(super) async fn readable(pool: &Pool, port: u16) {
    let is = || async { is_readable(pool, port) };
    eventually("the replica is readable", LONG, is).await;
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
