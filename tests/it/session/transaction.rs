//! `Connection::transaction`: work on watched keys, done again until nobody has come in between.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering::SeqCst},
    },
    time::Duration,
};

use redis::{AsyncCommands, ErrorKind, RedisResult, cmd};
use redis_rw_pool::{Connection, Discard, Outcome, Pool, Retry, outcome};
use testkit::Deployment;
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, LONG, SECOND, Side, Stage, eventually, poll_then_drop, turn};

async fn alone() -> Stage {
    Stage::own(Side::Write, |config| config.write.max_active = 2).await
}

/// Reads, and writes one more, as everybody does who wants to show a transaction.
async fn increment(conn: &mut Connection, key: &str) -> RedisResult<i64> {
    let (count,) = conn
        .transaction(key, |mut conn, mut pipe| async move {
            let count: Option<i64> = conn.get(key).await?;
            pipe.set(key, count.unwrap_or(0) + 1).ignore().get(key);
            pipe.query_async::<Option<(i64,)>>(&mut conn).await
        })
        .await?;
    Ok(count)
}

fn value(stage: &Stage, key: &str) -> String {
    stage.server().cmd(&["GET", key]).as_str().to_owned()
}

/// The guard is as before: it goes back to its pool, with nothing watched.
async fn assert_clean(stage: &Stage, conn: Connection, created: u64) {
    drop(conn);
    let status = stage.status();
    assert_eq!((status.created, status.idle), (created, 1), "{status:?}");
    stage.assert_conserved().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_tasks_that_change_one_key_lose_no_change() {
    let stage = Stage::own(Side::Write, |config| config.write.max_active = 16).await;
    let mut tasks = JoinSet::new();
    for _ in 0..16 {
        let pool = stage.pool.clone();
        // The key is borrowed by the work, and all of it is sent to another thread.
        tasks.spawn(async move {
            let key = String::from("counter");
            for _ in 0..20 {
                let mut conn = pool.write().await?;
                increment(&mut conn, &key).await?;
            }
            RedisResult::Ok(())
        });
    }
    for result in tasks.join_all().await {
        result.unwrap();
    }
    assert_eq!(value(&stage, "counter"), "320");
    assert_eq!(stage.status().created, stage.status().active as u64);
    stage.assert_conserved().await;
}

#[tokio::test]
async fn a_change_in_between_begins_the_work_anew() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let rounds = AtomicU32::new(0);
    let (rounds, server) = (&rounds, stage.server());
    let (count,): (i64,) = conn
        .transaction(&["a", "b"], |mut conn, mut pipe| async move {
            let count: Option<i64> = conn.get("a").await?;
            if rounds.fetch_add(1, SeqCst) < 3 {
                server.cmd(&["INCR", "b"]);
            }
            pipe.set("a", count.unwrap_or(0) + 1).ignore().get("a");
            pipe.query_async(&mut conn).await
        })
        .await
        .unwrap();
    assert_eq!((count, rounds.load(SeqCst)), (1, 4));
    // Nothing is watched any more.
    stage.server().cmd(&["INCR", "a"]);
    let (count,): (i64,) = redis::pipe()
        .atomic()
        .incr("a", 1)
        .query_async(&mut conn)
        .await
        .unwrap();
    assert_eq!(count, 3);
    assert_clean(&stage, conn, 1).await;
}

#[tokio::test]
async fn it_gives_up_after_a_hundred_rounds_with_nothing_executed() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let rounds = AtomicU32::new(0);
    let (counted, server) = (&rounds, stage.server());
    let error = conn
        .transaction("a", |mut conn, mut pipe| async move {
            counted.fetch_add(1, SeqCst);
            server.cmd(&["INCR", "a"]);
            pipe.set("done", 1).ignore();
            pipe.query_async::<Option<()>>(&mut conn).await
        })
        .await
        .unwrap_err();
    assert_eq!(rounds.load(SeqCst), 100);
    assert_eq!(outcome(&error), Outcome::NotExecuted);
    assert!(error.to_string().contains("100 times"), "{error}");
    assert_eq!(stage.server().cmd(&["EXISTS", "done"]).as_int(), 0);
    assert_clean(&stage, conn, 1).await;
}

#[tokio::test]
async fn whatever_ends_the_work_early_leaves_the_connection_clean() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let error = conn
        .transaction("a", |mut conn, _| async move {
            let _: Option<String> = conn.get("a").await?;
            Err::<Option<()>, _>((ErrorKind::Client, "changed my mind").into())
        })
        .await
        .unwrap_err();
    assert!(error.to_string().contains("changed my mind"), "{error}");
    let early = conn.transaction("a", |_, _| async { Ok(Some(7)) }).await;
    assert_eq!(early.unwrap(), 7);
    let wrong = conn
        .transaction("a", |mut conn, _| async move {
            let () = conn.set("a", "text").await?;
            conn.incr::<_, _, i64>("a", 1).await.map(Some)
        })
        .await
        .unwrap_err();
    assert_eq!(outcome(&wrong), Outcome::Executed, "{wrong}");
    let none = conn.transaction(&[] as &[&str], |_, _| async { Ok(Some(())) });
    assert_eq!(outcome(&none.await.unwrap_err()), Outcome::NotExecuted);
    let nested = conn
        .transaction("a", |mut conn, _| async move {
            conn.transaction("b", |_, _| async { Ok(Some(())) })
                .await
                .map(Some)
        })
        .await
        .unwrap_err();
    assert!(nested.to_string().contains("within another"), "{nested}");
    assert_clean(&stage, conn, 1).await;
}

#[tokio::test]
async fn dropped_in_the_middle_it_leaves_nothing_watched() {
    for polls in 1..6 {
        let stage = alone().await;
        let mut conn = stage.take().await;
        let work = conn.transaction("a", |mut conn, mut pipe| async move {
            let _: Option<i64> = conn.get("a").await?;
            pipe.set("a", 5).ignore();
            pipe.query_async::<Option<()>>(&mut conn).await
        });
        if poll_then_drop(work, polls).await.is_some() {
            assert!(polls > 2);
            return;
        }
        // The guard works, over a fresh connection.
        stage.server().cmd(&["INCR", "a"]);
        let (count,): (i64,) = redis::pipe()
            .atomic()
            .incr("b", 1)
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(count, 1, "after {polls} polls");
        drop(conn);
        assert_eq!(stage.status().created, 2, "after {polls} polls");
        assert_eq!(
            stage.discarded(Discard::Cancelled) + stage.discarded(Discard::Dirty),
            1
        );
        stage.assert_conserved().await;
        // And one that comes back at once is closed.
        let mut conn = stage.take().await;
        let work = conn.transaction("a", |mut conn, _| async move {
            conn.blpop::<_, ()>("none", 0.0).await.map(Some)
        });
        assert!(
            tokio::time::timeout(Duration::from_millis(50), work)
                .await
                .is_err()
        );
        drop(conn);
        stage.assert_conserved().await;
    }
    panic!("it never came to its end");
}

#[tokio::test]
async fn a_state_that_the_caller_has_set_up_is_not_lost_without_a_word() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    cmd("SELECT").arg(3).exec_async(&mut conn).await.unwrap();
    assert_eq!(increment(&mut conn, "a").await.unwrap(), 1);
    let () = conn.set("here", 3).await.unwrap();
    let there: bool = conn.exists("a").await.unwrap();
    assert!(there, "still on database 3");
    let work = conn.transaction("a", |mut conn, _| async move {
        conn.blpop::<_, ()>("none", 0.0).await.map(Some)
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(50), work)
            .await
            .is_err()
    );
    let error = conn.get::<_, ()>("here").await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
}

#[tokio::test]
async fn a_pipeline_whose_reply_was_lost_is_not_sent_again() {
    let stage = Stage::own(Side::Write, |config| {
        config.write.max_active = 1;
        config.command_timeout = Some(SECOND);
    })
    .await;
    for (killed, asks_again) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut conn = stage.take().await;
        let rounds = AtomicU32::new(0);
        let (counted, server) = (&rounds, stage.server());
        let error = conn
            .transaction("a", |mut conn, mut pipe| async move {
                counted.fetch_add(1, SeqCst);
                server.pause();
                pipe.incr("lost", 1).ignore();
                let sent = pipe.query_async::<Option<()>>(&mut conn);
                let kill = async {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    if killed {
                        server.kill();
                    }
                };
                let (sent, ()) = tokio::join!(sent, kill);
                if asks_again { Ok(None) } else { sent }
            })
            .await
            .unwrap_err();
        assert_eq!(outcome(&error), Outcome::Unknown, "{killed} {error}");
        assert_eq!(rounds.load(SeqCst), 1);
        if killed {
            stage.server().restart();
        } else {
            stage.server().resume();
        }
        // The guard goes on over a fresh connection.
        let after = format!("after:{killed}:{asks_again}");
        assert_eq!(increment(&mut conn, &after).await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_pipeline_that_the_work_itself_has_given_up_is_not_sent_again() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let rounds = AtomicU32::new(0);
    let counted = &rounds;
    let server = stage.server();
    let error = conn
        .transaction("a", |mut conn, mut pipe| async move {
            counted.fetch_add(1, SeqCst);
            server.pause();
            pipe.incr("given-up", 1);
            let sent = pipe.query_async::<Option<()>>(&mut conn);
            let _ = tokio::time::timeout(Duration::from_millis(50), sent).await;
            server.resume();
            Ok(None::<()>)
        })
        .await
        .unwrap_err();
    assert_eq!(
        (outcome(&error), rounds.load(SeqCst)),
        (Outcome::Unknown, 1),
        "{error}"
    );
    assert_eq!(increment(&mut conn, "after").await.unwrap(), 1);
}

#[tokio::test]
async fn work_that_keeps_its_connection_leaves_a_guard_that_says_so() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let node = conn.node();
    let mut kept = conn
        .transaction("a", |conn, _| async move { Ok(Some(conn)) })
        .await
        .unwrap();
    let error = conn.get::<_, ()>("a").await.unwrap_err();
    assert_eq!(outcome(&error), Outcome::NotExecuted, "{error}");
    assert_eq!(
        outcome(&increment(&mut conn, "a").await.unwrap_err()),
        Outcome::NotExecuted
    );
    assert_eq!(conn.node(), node);
    let _ = format!("{conn:?}");
    cmd("PING").exec_async(&mut kept).await.unwrap();
    drop((conn, kept));
    assert_eq!(stage.discarded(Discard::Dirty), 1);
    stage.assert_conserved().await;
}

/// In the middle of its work the connection is lost: nothing was executed, so it begins anew.
#[tokio::test]
async fn a_connection_that_is_lost_before_the_pipeline_begins_the_work_anew() {
    let stage = alone().await;
    let mut conn = stage.take().await;
    let rounds = AtomicU32::new(0);
    let (counted, server, name) = (&rounds, stage.server(), &stage.name);
    let (count,): (i64,) = conn
        .transaction("a", |mut conn, mut pipe| async move {
            let count: Option<i64> = conn.get("a").await?;
            if counted.fetch_add(1, SeqCst) < 2 {
                for client in server.client_list() {
                    if client["name"] == *name {
                        server.cmd(&["CLIENT", "KILL", "ID", &client["id"]]);
                    }
                }
                // What is written before the end is noticed may have been executed.
                turn().await;
            }
            pipe.set("a", count.unwrap_or(0) + 1).ignore().get("a");
            pipe.query_async(&mut conn).await
        })
        .await
        .unwrap();
    assert_eq!((count, rounds.load(SeqCst)), (1, 3));
    assert_clean(&stage, conn, 3).await;
}

async fn incrementing(pool: Pool, stop: Arc<AtomicU32>, sure: Arc<AtomicU32>) -> u32 {
    let mut doubtful = 0;
    while stop.load(SeqCst) == 0 {
        let Ok(mut conn) = pool.write().await else {
            continue;
        };
        match increment(&mut conn, "counter").await {
            Ok(_) => drop(sure.fetch_add(1, SeqCst)),
            Err(error) => match outcome(&error) {
                Outcome::Unknown => doubtful += 1,
                // It should have begun anew.
                Outcome::NotExecuted | Outcome::Executed => panic!("{error}"),
            },
        }
    }
    doubtful
}

#[tokio::test(flavor = "multi_thread")]
async fn across_a_planned_failover_every_increment_counts_once() {
    let deployment = block_in_place(|| Deployment::builder().replicas(2).sentinels(3).start());
    let pool = support::pool(&deployment, |config| {
        config.command_timeout = Some(5 * SECOND);
    })
    .await;
    let (stop, sure) = (Arc::default(), Arc::<AtomicU32>::default());
    let mut writers = JoinSet::new();
    for _ in 0..4 {
        writers.spawn(incrementing(
            pool.clone(),
            Arc::clone(&stop),
            Arc::clone(&sure),
        ));
    }
    let reaches = |count: u32| {
        let sure = Arc::clone(&sure);
        eventually("they write", LONG, move || {
            let done = sure.load(SeqCst) >= count;
            async move { done }
        })
    };
    reaches(50).await;
    block_in_place(|| {
        // A replica that is still loading its first copy would lose what it has not got yet.
        let mut admin = deployment.nodes()[0].connect().unwrap();
        admin.call(&["SET", "in-step", "1"]).unwrap();
        assert_eq!(admin.call(&["WAIT", "2", "30000"]).unwrap().as_int(), 2);
    });
    let old = pool.topology().master.clone();
    block_in_place(|| deployment.failover());
    let moved = || async { pool.topology().master != old && pool.topology().fence.is_none() };
    eventually("the master moves", LONG, moved).await;
    let before = sure.load(SeqCst);
    reaches(before + 50).await;
    stop.store(1, SeqCst);
    let doubtful: u32 = writers.join_all().await.into_iter().sum();
    let counted: u32 = pool
        .retry_write(Retry::default(), |mut conn| async move {
            conn.get("counter").await
        })
        .await
        .unwrap();
    let sure = sure.load(SeqCst);
    assert!(
        (sure..=sure + doubtful).contains(&counted),
        "{sure} were told, {doubtful} are unknown, {counted} are there"
    );
}
