//! Planned failovers under load: no write goes to a master that is being replaced.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{
    Adopt, Config, Connection, Node, Pool,
    redis::{self, AsyncCommands, RedisResult},
};
use testkit::{
    Deployment, Observer, Server,
    history::{Action, Call, Event, History, Outcome, Rules, State, verdict},
};
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, FAILOVER_LIMIT, eventually, id};

#[derive(Debug, Clone, Copy)]
pub(crate) enum By {
    Exclusive,
    Shared,
    /// Pipelines so long that they travel in several portions.
    Pipeline,
}

impl By {
    /// The keys that one write under this one sets.
    fn keys(self, key: String) -> Vec<String> {
        match self {
            Self::Exclusive | Self::Shared => vec![key],
            Self::Pipeline => (0..5).map(|place| format!("{key}:{place}")).collect(),
        }
    }
}

/// Sets these keys, and returns who did it where that is known.
async fn write(pool: &Pool, by: By, keys: &[String]) -> RedisResult<Option<u16>> {
    match by {
        By::Exclusive => {
            let mut conn = pool.write().await?;
            let () = conn.set(&keys[0], "v").await?;
            return Ok(Some(conn.node().port()));
        }
        By::Shared => pool.writer().set(&keys[0], "v").await?,
        By::Pipeline => {
            let mut pipeline = redis::pipe();
            for place in 0..200 {
                pipeline.set(&keys[place / 40], "v").ignore();
            }
            let () = pipeline.query_async(&mut pool.writer()).await?;
        }
    }
    Ok(None)
}

/// Callers that write unique keys, one after the other each.
pub(crate) struct Writers {
    stop: Arc<AtomicBool>,
    pub(crate) history: History,
    tasks: JoinSet<()>,
}

impl Writers {
    pub(crate) fn start(pool: &Pool, by: By) -> Self {
        let mut writers = Self {
            stop: Arc::default(),
            history: History::default(),
            tasks: JoinSet::new(),
        };
        for writer in 0..8 {
            let (pool, stop) = (pool.clone(), Arc::clone(&writers.stop));
            let history = writers.history.clone();
            writers.tasks.spawn(async move {
                for i in 0.. {
                    if stop.load(SeqCst) {
                        return;
                    }
                    let keys = by.keys(format!("{writer}:{i}"));
                    let begin = |key| history.begin(writer.to_string(), Action::set(key, "v"));
                    let calls: Vec<_> = keys.iter().map(begin).collect();
                    let result = write(&pool, by, &keys).await;
                    for call in calls {
                        match &result {
                            Ok(node) => call.end(Outcome::Ok, *node, None),
                            Err(error) => call.fail(Outcome::Unknown, error),
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            });
        }
        writers
    }

    pub(crate) async fn go_on(&self, count: usize) {
        let acknowledged = || self.history.count(|call| call.outcome == Outcome::Ok);
        let wanted = acknowledged() + count;
        eventually("writes succeed", FAILOVER_LIMIT, || async {
            acknowledged() >= wanted
        })
        .await;
    }

    pub(crate) async fn finish(mut self) -> Vec<Call> {
        self.stop.store(true, SeqCst);
        while let Some(result) = self.tasks.join_next().await {
            result.expect("no caller panics");
        }
        self.history.calls()
    }
}

async fn deployment_and_pool(max_active: usize, adopt: Adopt) -> (Deployment, Pool) {
    let deployment = block_in_place(|| Deployment::builder().replicas(2).sentinels(3).start());
    let pool = support::pool(&deployment, |config| {
        config.write.max_active = max_active;
        config.failover_timeout = FAILOVER_LIMIT;
        config.adopt = adopt;
    })
    .await;
    (deployment, pool)
}

pub(crate) fn master(pool: &Pool) -> Node {
    pool.topology().master.clone().expect("there is one")
}

/// Hands over to a replica, and waits until the pool follows.
pub(crate) async fn hand_over(deployment: &Deployment, pool: &Pool) -> Node {
    hand_over_by(pool, FAILOVER_LIMIT, async || {
        block_in_place(|| {
            deployment.failover();
        });
    })
    .await
}

/// As [`hand_over`], in the way that `lead` does it.
pub(crate) async fn hand_over_by(pool: &Pool, limit: Duration, lead: impl AsyncFnOnce()) -> Node {
    let old = master(pool);
    lead().await;
    eventually("the pool follows", limit, || async { master(pool) != old }).await;
    master(pool)
}

async fn nothing_is_lost(by: By, adopt: Adopt) {
    let deployment = block_in_place(Deployment::start);
    let failed =
        nothing_is_lost_when(&deployment, by, |config| config.adopt = adopt, hand_over).await;
    assert_eq!(failed, []);
}

/// `lead` hands over to a replica, and returns it when the pool has followed. Returns the calls that
/// failed.
pub(crate) async fn nothing_is_lost_when(
    deployment: &Deployment,
    by: By,
    change: impl FnOnce(&mut Config),
    lead: impl AsyncFnOnce(&Deployment, &Pool) -> Node,
) -> Vec<Call> {
    let pool = support::pool(deployment, |config| {
        config.failover_timeout = FAILOVER_LIMIT;
        change(config);
    })
    .await;
    let writers = Writers::start(&pool, by);
    let history = writers.history.clone();
    let seen = history.clone();
    let sentinels = deployment.sentinels().iter().map(Server::plain_port);
    let _observer = Observer::start(sentinels, deployment.master_name(), move || seen.clone());
    writers.go_on(200).await;
    let master = block_in_place(|| history.in_step(deployment, FAILOVER_LIMIT));
    let replicas = i64::try_from(deployment.replicas().len()).unwrap();
    let _watch = history.watch_step(master, replicas).unwrap();
    let master = master.port();
    history.note(Event::Planned { master });
    let new = lead(deployment, &pool).await;
    writers.go_on(200).await;
    // What the old master alone had acknowledged is gone once it follows the new one.
    block_in_place(|| deployment.wait_healthy(FAILOVER_LIMIT));
    writers.go_on(50).await;
    let calls = writers.finish().await;

    let end = State::of(deployment.node(new.port()), &calls).unwrap();
    let violations = verdict(&calls, &history.events(), &end, &Rules::default());
    assert_eq!(violations, [], "of {} writes", calls.len());
    assert_eq!(pool.topology().fence, None);
    let failed = calls.into_iter().filter(|call| !call.error.is_empty());
    failed.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_no_acknowledged_write() {
    nothing_is_lost(By::Exclusive, Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_no_acknowledged_write_when_it_is_not_announced_yet() {
    nothing_is_lost(By::Exclusive, Adopt::Promoted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_loses_no_acknowledged_write_over_shared_connections() {
    nothing_is_lost(By::Shared, Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_planned_failover_fails_no_long_pipeline() {
    nothing_is_lost(By::Pipeline, Adopt::Announced).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_goes_on_on_the_new_master() {
    let (deployment, pool) = deployment_and_pool(1, Adopt::Announced).await;
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
    let (deployment, pool) = deployment_and_pool(4, Adopt::Announced).await;
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
    let (deployment, pool) = deployment_and_pool(4, Adopt::Announced).await;
    let dropped = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for by in [By::Exclusive, By::Shared] {
        for caller in 0..8 {
            let (pool, dropped) = (pool.clone(), Arc::clone(&dropped));
            tasks.spawn(async move {
                for i in 0..400 {
                    let keys = [format!("{by:?}:{caller}:{i}")];
                    let patience = Duration::from_millis(5);
                    let write = write(&pool, by, &keys);
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
    eventually("all is quiet", FAILOVER_LIMIT, || async {
        let status = pool.status();
        let write = &status.write;
        (write.waiting, write.active - write.idle) == (0, 0)
            && (status.writer.in_flight, status.writer.waiting) == (0, 0)
    })
    .await;
    for by in [By::Exclusive, By::Shared] {
        write(&pool, by, &["after".to_owned()]).await.unwrap();
    }
}
