//! Every asynchronous call, dropped at each of its await points: at once, and when what it waited
//! for has come. Nothing is lost by it, neither a place nor a socket nor a task.
//!
//! `Pool::connect` is in `close::a_connect_that_is_dropped_leaves_nothing_behind`, the checkouts
//! in `connection_counts::a_checkout_dropped_on_its_way_loses_nothing`, the replies of what was cut off
//! in `cancel::…`.

use std::time::Duration;

use redis::{AsyncCommands, RedisResult, aio::ConnectionLike, pipe};
use redis_rw_pool::Config;
use testkit::{
    Proxy,
    proxy::{Flow, Toward},
};

use crate::support::{
    self, LONG, SOON, Side, Stage, alive_tasks, ask, eventually, poll_then_drop,
    poll_then_drop_on_wake, redirect, side_by_side, tasks_are_back_to, value_of,
};

pub(super) const MOST_POLLS: usize = 2_000;

/// How far a call gets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cut {
    pub(super) polls: usize,
    /// Dropped only when it has been woken once more.
    pub(super) on_wake: bool,
}

impl Cut {
    pub(super) async fn short<T>(self, call: impl Future<Output = T>) -> Option<T> {
        match (self.polls, self.on_wake) {
            (0, _) => {
                drop(call);
                None
            }
            (polls, false) => poll_then_drop(call, polls).await,
            (polls, true) => poll_then_drop_on_wake(call, polls).await,
        }
    }
}

/// Has `round` cut a call short at every point, until it says that the call came to its end.
pub(super) async fn at_every_point(what: &str, mut round: impl AsyncFnMut(Cut) -> bool) {
    for on_wake in [false, true] {
        let mut polls = 0;
        while !round(Cut { polls, on_wake }).await {
            polls += 1;
            assert!(polls < MOST_POLLS, "{what} never ends");
        }
        assert!(polls > 1, "{what} was never cut short");
    }
}

#[tokio::test]
async fn a_refresh_that_is_dropped_is_carried_out_all_the_same() {
    let stage = Stage::shared(Side::Write, |_| {}).await;
    let base = alive_tasks();
    at_every_point("a refresh", async |cut| {
        let looks = stage.pool.status().sentinel.refreshes;
        let outcome = cut.short(stage.pool.refresh()).await;
        if cut.polls > 0 {
            eventually("the Sentinels are asked", LONG, || async {
                stage.pool.status().sentinel.refreshes > looks
            })
            .await;
        }
        tasks_are_back_to(base).await;
        outcome.map(Result::unwrap).is_some()
    })
    .await;
    stage.assert_conserved().await;
}

/// What is asked of a connection of either kind; checks its own reply.
#[derive(Debug, Clone, Copy)]
enum Job {
    Command,
    Large,
    Pipeline,
    Transaction,
}

const JOBS: [Job; 4] = [Job::Command, Job::Large, Job::Pipeline, Job::Transaction];
const KEY: &str = "cancel-calls";

async fn perform(job: Job, conn: &mut (impl ConnectionLike + Send + Sync)) -> RedisResult<()> {
    match job {
        Job::Command => {
            let value: String = conn.get(KEY).await?;
            assert_eq!(value, value_of(KEY, 40));
        }
        Job::Large => {
            let value: String = conn.get(format!("{KEY}:large")).await?;
            assert_eq!(value.len(), 100_000);
        }
        Job::Pipeline | Job::Transaction => {
            let mut pipeline = pipe();
            if matches!(job, Job::Transaction) {
                pipeline.atomic();
            }
            for n in 0..10 {
                pipeline.cmd("ECHO").arg(n);
            }
            let echoes: Vec<usize> = pipeline.query_async(conn).await?;
            assert_eq!(echoes, (0..10).collect::<Vec<_>>());
        }
    }
    Ok(())
}

/// On the shared deployment, behind a proxy that hands on replies piece by piece.
async fn behind_a_proxy(side: Side, change: impl FnOnce(&mut Config)) -> (Stage, Proxy) {
    let nodes = support::deployment().nodes();
    let mut master = nodes[0].connect().unwrap();
    let large = format!("{KEY}:large");
    for (key, length) in [(KEY, 40), (&large, 100_000)] {
        let value = value_of(KEY, length);
        master.call(&["SET", key, value.as_str()]).unwrap();
    }
    assert_eq!(master.call(&["WAIT", "1", "20000"]).unwrap().as_int(), 1);
    let upstream = match side {
        Side::Write => nodes[0].port(),
        Side::Read => nodes[1].port(),
    };
    let proxy = Proxy::to(upstream);
    let stage = Stage::shared(side, |config| {
        config.address_map = Some(redirect(upstream, proxy.port()));
        change(config);
    })
    .await;
    (stage, proxy)
}

fn piecemeal(job: Job) -> Flow {
    let piece = match job {
        Job::Large => 10_000,
        Job::Command => 20,
        Job::Pipeline | Job::Transaction => 30,
    };
    let every = Duration::from_micros(500);
    Flow::Trickle { piece, every }
}

#[tokio::test]
async fn a_command_of_a_guard_that_is_dropped_costs_its_connection_at_most() {
    for side in Side::BOTH {
        let (stage, proxy) = behind_a_proxy(side, |config| config.write.max_active = 1).await;
        drop(stage.take().await);
        let base = alive_tasks();
        for job in JOBS {
            at_every_point(&format!("{side:?} {job:?}"), async |cut| {
                let mut conn = stage.take().await;
                proxy.set(Toward::Client, piecemeal(job));
                let outcome = cut.short(perform(job, &mut conn)).await;
                proxy.heal();
                drop(conn);
                // The only place is free again, and its connection in order.
                perform(job, &mut stage.take().await).await.unwrap();
                let status = stage.status();
                assert_eq!((status.active, status.idle), (1, 1), "{job:?} {cut:?}");
                outcome.map(Result::unwrap).is_some()
            })
            .await;
        }
        stage.assert_conserved().await;
        tasks_are_back_to(base).await;
    }
}

#[tokio::test]
async fn a_command_of_a_handle_that_is_dropped_costs_nothing() {
    for side in Side::BOTH {
        // So few that a pipeline goes in portions.
        let (stage, proxy) = behind_a_proxy(side, |config| {
            config.multiplexed.max_in_flight = 4;
        })
        .await;
        let handle = || match side {
            Side::Write => stage.pool.writer(),
            Side::Read => stage.pool.reader(),
        };
        let status = || match side {
            Side::Write => stage.pool.status().writer,
            Side::Read => stage.pool.status().reader,
        };
        perform(Job::Command, &mut handle()).await.unwrap();
        let base = alive_tasks();
        for job in JOBS {
            at_every_point(&format!("{side:?} {job:?}"), async |cut| {
                proxy.set(Toward::Client, piecemeal(job));
                let outcome = cut.short(perform(job, &mut handle())).await;
                proxy.heal();
                // Many at once, so that a place that is lost would be missed.
                let others = (0..8).map(|_| async { perform(job, &mut handle()).await });
                for result in side_by_side(others).await {
                    result.unwrap();
                }
                eventually("nothing is left over", SOON, || async {
                    let status = status();
                    (status.in_flight, status.waiting) == (0, 0)
                })
                .await;
                outcome.map(Result::unwrap).is_some()
            })
            .await;
        }
        assert_eq!((status().created, status().connections), (1, 1));
        stage.assert_conserved().await;
        tasks_are_back_to(base).await;
    }
}

#[tokio::test]
async fn the_first_command_of_a_handle_may_be_dropped_while_its_connection_is_made() {
    for side in Side::BOTH {
        at_every_point("the first command", async |cut| {
            let stage = Stage::shared(side, |_| {}).await;
            support::readable_are(&stage.pool, 1, LONG).await;
            let handle = || match side {
                Side::Write => stage.pool.writer(),
                Side::Read => stage.pool.reader(),
            };
            let outcome = cut.short(ask::<String>(&mut handle(), "ECHO 1")).await;
            let echo: String = ask(&mut handle(), "ECHO 2").await;
            assert_eq!(echo, "2");
            let status = match side {
                Side::Write => stage.pool.status().writer,
                Side::Read => stage.pool.status().reader,
            };
            assert_eq!((status.created, status.in_flight), (1, 0), "{cut:?}");
            stage.assert_conserved().await;
            outcome.is_some()
        })
        .await;
    }
}
