//! More than a pool can serve, callers who leave, servers that cut connections, pools that close:
//! afterwards everything is there again.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::Duration,
};

use redis::cmd;
use redis_rw_pool::Error;
use tokio::task::JoinSet;

use crate::support::{LONG, Random, Side, Stage, alive_tasks, eventually, tasks_are_back_to};

/// Cuts every connection of one name, again and again, from a thread of its own.
struct Killer {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<usize>,
}

impl Killer {
    fn start(stage: &Stage) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut client = stage.server().connect().unwrap();
        let needle = format!(" name={} ", stage.name);
        let thread = thread::spawn({
            let stop = Arc::clone(&stop);
            move || {
                let mut kills = 0;
                while !stop.load(SeqCst) {
                    let list = client.call(&["CLIENT", "LIST"]).unwrap();
                    for line in list.as_str().lines().filter(|line| line.contains(&needle)) {
                        let id = line.strip_prefix("id=").unwrap().split(' ').next().unwrap();
                        client.call(&["CLIENT", "KILL", "ID", id]).unwrap();
                        kills += 1;
                    }
                    thread::sleep(Duration::from_millis(3));
                }
                kills
            }
        });
        Self { stop, thread }
    }

    fn kills(self) -> usize {
        self.stop.store(true, SeqCst);
        self.thread.join().unwrap()
    }
}

pub(super) async fn no_caller_is_stranded(mut callers: JoinSet<()>) {
    let all = async {
        while let Some(outcome) = callers.join_next().await {
            assert!(outcome.is_ok_or_cancelled(), "a caller panicked");
        }
    };
    let ended = tokio::time::timeout(LONG, all).await;
    ended.expect("no caller is stranded");
}

trait OkOrCancelled {
    fn is_ok_or_cancelled(&self) -> bool;
}

impl OkOrCancelled for Result<(), tokio::task::JoinError> {
    fn is_ok_or_cancelled(&self) -> bool {
        !matches!(self, Err(error) if error.is_panic())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_checkouts_cut_short_while_connections_are_killed_lose_nothing() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 8).await;
        stage.assert_conserved().await;
        let base = alive_tasks();
        let killer = Killer::start(&stage);
        let mut random = Random::new(7);
        let mut callers = JoinSet::new();
        let mut handles = Vec::new();
        for index in 0..10_000 {
            let patience = Duration::from_micros(random.below(2000));
            let (pool, command) = (stage.pool.clone(), random.below(2) == 0);
            handles.push(callers.spawn(async move {
                let call = async {
                    let Ok(mut conn) = side.checkout(&pool).await else {
                        return;
                    };
                    if command {
                        let _ = cmd("PING").exec_async(&mut conn).await;
                    }
                };
                let _ = tokio::time::timeout(patience, call).await;
            }));
            if random.below(3) == 0 {
                let any = usize::try_from(random.below(handles.len() as u64)).unwrap();
                handles[any].abort();
            }
            if index % 64 == 0 {
                tokio::task::yield_now().await;
            }
            let status = stage.status();
            assert!(status.active <= status.max_active, "{status:?}");
        }
        no_caller_is_stranded(callers).await;
        assert!(killer.kills() > 0, "nothing was killed");
        stage.assert_conserved().await;
        tasks_are_back_to(base).await;
    }
}

/// What overload does must end with the overload: a pool that had to refuse callers refuses nobody
/// when there are no more callers than connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn timeouts_end_with_the_overload() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.wait_timeout = Some(Duration::from_millis(20));
        })
        .await;
        // The first dials are not what this is about.
        drop(stage.take_many(4).await);
        let refused = Arc::new(AtomicUsize::new(0));
        let mut callers = JoinSet::new();
        for _ in 0..1000 {
            let (pool, refused) = (stage.pool.clone(), Arc::clone(&refused));
            callers.spawn(async move {
                for _ in 0..3 {
                    match side.checkout(&pool).await {
                        Ok(_conn) => tokio::time::sleep(Duration::from_millis(5)).await,
                        Err(Error::WaitTimeout { .. }) => _ = refused.fetch_add(1, SeqCst),
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
        no_caller_is_stranded(callers).await;
        let overload = refused.swap(0, SeqCst);
        assert!(overload > 100, "{side:?}: only {overload} were refused");

        let before = stage.status();
        assert_eq!((before.waiting, before.idle), (0, 4), "{before:?}");
        let mut callers = JoinSet::new();
        for _ in 0..4 {
            let pool = stage.pool.clone();
            callers.spawn(async move {
                for _ in 0..200 {
                    let mut conn = side.checkout(&pool).await.unwrap();
                    cmd("PING").exec_async(&mut conn).await.unwrap();
                }
            });
        }
        no_caller_is_stranded(callers).await;
        let after = stage.status();
        assert_eq!(after.wait_count, before.wait_count, "{side:?}: {after:?}");
        assert_eq!(after.created, 4, "{side:?}: {after:?}");
    }
}

/// Checkouts, returns on other threads, pruning and a close, all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_thousand_checkouts_against_pruning_and_a_close_lose_nothing() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 4;
            config.write.min_idle = 1;
            config.write.max_idle = Some(2);
            config.write.idle_timeout = Some(Duration::from_millis(1));
            config.write.max_lifetime = Some(Duration::from_millis(20));
        })
        .await;
        let checkouts = Arc::new(AtomicUsize::new(0));
        let (returns, returned) = std::sync::mpsc::channel();
        let elsewhere = thread::spawn(move || returned.into_iter().for_each(drop));
        let mut callers = JoinSet::new();
        for caller in 0..8 {
            let (pool, checkouts) = (stage.pool.clone(), Arc::clone(&checkouts));
            let returns = returns.clone();
            callers.spawn(async move {
                loop {
                    // A handle of its own, which goes as well.
                    let pool = pool.clone();
                    match side.checkout(&pool).await {
                        Ok(conn) if caller % 2 == 0 => returns.send(conn).unwrap(),
                        Ok(conn) => drop(conn),
                        Err(error) => {
                            assert!(error.is_closed(), "{error}");
                            return;
                        }
                    }
                    checkouts.fetch_add(1, SeqCst);
                }
            });
        }
        drop(returns);
        eventually("there were 50 000 checkouts", 2 * LONG, || async {
            let status = stage.status();
            assert!(status.active <= 4, "{side:?}: {status:?}");
            checkouts.load(SeqCst) >= 50_000
        })
        .await;
        stage.pool.close();
        no_caller_is_stranded(callers).await;
        elsewhere.join().unwrap();
        stage.active_is(0).await;
        stage.settled().await;
        let status = stage.status();
        assert_eq!(status.waiting, 0, "{side:?}: {status:?}");
        assert_eq!(status.created, status.discards.total(), "{status:?}");
        assert!(status.created > 4, "nothing was pruned: {status:?}");
    }
}
