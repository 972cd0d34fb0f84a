//! Scripts over handles whose commands go now to one node, now to another.

use redis::{RedisResult, Script, Value, aio::ConnectionLike, pipe};
use redis_rw_pool::{Outcome, Pool, ReadFrom, outcome};
use testkit::Deployment;
use tokio::task::{JoinSet, block_in_place};

use crate::support::{self, SOON, ask, cmd, readable_are, single};

/// Both replicas are asked for something.
const OFTEN: usize = 20;

pub(super) async fn pool(deployment: &Deployment) -> Pool {
    let pool = support::pool(deployment, |config| config.read_from = ReadFrom::Replica).await;
    readable_are(&pool, 2, SOON).await;
    pool
}

fn flush(deployment: &Deployment) {
    for node in deployment.nodes() {
        block_in_place(|| node.cmd(&["SCRIPT", "FLUSH"]));
    }
}

pub(super) fn call(command: &str, text: &str) -> redis::Cmd {
    let mut call = cmd(command);
    call.arg(Script::new(text).get_hash()).arg(0);
    call
}

async fn returns(conn: &mut impl ConnectionLike, text: &str, number: i64) {
    let info: Vec<Value> = ask(conn, "COMMAND INFO EVALSHA_RO").await;
    let last = if info == [Value::Nil] {
        "evalsha"
    } else {
        "EVALSHA_RO"
    };
    for command in ["EVALSHA", last] {
        for _ in 0..OFTEN {
            let result: RedisResult<i64> = call(command, text).query_async(conn).await;
            assert_eq!(result, Ok(number), "{command} {text}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_runs_whichever_replica_its_commands_go_to() {
    let deployment = Deployment::start();
    let pool = pool(&deployment).await;
    let mut tasks = JoinSet::new();
    for task in 0..4 {
        let mut reader = pool.reader();
        tasks.spawn(async move {
            for n in 0..50 {
                let script = Script::new(&format!("return {n} -- of {task}"));
                let result: RedisResult<i64> = script.invoke_async(&mut reader).await;
                assert_eq!(result, Ok(n));
            }
        });
    }
    tasks.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_known_however_it_was_sent_first() {
    let deployment = Deployment::start();
    let pool = pool(&deployment).await;
    let load = |text: &str| cmd("SCRIPT LOAD").arg(text).take();
    let eval = |text: &str| cmd("EVAL").arg(text).arg(0).take();
    let (mut reader, mut writer) = (pool.reader(), pool.writer());
    let () = load("return 1").query_async(&mut reader).await.unwrap();
    let () = load("return 2").query_async(&mut writer).await.unwrap();
    let () = eval("return 3").query_async(&mut reader).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let () = load("return 4").query_async(&mut conn).await.unwrap();
    let mut both = pipe();
    both.add_command(load("return 5"))
        .add_command(eval("return 6"));
    let () = both
        .query_async(&mut pool.read().await.unwrap())
        .await
        .unwrap();
    let mut both = pipe();
    both.atomic()
        .add_command(load("return 7"))
        .add_command(eval("return 8"));
    let () = both.query_async(&mut writer).await.unwrap();
    for number in 1..=8 {
        let text = format!("return {number}");
        returns(&mut reader, &text, number).await;
        returns(&mut writer, &text, number).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_script_is_known_after_a_flush_a_restart_and_a_failover() {
    let deployment = Deployment::start();
    let pool = pool(&deployment).await;
    let (mut reader, mut writer) = (pool.reader(), pool.writer());
    let text = "return 7";
    let () = cmd("SCRIPT LOAD")
        .arg(text)
        .query_async(&mut reader)
        .await
        .unwrap();
    for _ in 0..3 {
        flush(&deployment);
        returns(&mut reader, text, 7).await;
        returns(&mut writer, text, 7).await;
    }
    let () = ask(&mut writer, "SCRIPT FLUSH").await;
    returns(&mut writer, text, 7).await;
    for replica in deployment.replicas() {
        block_in_place(|| {
            replica.kill();
            replica.restart();
        });
    }
    block_in_place(|| deployment.wait_healthy(SOON));
    readable_are(&pool, 2, SOON).await;
    returns(&mut reader, text, 7).await;
    flush(&deployment);
    block_in_place(|| deployment.failover());
    returns(&mut writer, text, 7).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_pipeline_a_script_is_loaded_where_nothing_has_been_executed_behind_it() {
    let deployment = Deployment::start();
    let pool = pool(&deployment).await;
    let mut writer = pool.writer();
    let text = "return redis.call('INCR', 'scripts:n')";
    let () = cmd("SCRIPT LOAD")
        .arg(text)
        .query_async(&mut writer)
        .await
        .unwrap();
    let script = || call("EVALSHA", text);
    let of = |cmds: &[redis::Cmd]| {
        let mut pipeline = pipe();
        for cmd in cmds {
            pipeline.add_command(cmd.clone());
        }
        pipeline
    };
    let (incr, get) = (cmd("INCR scripts:n"), cmd("GET scripts:n"));
    for (what, cmds, replies) in [
        ("alone", &[script()][..], &[1][..]),
        ("last", &[incr.clone(), script()], &[1, 2]),
        ("twice", &[script(), script()], &[1, 2]),
        (
            "with reads",
            &[
                incr.clone(),
                get.clone(),
                script(),
                get.clone(),
                script(),
                get.clone(),
            ],
            &[1, 1, 2, 2, 3, 3],
        ),
        ("ahead of a write", &[script(), incr.clone()], &[]),
    ] {
        flush(&deployment);
        let () = ask(&mut writer, "DEL scripts:n").await;
        let result: RedisResult<Vec<i64>> = of(cmds).query_async(&mut writer).await;
        if replies.is_empty() {
            let error = result.expect_err(what);
            assert!(error.to_string().contains("No matching script"), "{error}");
            // The write had been executed, and the script must not come behind it.
            let n: i64 = ask(&mut writer, "GET scripts:n").await;
            assert_eq!(n, 1, "{what}");
        } else {
            assert_eq!(result.expect(what), replies, "{what}");
        }
    }
    // What the documentation advises for the others.
    for atomic in [false, true] {
        flush(&deployment);
        let () = ask(&mut writer, "DEL scripts:n").await;
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        pipeline.load_script(&Script::new(text)).ignore();
        pipeline.add_command(script()).add_command(incr.clone());
        let replies: Vec<i64> = pipeline.query_async(&mut writer).await.unwrap();
        assert_eq!(replies, [1, 2]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_that_a_script_makes_up_does_not_run_it_again() {
    let deployment = Deployment::start();
    let pool = pool(&deployment).await;
    let mut writer = pool.writer();
    let text = "redis.call('INCR', 'scripts:made-up') return redis.error_reply('NOSCRIPT mine')";
    let () = cmd("SCRIPT LOAD")
        .arg(text)
        .query_async(&mut writer)
        .await
        .unwrap();
    let result: RedisResult<Value> = call("EVALSHA", text).query_async(&mut writer).await;
    assert_eq!(result.unwrap_err().code(), Some("NOSCRIPT"));
    let runs: i64 = ask(&mut writer, "GET scripts:made-up").await;
    assert_eq!(runs, 1);
}

#[tokio::test]
async fn what_nobody_has_sent_is_for_the_caller_to_load() {
    let pool = single("scripts-unknown", |_| {}).await;
    let mut writer = pool.writer();
    let result: RedisResult<Value> = call("EVALSHA", "never sent").query_async(&mut writer).await;
    let error = result.unwrap_err();
    assert_eq!(error.code(), Some("NOSCRIPT"));
    assert_eq!(outcome(&error), Outcome::NotExecuted);
}
