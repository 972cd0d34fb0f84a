//! Handles that share connections, on servers that are well.

use std::collections::BTreeSet;

use redis::{AsyncCommands, RedisResult, Value, pipe};
use redis_rw_pool::{Config, Multiplexed, MultiplexedStatus, Pool};
use testkit::{
    Server,
    fake::{self, SentinelView},
};
use tokio::task::JoinSet;

use crate::support::{
    SOON, Side, Stage, alive_tasks, ask, assert_hidden, cmd, eventually, id, run,
    tasks_are_back_to, watched_by,
};

pub(super) fn handle(stage: &Stage) -> Multiplexed {
    match stage.side {
        Side::Write => stage.pool.writer(),
        Side::Read => stage.pool.reader(),
    }
}

pub(super) fn status(stage: &Stage) -> MultiplexedStatus {
    let status = stage.pool.status();
    match stage.side {
        Side::Write => status.writer,
        Side::Read => status.reader,
    }
}

async fn on_server_are(server: &Server, name: &str, count: usize) {
    let what = format!("the server sees {count} connections");
    eventually(&what, SOON, || async {
        server.client_count_named(name) == count
    })
    .await;
}

/// The ids of the connections by which so many callers at once were served.
async fn ids(handle: &Multiplexed, callers: usize) -> BTreeSet<i64> {
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let mut handle = handle.clone();
        tasks.spawn(async move { id(&mut handle).await });
    }
    tasks.join_all().await.into_iter().collect()
}

#[tokio::test]
async fn a_handle_makes_no_connection_until_it_is_used() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |_| {}).await;
        let mut handle = handle(&stage);
        let unused = handle.clone();
        let mut nothing = MultiplexedStatus::default();
        nothing.max_in_flight = status(&stage).max_in_flight;
        assert_eq!(status(&stage), nothing);
        assert_eq!(stage.on_server(), 0);
        let _: String = ask(&mut handle, "PING").await;
        let used = status(&stage);
        assert_eq!((used.connections, used.created), (1, 1), "{used:?}");
        on_server_are(stage.server(), &stage.name, 1).await;
        let all = stage.pool.status();
        assert_eq!(all.writer.created + all.reader.created, 1, "{all:?}");
        assert_eq!((all.write.active, all.read.active), (0, 0), "{all:?}");
        drop(unused);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_share_one_connection() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |_| {}).await;
        let (first, other) = (handle(&stage), handle(&stage));
        let mut seen = ids(&first, 200).await;
        seen.extend(ids(&other, 200).await);
        assert_eq!(seen.len(), 1, "{side:?}");
        assert_eq!(status(&stage).created, 1);
    }
}

#[tokio::test]
async fn as_many_connections_are_made_and_used_as_are_configured() {
    for side in Side::BOTH {
        let stage = Stage::own(side, |config| config.multiplexed.connections = 3).await;
        let mut handle = handle(&stage);
        let _: String = ask(&mut handle, "PING").await;
        eventually("three are open", SOON, || async {
            status(&stage).connections == 3
        })
        .await;
        on_server_are(stage.server(), &stage.name, 3).await;
        assert_eq!(ids(&handle, 200).await.len(), 3, "{side:?}");
        assert_eq!(status(&stage).created, 3);
    }
}

#[tokio::test]
async fn no_secret_is_in_the_debug_text() {
    const SECRET: &str = "canary-77aa";
    let server = Server::standalone(&[&format!("requirepass {SECRET}")]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let mut config = Config::new([sentinel.addr()], "mymaster");
    config.password = Some(SECRET.into());
    let pool = Pool::connect(config).await.unwrap();
    let mut writer = pool.writer();
    assert_hidden(&format!("{writer:?}"), SECRET);
    let () = writer.set("k", SECRET).await.unwrap();
    assert_eq!(writer.get::<_, String>("k").await.unwrap(), SECRET);
    let text = format!("{writer:?} {writer:#?} {pool:?}");
    assert_hidden(&text, SECRET);
    assert!(text.contains(&server.addr()), "{text}");
}

#[tokio::test]
async fn a_handle_keeps_the_pool_alive_and_the_last_one_ends_it() {
    let server = Server::standalone(&[]);
    let sentinel = fake::sentinel(SentinelView::of_master(server.port()));
    let base = alive_tasks();
    for used_before in [false, true] {
        let name = format!("alive-{used_before}");
        let mut config = watched_by(&sentinel);
        config.client_name = Some(name.clone());
        let pool = Pool::connect(config).await.unwrap();
        let (mut writer, mut reader) = (pool.writer(), pool.reader());
        if used_before {
            let _: String = ask(&mut writer, "PING").await;
        }
        drop(pool);
        let _: String = ask(&mut writer.clone(), "PING").await;
        let _: String = ask(&mut reader, "PING").await;
        drop(writer);
        let _: String = ask(&mut reader, "PING").await;
        drop(reader);
        tasks_are_back_to(base).await;
        on_server_are(&server, &name, 0).await;
    }
}

#[tokio::test]
async fn a_transaction_with_a_bad_command_is_aborted_and_disturbs_nobody() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let mut writer = handle(&stage);
    let mut bad = pipe();
    bad.atomic().set("k", 1).cmd("NOSUCHCOMMAND").arg("x");
    for round in 0..20 {
        let mut other = writer.clone();
        let (aborted, echo): (RedisResult<Value>, String) =
            tokio::join!(bad.query_async(&mut writer), async {
                ask(&mut other, &format!("ECHO {round}")).await
            });
        let error = aborted.unwrap_err();
        assert!(
            error.to_string().contains("NOSUCHCOMMAND") || error.code() == Some("EXECABORT"),
            "{error}"
        );
        assert_eq!(echo, round.to_string());
    }
    assert_eq!(writer.get::<_, Option<i64>>("k").await.unwrap(), None);
    assert_eq!(status(&stage).created, 1);
}

#[tokio::test]
async fn what_only_looks_like_it_is_sent() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let mut writer = handle(&stage);
    for line in [
        "CLIENT ID",
        "CLIENT INFO",
        "CLIENT LIST",
        "XREAD STREAMS s 0",
        "PUBLISH c m",
        "SCRIPT LOAD return",
        "CONFIG GET maxmemory",
        "OBJECT HELP",
        "ECHO MULTI",
        "GET BLPOP",
    ] {
        let sent = run::<Value>(&mut writer, line).await;
        // Whatever the server thinks of it.
        assert!(
            sent.is_ok() || sent.as_ref().unwrap_err().code().is_some(),
            "{line}: {sent:?}"
        );
    }
    assert_eq!(status(&stage).created, 1);
}

#[tokio::test]
async fn an_empty_command_and_an_empty_pipeline_do_no_harm() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let mut writer = handle(&stage);
    let empty: RedisResult<Value> = redis::Cmd::new().query_async(&mut writer).await;
    assert!(empty.unwrap_err().to_string().contains("empty command"));
    let mut with_empty = pipe();
    with_empty.set("k", 1).add_command(redis::Cmd::new());
    let refused: RedisResult<Value> = with_empty.query_async(&mut writer).await;
    assert!(refused.unwrap_err().to_string().contains("empty command"));
    assert_eq!(writer.get::<_, Option<i64>>("k").await.unwrap(), None);
    let echo: String = ask(&mut writer, "ECHO after").await;
    assert_eq!(echo, "after");
}

#[tokio::test]
async fn a_command_sent_without_waiting_is_executed_and_shifts_no_reply() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let mut writer = handle(&stage);
    for round in 1..=50 {
        for line in ["INCR unwaited", "NOSUCHCOMMAND", "HGETALL none"] {
            let () = cmd(line)
                .set_no_response(true)
                .query_async(&mut writer)
                .await
                .unwrap();
        }
        let echo: String = ask(&mut writer, &format!("ECHO {round}")).await;
        assert_eq!(echo, round.to_string());
        let (a, b): (String, String) = pipe()
            .atomic()
            .cmd("ECHO")
            .arg("a")
            .cmd("ECHO")
            .arg("b")
            .query_async(&mut writer)
            .await
            .unwrap();
        assert_eq!((a.as_str(), b.as_str()), ("a", "b"));
    }
    assert_eq!(ask::<i64>(&mut writer, "GET unwaited").await, 50);
    let status = status(&stage);
    assert_eq!((status.created, status.in_flight), (1, 0), "{status:?}");
}

#[tokio::test]
async fn the_database_of_the_configuration_is_used() {
    let stage = Stage::own(Side::Write, |config| config.db = 5).await;
    let mut writer = handle(&stage);
    let () = writer.set("k", "v").await.unwrap();
    let info: String = ask(&mut writer, "CLIENT INFO").await;
    assert!(info.contains(" db=5 "), "{info}");
    assert_eq!(redis::aio::ConnectionLike::get_db(&writer), 5);
}

#[tokio::test]
async fn what_a_caller_gets_wrong_costs_no_connection() {
    let stage = Stage::own(Side::Write, |_| {}).await;
    let mut writer = handle(&stage);
    let () = writer.set("wrong", "text").await.unwrap();
    for _ in 0..20 {
        let (a, b, c) = tokio::join!(
            async { writer.clone().get::<_, i64>("wrong").await },
            async { writer.clone().lpush::<_, _, i64>("wrong", 1).await },
            async { writer.clone().get::<_, String>("wrong").await },
        );
        assert!(a.is_err());
        assert_eq!(b.unwrap_err().code(), Some("WRONGTYPE"));
        assert_eq!(c.unwrap(), "text");
    }
    assert_eq!(status(&stage).created, 1);
}
