//! Runtimes of every kind: with one thread, with several, with a thread that is blocked, with a
//! clock that stands still, and those that end before the pool does.

use std::{
    error::Error as _,
    future::Future,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use redis::{AsyncCommands, RedisResult, cmd};
use redis_rw_pool::{Config, Connection, Error, Multiplexed, Outcome, Pool, Retry, outcome};
use tokio::{runtime, task::JoinSet, time::Instant};

use crate::support::{
    LONG, SECOND, Side, Stage, ask, deployment, eventually, poll_then_drop, prepare, readable_are,
    skip, unique_name,
};

pub(super) fn one_thread() -> runtime::Runtime {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn threads(count: usize) -> runtime::Runtime {
    let mut builder = runtime::Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().unwrap()
}

fn kinds() -> [(&'static str, runtime::Runtime); 3] {
    [
        ("one thread", one_thread()),
        ("one worker", threads(1)),
        ("four workers", threads(4)),
    ]
}

/// More callers than connections, exclusive and shared. Every caller gets its own replies.
async fn traffic(stage: &Stage) {
    let mut callers = JoinSet::new();
    for caller in 0..24 {
        let pool = stage.pool.clone();
        callers.spawn(async move {
            for round in 0..20 {
                let echo = format!("ECHO {caller}:{round}");
                let reply: String = match caller % 2 {
                    0 => ask(&mut pool.write().await.unwrap(), &echo).await,
                    _ => ask(&mut pool.writer(), &echo).await,
                };
                assert_eq!(reply, echo[5..]);
            }
        });
    }
    let done = tokio::time::timeout(LONG, callers.join_all()).await;
    assert_eq!(done.expect("nobody hangs").len(), 24);
}

#[test]
fn traffic_passes_on_every_kind_of_runtime() {
    for (kind, runtime) in kinds() {
        runtime.block_on(async {
            let stage = Stage::shared(Side::Write, |config| config.write.max_active = 3).await;
            traffic(&stage).await;
            stage.assert_conserved().await;
            assert!(stage.status().created <= 3, "{kind}");
        });
    }
}

/// A worker that somebody blocks holds up what it was about to run, and breaks nothing.
#[test]
fn a_thread_that_is_blocked_for_a_while_costs_time_only() {
    for (kind, runtime) in kinds() {
        runtime.block_on(async {
            let stage = Stage::shared(Side::Write, |config| config.write.max_active = 3).await;
            stage.assert_conserved().await;
            let created = stage.status().created;
            let blockers = (0..4).map(|_| {
                let pool = stage.pool.clone();
                tokio::spawn(async move {
                    let _conn = pool.write().await.unwrap();
                    thread::sleep(Duration::from_millis(200));
                })
            });
            let blockers: Vec<_> = blockers.collect();
            traffic(&stage).await;
            for blocker in blockers {
                blocker.await.unwrap();
            }
            stage.assert_conserved().await;
            assert_eq!(stage.status().created, created, "{kind}: none was lost");
        });
    }
}

/// The reply has been there for long when the deadline is looked at.
#[test]
fn a_reply_that_came_while_the_thread_was_blocked_is_not_too_late() {
    one_thread().block_on(async {
        let stage = Stage::shared(Side::Write, |config| {
            config.write.max_active = 1;
            config.command_timeout = Some(Duration::from_millis(200));
        })
        .await;
        let (mut conn, mut writer) = (stage.take().await, stage.pool.writer());
        let _: String = ask(&mut writer, "ECHO warm").await;
        for round in 0..3 {
            let echo = format!("ECHO {round}");
            let block = async {
                // Both commands are on their way before.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
                thread::sleep(Duration::from_millis(500));
            };
            let (one, two, ()): (String, String, ()) =
                tokio::join!(ask(&mut conn, &echo), ask(&mut writer, &echo), block);
            assert_eq!((&one[..], &two[..]), (&echo[5..], &echo[5..]));
        }
        drop(conn);
        let status = stage.pool.status();
        assert_eq!((status.write.created, status.writer.created), (1, 1));
    });
}

#[tokio::test]
async fn a_clock_that_stood_still_and_jumped_leaves_a_pool_that_works() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 2;
            config.write.min_idle = 1;
            config.refresh_interval = SECOND;
        })
        .await;
        let conn = stage.take().await;
        for _ in 0..5 {
            skip(Duration::from_secs(3600)).await;
        }
        drop(conn);
        // A node that was being asked when the clock jumped seems to have been silent for an hour, and counts as
        // unreachable until it has been asked again.
        readable_are(&stage.pool, 1, LONG).await;
        stage.assert_conserved().await;
        stage.pool.refresh().await.unwrap();
    }
}

/// With a paused clock the runtime jumps to the next deadline whenever it waits for the network, so a
/// connect has no time. It fails and says so, or is quick enough; it never hangs.
#[test]
fn connecting_under_a_paused_clock_ends() {
    for _ in 0..5 {
        let runtime = one_thread();
        let outcome = runtime.block_on(async {
            tokio::time::pause();
            let deployment = deployment();
            let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
            config.command_timeout = Some(SECOND);
            let pool = Pool::connect(config).await?;
            let mut conn = pool.write().await?;
            let _ = cmd("PING").exec_async(&mut conn).await;
            Ok::<_, Error>(())
        });
        if let Err(error) = outcome {
            assert!(error.is_transient(), "{error:?}");
        }
    }
}

/// What a caller may still hold when the runtime is gone.
type Held = (Pool, Multiplexed, Vec<Connection>);

/// Lets a runtime end in the middle of everything that a pool does.
fn end_in_the_middle(runtime: runtime::Runtime, name: &str) -> Held {
    let held: Arc<Mutex<Option<Held>>> = Arc::default();
    runtime.block_on(async {
        let deployment = deployment();
        let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
        prepare(&mut config, name);
        config.write.max_active = 6;
        let pool = Pool::connect(config).await.unwrap();
        let mut lent = Vec::new();
        for _ in 0..6 {
            lent.push(pool.write().await.unwrap());
        }
        // Three guards go with their tasks: one idle, two in the middle of a command.
        for blocked in [false, true, true] {
            let mut conn = lent.pop().unwrap();
            tokio::spawn(async move {
                if blocked {
                    let _: Option<(String, String)> =
                        conn.blpop("runtimes:none", 0.0).await.unwrap();
                }
                std::future::pending::<()>().await;
            });
        }
        // Callers wait in line, others dial, others share a connection.
        for _ in 0..5 {
            let pool = pool.clone();
            tokio::spawn(async move { pool.write().await.map(drop) });
        }
        for _ in 0..5 {
            let pool = pool.clone();
            tokio::spawn(async move {
                loop {
                    let _ = pool.writer().set::<_, _, ()>("runtimes:k", "v").await;
                    let _ = pool.read().await;
                }
            });
        }
        eventually("callers wait", LONG, || async {
            pool.status().write.waiting == 5
        })
        .await;
        *held.lock() = Some((pool.clone(), pool.writer(), lent));
    });
    // A worker that is in the middle of something is waited for.
    runtime.shutdown_timeout(LONG);
    let mut held = held.lock();
    held.take().unwrap()
}

#[test]
fn a_runtime_that_ends_with_everything_under_way_harms_nothing() {
    for (kind, runtime) in kinds() {
        let name = unique_name();
        let (pool, writer, mut lent) = end_in_the_middle(runtime, &name);
        // Outside of any runtime, in one, and while another runtime ends.
        drop(lent.pop());
        one_thread().block_on(async { drop(lent.pop()) });
        let last = lent.pop().unwrap();
        let other = one_thread();
        other.spawn(async move {
            let _last = last;
            std::future::pending::<()>().await;
        });
        drop(other);
        let status = pool.status().write;
        assert_eq!(status.waiting, 0, "{kind}: {status:?}");
        assert_eq!(status.active, status.idle, "{kind}: {status:?}");
        let _ = format!("{pool:?} {writer:?}");
        pool.close();
        let status = pool.status().write;
        assert_eq!(status.active, 0, "{kind}: {status:?}");
        assert_eq!(
            status.created,
            status.discards.total(),
            "{kind}: {status:?}"
        );
        drop((pool, writer));
        one_thread().block_on(eventually("the servers see nobody", LONG, || async {
            let nodes = deployment().nodes().iter();
            nodes
                .map(|node| node.client_count_named(&name))
                .sum::<usize>()
                == 0
        }));
    }
}

/// A pool that lives on one runtime while its callers come from others.
struct Elsewhere {
    home: Option<runtime::Runtime>,
    stage: Stage,
}

impl Elsewhere {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let home = threads(1);
        let stage = home.block_on(Stage::own(Side::Write, |config| {
            config.write.max_active = 1;
            config.connect_timeout = 3 * SECOND;
            config.failover_timeout = 3 * SECOND;
            change(config);
        }));
        Self {
            home: Some(home),
            stage,
        }
    }

    /// Runs this on a runtime of its own, as a worker of a web server does.
    fn on_worker<T, F>(
        &self,
        work: impl FnOnce(Pool) -> F + Send + 'static,
    ) -> thread::JoinHandle<T>
    where
        T: Send + 'static,
        F: Future<Output = T>,
    {
        let pool = self.stage.pool.clone();
        thread::spawn(move || one_thread().block_on(work(pool)))
    }

    /// A worker that does this and then computes for so long.
    fn on_busy_worker<F>(
        &self,
        time: Duration,
        work: impl FnOnce(Pool) -> F + Send + 'static,
    ) -> thread::JoinHandle<()>
    where
        F: Future<Output = ()>,
    {
        let (busy, is_busy) = mpsc::channel();
        let worker = self.on_worker(move |pool| async move {
            work(pool).await;
            busy.send(()).unwrap();
            thread::sleep(time);
        });
        is_busy.recv().unwrap();
        worker
    }

    fn end(&mut self) {
        drop(self.home.take());
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // Its `Stage` has nothing that needs a runtime.
        self.end();
    }
}

async fn ping(conn: &mut Connection) -> RedisResult<String> {
    cmd("PING").query_async(conn).await
}

/// As one worker of actix-web ends before the others.
#[test]
fn a_worker_s_runtime_that_ends_takes_nobody_else_s_connection_along() {
    for (kind, make) in [("one", one_thread as fn() -> _), ("more", || threads(1))] {
        let pool = Elsewhere::new(|config| config.command_timeout = Some(LONG));
        let worker = make();
        let dials = pool.stage.pool.clone();
        worker.block_on(async move {
            let mut conn = dials.write().await.unwrap();
            assert_eq!(ping(&mut conn).await.unwrap(), "PONG");
        });
        let (sent, is_sent) = mpsc::channel();
        let other = pool.on_worker(move |pool| async move {
            let mut conn = pool.write().await.unwrap();
            sent.send(()).unwrap();
            conn.blpop::<_, Option<(String, String)>>("runtimes:none", 1.0)
                .await
        });
        is_sent.recv().unwrap();
        thread::sleep(Duration::from_millis(200));
        drop(worker);
        let popped = other.join().expect("it does not panic").unwrap();
        assert_eq!(popped, None, "{kind}");
        assert_eq!(pool.stage.status().created, 1, "{kind}");
    }
}

/// A guard may be made on one worker and used on another, which then polls its timer.
#[test]
fn a_guard_that_moves_to_another_runtime_keeps_its_deadline() {
    let pool = Elsewhere::new(|config| config.command_timeout = Some(SECOND));
    let worker = one_thread();
    let dials = pool.stage.pool.clone();
    let mut conn = worker.block_on(async move {
        let mut conn = dials.write().await.unwrap();
        assert_eq!(ping(&mut conn).await.unwrap(), "PONG");
        conn
    });
    drop(worker);
    pool.stage.server().pause();
    let waited = pool.on_worker(move |_| async move {
        let began = Instant::now();
        let error = ping(&mut conn).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        began.elapsed()
    });
    let waited = waited.join().expect("it does not panic");
    pool.stage.server().resume();
    assert!(waited >= SECOND && waited < 2 * SECOND, "{waited:?}");
}

#[test]
fn a_busy_worker_holds_up_no_command_on_a_connection_that_it_made() {
    let pool = Elsewhere::new(|config| config.command_timeout = Some(SECOND));
    let busy = pool.on_busy_worker(5 * SECOND, |pool| async move {
        let mut conn = pool.write().await.unwrap();
        assert_eq!(ping(&mut conn).await.unwrap(), "PONG");
    });
    let quick = pool.on_worker(|pool| async move {
        let began = Instant::now();
        let mut conn = pool.write().await.unwrap();
        let count: i64 = conn.incr("runtimes:n", 1).await.unwrap();
        assert_eq!(count, 1);
        began.elapsed()
    });
    let quick = quick.join().unwrap();
    assert!(quick < SECOND, "{quick:?}");
    pool.stage.server().pause();
    let late = pool.on_worker(|pool| async move {
        let mut conn = pool.write().await.unwrap();
        let began = Instant::now();
        let error = ping(&mut conn).await.unwrap_err();
        assert!(error.is_timeout(), "{error}");
        began.elapsed()
    });
    let late = late.join().unwrap();
    pool.stage.server().resume();
    assert!(late >= SECOND && late < 2 * SECOND, "{late:?}");
    busy.join().unwrap();
}

#[test]
fn a_dial_goes_on_while_the_worker_that_began_it_is_busy() {
    let pool = Elsewhere::new(|_| {});
    let busy = pool.on_busy_worker(5 * SECOND, |pool| async move {
        // Its dial has begun, and nobody waits for it any more.
        assert!(poll_then_drop(pool.write(), 1).await.is_none());
        tokio::task::yield_now().await;
    });
    let waited = pool.on_worker(|pool| async move {
        let began = Instant::now();
        drop(pool.write().await.unwrap());
        began.elapsed()
    });
    let waited = waited.join().unwrap();
    assert!(waited < SECOND, "{waited:?}");
    assert_eq!(
        pool.stage.status().created,
        1,
        "it was that dial's connection"
    );
    busy.join().unwrap();
}

pub(super) fn is_ended<T: std::fmt::Debug>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::RuntimeEnded))
}

/// Whether the command failed because of it, and was not executed.
fn refused_as_ended(error: &redis::RedisError) -> bool {
    let text = error.to_string();
    let says = text.contains("runtime") && text.contains("has ended") && text.contains("connect");
    says && outcome(error) == Outcome::NotExecuted
}

#[test]
fn a_pool_whose_runtime_has_ended_says_so_on_every_call() {
    let mut pool = Elsewhere::new(|config| config.write.max_active = 2);
    let home = pool.home.as_ref().unwrap();
    let (mut write, mut read, mut writer, mut reader) = home.block_on(async {
        let pool = &pool.stage.pool;
        let mut handles = (
            pool.write().await.unwrap(),
            pool.read().await.unwrap(),
            pool.writer(),
            pool.reader(),
        );
        let _: String = ask(&mut handles.2, "ECHO warm").await;
        let _: String = ask(&mut handles.3, "ECHO warm").await;
        assert_eq!(ping(&mut handles.0).await.unwrap(), "PONG");
        handles
    });
    pool.end();
    let pool = &pool.stage.pool;
    let began = Instant::now();
    one_thread().block_on(async {
        for _ in 0..2 {
            assert!(is_ended(&pool.write().await));
            assert!(is_ended(&pool.read().await));
            assert!(is_ended(&pool.refresh().await));
            let get = || cmd("GET").arg("k").take();
            let set = || cmd("SET").arg("k").arg("v").take();
            for error in [
                get().exec_async(&mut write).await.unwrap_err(),
                set().exec_async(&mut write).await.unwrap_err(),
                get().exec_async(&mut read).await.unwrap_err(),
                get().exec_async(&mut writer).await.unwrap_err(),
                set().exec_async(&mut writer).await.unwrap_err(),
                get().exec_async(&mut reader).await.unwrap_err(),
                get().exec_async(&mut pool.writer()).await.unwrap_err(),
                pool.retry_write(Retry::default(), |mut conn| async move {
                    conn.set::<_, _, ()>("k", "v").await
                })
                .await
                .unwrap_err(),
            ] {
                assert!(refused_as_ended(&error), "{error}");
            }
        }
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
        let error = pool.write().await.unwrap_err();
        assert!(!error.is_transient() && !error.is_timeout(), "{error}");
        assert!(error.source().is_none());
        assert!(pool.topology().master.is_some(), "still there to look at");
        let _ = format!("{pool:?} {:?}", pool.status());
        // It is as good as closed.
        drop((write, read));
        tokio::time::timeout(LONG, pool.closed()).await.unwrap();
        pool.close();
        assert!(is_ended(&pool.write().await));
    });
    // And outside of any runtime.
    assert_eq!(pool.status().write.active, 0);
}

#[test]
fn a_caller_that_waits_when_the_pool_s_runtime_ends_is_told_at_once() {
    let mut pool = Elsewhere::new(|config| {
        config.write.wait_timeout = None;
        config.command_timeout = None;
    });
    let home = pool.home.as_ref().unwrap();
    let held = home.block_on(pool.stage.take());
    let (sent, is_sent) = mpsc::channel();
    let block = |sent: mpsc::Sender<()>| {
        move |pool: Pool| async move {
            let mut conn = pool.read().await.unwrap();
            sent.send(()).unwrap();
            conn.blpop::<_, Option<(String, String)>>("runtimes:none", 0.0)
                .await
        }
    };
    let blocked = pool.on_worker(block(sent));
    is_sent.recv().unwrap();
    let waits = pool.on_worker(|pool| async move { pool.write().await.map(drop) });
    let share = |words: &'static [&'static str]| {
        move |pool: Pool| async move {
            let mut cmd = cmd(words[0]);
            cmd.arg(&words[1..]);
            cmd.exec_async(&mut pool.writer()).await
        }
    };
    let hold = pool.on_worker(|pool| async move { pool.closed().await });
    let looks = |what, condition: &dyn Fn() -> bool| {
        one_thread().block_on(eventually(what, LONG, || async { condition() }));
    };
    looks("one waits", &|| pool.stage.status().waiting == 1);
    // Not another command, to which the pool would find out that its node is silent.
    pool.stage.server().pause();
    let shares = pool.on_worker(share(&["SET", "k", "v"]));
    looks("a command is on its way", &|| {
        let writer = pool.stage.pool.status().writer;
        writer.in_flight == 1 || writer.connections == 0
    });
    let began = Instant::now();
    pool.end();
    assert!(is_ended(&waits.join().unwrap()));
    let error = blocked.join().expect("no panic").unwrap_err();
    assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
    assert!(error.to_string().contains("runtime"), "{error}");
    let error = shares.join().expect("no panic").unwrap_err();
    assert!(error.to_string().contains("runtime"), "{error}");
    assert!(!hold.is_finished(), "one is still lent");
    drop(held);
    hold.join().expect("no panic");
    let waited = began.elapsed();
    pool.stage.server().resume();
    assert!(waited < 2 * SECOND, "{waited:?}");
}

/// Deadlines live on that runtime, and tokio panics where one is polled that is too late.
#[test]
fn a_runtime_that_ends_under_load_makes_no_caller_panic() {
    for round in 0..20_u64 {
        let mut pool = Elsewhere::new(|config| config.write.max_active = 4);
        let workers: Vec<_> = (0..4)
            .map(|worker| {
                pool.on_worker(move |pool| async move {
                    let mut conn = pool.write().await?;
                    let mut shared = pool.writer();
                    loop {
                        if worker % 2 == 0 {
                            cmd("PING").exec_async(&mut conn).await?;
                        } else {
                            cmd("PING").exec_async(&mut shared).await?;
                        }
                    }
                    #[allow(unreachable_code, reason = "gives the block its type")]
                    RedisResult::Ok(())
                })
            })
            .collect();
        thread::sleep(Duration::from_millis(20 + round));
        pool.end();
        for worker in workers {
            let error = worker.join().expect("no panic").unwrap_err();
            assert!(error.to_string().contains("runtime"), "{error}");
        }
    }
}
