//! What a replica would take and must not be sent: a message that reaches its own subscribers only,
//! and what is about the clients and scripts of one node.

use redis::{ErrorKind, RedisResult, Value, aio::ConnectionLike, pipe};
use redis_rw_pool::{Outcome, Pool, ReadFrom, outcome};
use testkit::Deployment;

use crate::support::{self, SOON, ask, cmd, eventually, knows, run};

const PUBLISHES: [&str; 3] = ["PUBLISH news hot", "publish news hot", "SPUBLISH news hot"];

async fn pool(deployment: &Deployment, policy: ReadFrom) -> Pool {
    let pool = support::pool(deployment, |config| config.read_from = policy).await;
    eventually("both replicas are readable", SOON, || async {
        pool.topology().readable().count() == 2
    })
    .await;
    pool
}

/// Without `PUBLISH`, which the Sentinels send as well.
fn published(deployment: &Deployment) -> u64 {
    let nodes = deployment.nodes().iter();
    nodes.map(|node| node.command_stat("spublish")).sum()
}

/// By every way in which a handle takes a command.
async fn by_every_way(conn: &mut impl ConnectionLike, line: &str) -> Vec<RedisResult<Value>> {
    let mut results = vec![run(conn, line).await];
    for atomic in [false, true] {
        for at in 0..2 {
            let mut lines = vec!["GET k"];
            lines.insert(at, line);
            let mut pipeline = pipe();
            if atomic {
                pipeline.atomic();
            }
            for line in lines {
                pipeline.add_command(cmd(line));
            }
            results.push(pipeline.query_async(conn).await);
        }
    }
    let silent = cmd(line).set_no_response(true).query_async(conn).await;
    results.push(silent);
    results
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_not_published_where_only_a_replicas_subscribers_get_it() {
    let deployment = Deployment::start();
    let before = published(&deployment);
    for policy in [ReadFrom::Replica, ReadFrom::ReplicaPreferred, ReadFrom::Any] {
        let pool = pool(&deployment, policy).await;
        let (mut reader, mut conn) = (pool.reader(), pool.read().await.unwrap());
        for line in PUBLISHES {
            let mut results = by_every_way(&mut reader, line).await;
            results.extend(by_every_way(&mut conn, line).await);
            let () = ask(&mut conn, "MULTI").await;
            results.push(run(&mut conn, line).await);
            let () = ask(&mut conn, "GET k").await;
            let replies: Vec<Value> = ask(&mut conn, "EXEC").await;
            assert_eq!(replies, [Value::Nil], "the transaction is as it was");
            for result in results {
                let error = result.expect_err(line);
                assert_eq!(error.kind(), ErrorKind::Client, "{error}");
                assert_eq!(outcome(&error), Outcome::NotExecuted);
                let text = error.to_string();
                assert!(text.contains("pool.writer()"), "{line}, {policy:?}: {text}");
            }
        }
        let () = ask(&mut reader, "GET k").await;
        let () = ask(&mut reader, "PUBSUB NUMSUB news").await;
    }
    assert_eq!(published(&deployment), before, "none was sent");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_is_published_at_the_master() {
    let deployment = Deployment::start();
    let pool = pool(&deployment, ReadFrom::Master).await;
    for line in PUBLISHES {
        if line.starts_with("SP") && !knows(deployment.master(), "SPUBLISH") {
            continue;
        }
        for result in by_every_way(&mut pool.reader(), line).await {
            result.unwrap();
        }
        for result in by_every_way(&mut pool.writer(), line).await {
            result.unwrap();
        }
        for mut conn in [pool.read().await.unwrap(), pool.write().await.unwrap()] {
            for result in by_every_way(&mut conn, line).await {
                result.unwrap();
            }
        }
    }
}

const ONE_NODE: [&str; 6] = [
    "CLIENT KILL ID 1000000",
    "CLIENT UNBLOCK 1000000",
    "CLIENT PAUSE 0",
    "CLIENT UNPAUSE",
    "SCRIPT KILL",
    "FUNCTION KILL",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_about_one_nodes_own_clients_is_not_sent_to_any_of_several() {
    let deployment = Deployment::start();
    for policy in [ReadFrom::Replica, ReadFrom::ReplicaPreferred, ReadFrom::Any] {
        let pool = pool(&deployment, policy).await;
        for line in ONE_NODE {
            for result in by_every_way(&mut pool.reader(), line).await {
                let error = result.expect_err(line);
                assert_eq!(error.kind(), ErrorKind::Client, "{error}");
                assert!(error.to_string().contains("pool.read()"), "{error}");
            }
            // The node answers, whatever it thinks of it.
            let mut handles = (pool.writer(), pool.read().await.unwrap());
            for result in [
                run::<Value>(&mut handles.0, line).await,
                run::<Value>(&mut handles.1, line).await,
            ] {
                assert!(
                    result
                        .as_ref()
                        .map_or_else(|error| error.code().is_some(), |_| true),
                    "{line}: {result:?}"
                );
            }
        }
    }
}
