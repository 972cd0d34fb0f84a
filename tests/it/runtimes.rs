//! Runtimes of every kind: with one thread, with several, with a thread that is blocked, with a
//! clock that stands still, and those that end before the pool does.

use std::{sync::Arc, thread, time::Duration};

use parking_lot::Mutex;
use redis::{AsyncCommands, cmd};
use redis_rw_pool::{Config, Connection, Multiplexed, Pool};
use tokio::{runtime, task::JoinSet};

use crate::{
    shared::ask,
    stage::{LONG, SECOND, Side, Stage, deployment, prepare, skip, unique_name},
    support::eventually,
};

fn one_thread() -> runtime::Runtime {
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

/// More callers than connections, exclusive and shared, all of whom get their own replies.
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
        stage.assert_conserved().await;
        stage.pool.refresh().await.unwrap();
    }
}

/// With a paused clock the runtime jumps to the next deadline whenever it waits for the network, so
/// whoever connects has no time. He is told, or is quick enough; he never hangs.
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
            Ok::<_, redis_rw_pool::Error>(())
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
