//! Planned failovers under load: no write goes to a master that is being replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use parking_lot::Mutex;
use redis_rw_pool::{
    Connection, Node, Pool,
    redis::{self, AsyncCommands, RedisResult},
};
use testkit::Deployment;
use tokio::task::{JoinSet, block_in_place};

use crate::{
    shared::id,
    support::{self, eventually},
};

/// A vote that is split costs the Sentinels some twenty seconds, and may be split again.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Debug, Clone, Copy)]
enum By {
    Exclusive,
    Shared,
    /// Pipelines so long that they travel in several portions.
    Pipeline,
}

/// Writes under this key, and returns what is there then.
async fn write(pool: &Pool, by: By, key: String) -> RedisResult<Vec<String>> {
    match by {
        By::Exclusive => pool.write().await?.set(&key, "v").await?,
        By::Shared => pool.writer().set(&key, "v").await?,
        By::Pipeline => {
            let keys: Vec<_> = (0..5).map(|place| format!("{key}:{place}")).collect();
            let mut pipeline = redis::pipe();
            for place in 0..200 {
                pipeline.set(&keys[place / 40], "v").ignore();
            }
            let () = pipeline.query_async(&mut pool.writer()).await?;
            return Ok(keys);
        }
    }
    Ok(vec![key])
}

/// Callers that write unique keys, one after the other each.
struct Writers {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
    failed: Arc<Mutex<Vec<String>>>,
    tasks: JoinSet<()>,
}

impl Writers {
    fn start(pool: &Pool, by: By) -> Self {
        let mut writers = Self {
            stop: Arc::default(),
            acknowledged: Arc::default(),
            failed: Arc::default(),
            tasks: JoinSet::new(),
        };
        for writer in 0..8 {
            let (pool, stop) = (pool.clone(), Arc::clone(&writers.stop));
            let acknowledged = Arc::clone(&writers.acknowledged);
            let failed = Arc::clone(&writers.failed);
            writers.tasks.spawn(async move {
                for i in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let key = format!("{writer}:{i}");
                    match write(&pool, by, key).await {
                        Ok(keys) => acknowledged.lock().extend(keys),
                        Err(error) => failed.lock().push(error.to_string()),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        writers
    }

    async fn go_on(&self, count: usize) {
        let wanted = self.acknowledged.lock().len() + count;
        eventually("writes succeed", LIMIT, || async {
            self.acknowledged.lock().len() >= wanted
        })
        .await;
    }

    async fn finish(mut self) -> (Vec<String>, Vec<String>) {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("no caller panics");
        }
        let acknowledged = std::mem::take(&mut *self.acknowledged.lock());
        let failed = std::mem::take(&mut *self.failed.lock());
        (acknowledged, failed)
    }
}

async fn deployment_and_pool(max_active: usize) -> (Deployment, Pool) {
    let deployment = block_in_place(|| Deployment::builder().replicas(2).sentinels(3).start());
    let pool = support::pool(&deployment, |config| {
        config.write.max_active = max_active;
        config.failover_timeout = LIMIT;
    })
    .await;
    (deployment, pool)
}

fn master(pool: &Pool) -> Node {
    pool.topology().master.clone().expect("there is one")
}

/// Hands over to a replica, and waits until the pool follows.
async fn hand_over(deployment: &Deployment, pool: &Pool) -> Node {
    let old = master(pool);
    block_in_place(|| {
        deployment.failover();
    });
    eventually("the pool follows", LIMIT, || async { master(pool) != old }).await;
    master(pool)
}

async fn nothing_is_lost(by: By) {
    let (deployment, pool) = deployment_and_pool(16).await;
    let writers = Writers::start(&pool, by);
    writers.go_on(200).await;
    // A replica that has just copied everything gets no more before its first report, up to a second
    // later; a failover at that moment loses what no client could save.
    let mut conn = pool.write().await.unwrap();
    let wait = redis::cmd("WAIT").arg(2).arg(30_000).take();
    let in_step: usize = wait.query_async(&mut conn).await.unwrap();
    assert_eq!(in_step, 2);
    drop(conn);
    let new = hand_over(&deployment, &pool).await;
    writers.go_on(200).await;
    // What the old master alone had acknowledged is gone once it follows the new one.
    block_in_place(|| deployment.wait_healthy(LIMIT));
    writers.go_on(50).await;
    let (acknowledged, failed) = writers.finish().await;

    assert_eq!(failed, Vec::<String>::new());
    let mut client = deployment.node(new.port()).connect().unwrap();
    let mut is_there = |key: &String| client.call(&["EXISTS", key]).unwrap().as_int() == 1;
    let lost: Vec<_> = acknowledged.iter().filter(|key| !is_there(key)).collect();
    assert!(
        lost.is_empty(),
        "{} of {} acknowledged writes are gone: {lost:?}",
        lost.len(),
        acknowledged.len(),
    );
    assert_eq!(pool.topology().fence, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_no_acknowledged_write() {
    nothing_is_lost(By::Exclusive).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_no_acknowledged_write_over_shared_connections() {
    nothing_is_lost(By::Shared).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_fails_no_long_pipeline() {
    nothing_is_lost(By::Pipeline).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_goes_on_on_the_new_master() {
    let (deployment, pool) = deployment_and_pool(1).await;
    let mut conn: Connection = pool.write().await.unwrap();
    let (before, socket) = (conn.node(), id(&mut conn).await);
    let new = hand_over(&deployment, &pool).await;
    // The pool has one place, which this guard holds.
    let () = conn.set("k", "v").await.unwrap();
    assert_eq!(conn.node(), new);
    assert_ne!(conn.node(), before);
    assert_ne!(id(&mut conn).await, socket);
    assert_eq!(pool.status().write.active, 1);
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    assert_eq!(conn.get::<_, String>("k").await.unwrap(), "v");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_in_a_transaction_does_not_change_its_socket() {
    let (deployment, pool) = deployment_and_pool(4).await;
    let mut conn = pool.write().await.unwrap();
    let () = redis::cmd("WATCH")
        .arg("k")
        .query_async(&mut conn)
        .await
        .unwrap();
    hand_over(&deployment, &pool).await;
    let error = conn.set::<_, _, ()>("k", "v").await.unwrap_err();
    assert!(error.to_string().contains("was not executed"), "{error}");
    let exists: bool = pool.write().await.unwrap().exists("k").await.unwrap();
    assert!(!exists);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_command_that_waits_for_the_fence_leaks_nothing() {
    let (deployment, pool) = deployment_and_pool(4).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for by in [By::Exclusive, By::Shared] {
        for caller in 0..8 {
            let (pool, dropped) = (pool.clone(), Arc::clone(&dropped));
            tasks.spawn(async move {
                for i in 0..400 {
                    let key = format!("{by:?}:{caller}:{i}");
                    let patience = Duration::from_millis(5);
                    let write = write(&pool, by, key);
                    if tokio::time::timeout(patience, write).await.is_err() {
                        dropped.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    }
    hand_over(&deployment, &pool).await;
    while let Some(result) = tasks.join_next().await {
        result.expect("no caller panics");
    }
    assert!(dropped.load(SeqCst) > 0, "the fence was up for a while");
    eventually("all is quiet", LIMIT, || async {
        let status = pool.status();
        let write = &status.write;
        (write.waiting, write.active - write.idle) == (0, 0)
            && (status.writer.in_flight, status.writer.waiting) == (0, 0)
    })
    .await;
    for by in [By::Exclusive, By::Shared] {
        write(&pool, by, "after".to_owned()).await.unwrap();
    }
}
