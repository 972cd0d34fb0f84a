//! Whatever happens to callers, dials and servers: afterwards exactly `max_active` connections can
//! be lent, nobody waits in vain, and the server sees what the pool counts.

use std::{panic::AssertUnwindSafe, time::Duration};

use redis::cmd;
use redis_rw_pool::{Connection, Discard, Pool, redis};
use tokio::task::JoinSet;

use crate::support::{
    LONG, Side, Stage, Watcher, alive_tasks, eventually, poll_then_drop, poll_then_drop_on_wake,
    tasks_are_back_to,
};

/// Numbers that look random and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

async fn drain(mut callers: JoinSet<()>) {
    let all = async {
        while let Some(outcome) = callers.join_next().await {
            assert!(outcome.is_ok_and_aborts_aside(), "a caller panicked");
        }
    };
    tokio::time::timeout(LONG, all)
        .await
        .expect("no caller is stranded");
}

trait AbortsAside {
    fn is_ok_and_aborts_aside(&self) -> bool;
}

impl AbortsAside for Result<(), tokio::task::JoinError> {
    fn is_ok_and_aborts_aside(&self) -> bool {
        self.as_ref()
            .err()
            .is_none_or(tokio::task::JoinError::is_cancelled)
    }
}

/// Takes a connection and may use it; both may be cut short by a timeout of 0 to 3 ms.
async fn hasty(pool: Pool, side: Side, patience: Duration, command: bool) {
    let _ = tokio::time::timeout(patience, async {
        let mut conn = side.checkout(&pool).await.unwrap();
        if command {
            cmd("PING").exec_async(&mut conn).await.unwrap();
        }
    })
    .await;
}

async fn storm(stage: &Stage, callers: usize, commands: bool) {
    let mut chance = Chance(0x9E37_79B9_7F4A_7C15);
    let mut running = JoinSet::new();
    let mut handles = Vec::new();
    for index in 0..callers {
        let patience = Duration::from_micros(chance.below(3000));
        let command = commands && chance.below(2) == 0;
        handles.push(running.spawn(hasty(stage.pool.clone(), stage.side, patience, command)));
        if chance.below(3) == 0 {
            let any = usize::try_from(chance.below(handles.len() as u64)).unwrap();
            handles[any].abort();
        }
        if index % 64 == 0 {
            tokio::task::yield_now().await;
        }
        let status = stage.status();
        assert!(status.active <= status.max_active, "{status:?}");
    }
    drain(running).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancelled_checkouts_loses_nothing() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| {
            config.write.max_active = 8;
            // A test at every checkout is one more place to be cut off.
            config.write.test_idle_after = Some(Duration::ZERO);
        })
        .await;
        storm(&stage, 4000, false).await;
        stage.assert_conserved().await;
    }
}

/// Without commands and tests nothing is ever closed, so the server may never see one too many.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_storm_of_cancelled_checkouts_every_connection_is_kept() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 8).await;
        let watcher = Watcher::start(stage.server(), &stage.name);
        storm(&stage, 4000, false).await;
        stage.assert_conserved().await;
        let status = stage.status();
        assert_eq!(watcher.most(), 8, "{side:?} {status:?}");
        assert_eq!(
            (status.created, status.discards.total()),
            (8, 0),
            "{status:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_cancelled_commands_loses_nothing() {
    for side in Side::BOTH {
        let stage = Stage::shared(side, |config| config.write.max_active = 8).await;
        stage.assert_conserved().await;
        let base = alive_tasks();
        storm(&stage, 2000, true).await;
        stage.assert_conserved().await;
        tasks_are_back_to(base).await;
    }
}

/// Where a checkout can be when it is dropped.
#[derive(Debug, Clone, Copy)]
enum Scene {
    /// It has to dial.
    Empty,
    /// It finds an idle connection and tests it.
    Testing,
    /// It waits for a connection, which comes.
    Waiting,
}

/// Drops a checkout at each of its await points: at once, and when what it waits for has come.
#[tokio::test]
async fn a_checkout_dropped_on_its_way_loses_nothing() {
    for side in Side::BOTH {
        for scene in [Scene::Empty, Scene::Testing, Scene::Waiting] {
            for on_wake in [false, true] {
                let mut completed = false;
                for polls in 0..20 {
                    completed = drop_after(side, scene, polls, on_wake).await;
                    if completed {
                        assert!(polls > 1, "{scene:?} never waits");
                        break;
                    }
                }
                assert!(completed, "{side:?} {scene:?} takes too many polls");
            }
        }
    }
}

async fn drop_after(side: Side, scene: Scene, polls: usize, on_wake: bool) -> bool {
    let stage = Stage::shared(side, |config| {
        config.write.max_active = 2;
        config.write.max_idle = Some(2);
        if matches!(scene, Scene::Testing) {
            config.write.test_idle_after = Some(Duration::ZERO);
        }
    })
    .await;
    let mut lent = match scene {
        Scene::Empty => Vec::new(),
        Scene::Testing | Scene::Waiting => stage.take_many(2).await,
    };
    if matches!(scene, Scene::Testing) {
        lent.clear();
    }
    let checkout = async {
        if polls == 0 {
            // Never polled at all.
            drop(stage.checkout());
            None
        } else if on_wake {
            poll_then_drop_on_wake(stage.checkout(), polls).await
        } else {
            poll_then_drop(stage.checkout(), polls).await
        }
    };
    let give_back = async {
        if matches!(scene, Scene::Waiting) && polls > 0 {
            eventually("it waits or has left", LONG, || async {
                !on_wake || stage.status().waiting == 1
            })
            .await;
            lent.pop();
        }
    };
    let (outcome, ()) = tokio::join!(checkout, give_back);
    drop(lent);
    let completed = outcome.map(|conn| drop(conn.unwrap())).is_some();
    let wasted = stage.discarded(Discard::Cancelled);
    let tested = u64::from(matches!(scene, Scene::Testing));
    assert!(
        wasted <= tested,
        "{side:?} {scene:?} after {polls}: {:?}",
        stage.status()
    );
    stage.assert_conserved().await;
    completed
}

#[tokio::test]
async fn a_dial_that_arrives_for_somebody_who_left_is_for_the_next() {
    let stage = Stage::shared(Side::Write, |config| config.write.max_active = 1).await;
    for polls in 1..4 {
        let dropped = poll_then_drop_on_wake(stage.checkout(), polls).await;
        if dropped.is_some() {
            break;
        }
        drop(stage.take().await);
        let status = stage.status();
        assert_eq!((status.created, status.active), (1, 1), "{status:?}");
    }
    stage.assert_conserved().await;
}

async fn panics(conn: Connection, midway: bool) {
    let mut conn = AssertUnwindSafe(conn);
    if midway {
        let mut block = cmd("XREAD");
        block
            .arg("BLOCK")
            .arg(0)
            .arg("STREAMS")
            .arg("no-such")
            .arg("$");
        let command = block.exec_async(&mut *conn);
        let _ = tokio::time::timeout(Duration::from_millis(5), async {
            let _ = poll_then_drop(command, 1).await;
        })
        .await;
    } else {
        cmd("PING").exec_async(&mut *conn).await.unwrap();
    }
    panic!("on purpose");
}

#[tokio::test]
async fn a_panic_with_a_connection_in_hand_leaks_nothing() {
    for side in Side::BOTH {
        for midway in [false, true] {
            let stage = Stage::shared(side, |config| config.write.max_active = 2).await;
            for _ in 0..5 {
                let conn = stage.take().await;
                let outcome = tokio::spawn(panics(conn, midway)).await;
                assert!(outcome.unwrap_err().is_panic());
            }
            let expected = if midway { 5 } else { 0 };
            assert_eq!(stage.discarded(Discard::Cancelled), expected, "{side:?}");
            stage.assert_conserved().await;
        }
    }
}
