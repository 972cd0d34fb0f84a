//! Reads that hardly notice what becomes of the node they were sent to.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis::{RedisResult, aio::ConnectionLike, pipe};
use redis_rw_pool::Pool;
use testkit::{Deployment, fake::Action};
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, chain, eventually, local, patient};

const LIMIT: Duration = Duration::from_secs(60);

pub(super) async fn read(conn: &mut impl ConnectionLike) -> RedisResult<()> {
    let value: String = redis::cmd("GET").arg("k").query_async(conn).await?;
    assert_eq!(value, "value");
    let mut pipeline = pipe();
    pipeline.atomic().get("k").strlen("k");
    let both: (String, usize) = pipeline.query_async(conn).await?;
    assert_eq!(both, ("value".to_owned(), 5));
    Ok(())
}

/// Callers that read one after the other: with a guard they keep, with a checkout each time, and over
/// the shared connections.
struct Readers {
    stop: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Readers {
    async fn start(pool: &Pool) -> Self {
        let mut readers = Self {
            stop: Arc::default(),
            reads: Arc::default(),
            failed: Arc::default(),
            tasks: JoinSet::new(),
        };
        for _ in 0..2 {
            let (stop, reads) = (Arc::clone(&readers.stop), Arc::clone(&readers.reads));
            let failed = Arc::clone(&readers.failed);
            let mut held = pool.read().await.unwrap();
            let (mut shared, pool) = (pool.reader(), pool.clone());
            readers.tasks.spawn(async move {
                for round in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let result = match round % 3 {
                        0 => read(&mut held).await,
                        1 => read(&mut shared).await,
                        _ => async { read(&mut pool.read().await?).await }.await,
                    };
                    match result {
                        Ok(()) => drop(reads.fetch_add(1, SeqCst)),
                        Err(error) => failed.lock().push(format!("{round}: {}", chain(&error))),
                    }
                }
            });
        }
        readers
    }

    async fn go_on(&self, count: usize) {
        let wanted = self.reads.load(SeqCst) + count;
        eventually("reads succeed", LIMIT, || async {
            self.reads.load(SeqCst) >= wanted
        })
        .await;
    }

    async fn finish(mut self) -> Vec<String> {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("no caller panics");
        }
        std::mem::take(&mut *self.failed.lock())
    }
}

async fn deployment_and_pool() -> (Deployment, Pool) {
    let deployment = block_in_place(|| {
        let deployment = Deployment::builder()
            .replicas(2)
            .sentinels(1)
            .down_after(Duration::from_secs(60))
            .start();
        let mut master = deployment.master().connect().unwrap();
        master.call(&["SET", "k", "value"]).unwrap();
        assert_eq!(master.call(&["WAIT", "2", "30000"]).unwrap().as_int(), 2);
        deployment
    });
    let pool = support::pool(&deployment, patient).await;
    (deployment, pool)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_that_all_connections_to_all_replicas_are_killed_again_and_again() {
    let (deployment, pool) = deployment_and_pool().await;
    let readers = Readers::start(&pool).await;
    readers.go_on(50).await;
    let mut killed = 0;
    for _ in 0..40 {
        for replica in deployment.replicas() {
            let count = block_in_place(|| replica.cmd(&["CLIENT", "KILL", "TYPE", "normal"]));
            killed += count.as_int();
        }
        readers.go_on(5).await;
    }
    readers.go_on(50).await;
    assert_eq!(readers.finish().await, Vec::<String>::new());
    assert!(killed >= 160, "{killed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_reader_sees_that_one_of_two_replicas_is_killed() {
    let (deployment, pool) = deployment_and_pool().await;
    let readers = Readers::start(&pool).await;
    for replica in deployment.replicas() {
        let node = local(replica.port());
        eventually("both are readable", LIMIT, || async {
            pool.topology().readable().count() == 2
        })
        .await;
        readers.go_on(100).await;
        block_in_place(|| replica.kill());
        readers.go_on(100).await;
        eventually("it is left out", LIMIT, || async {
            pool.topology().readable().all(|readable| *readable != node)
        })
        .await;
        readers.go_on(100).await;
        block_in_place(|| replica.restart());
    }
    assert_eq!(readers.finish().await, Vec::<String>::new());
}

pub(super) fn value() -> Action {
    Action::reply("$5\r\nvalue\r\n")
}
