//! How long calls take is measured by role, for those who ask for it.

use std::time::Duration;

use redis_rw_pool::{
    Config, Durations, Measure, Pool,
    redis::{AsyncCommands, Pipeline, RedisResult, Script, Value, cmd, pipe},
};
use testkit::Server;

const FAMILY: &str = "db_client_operation_duration_seconds";

async fn pool(server: &Server, measure: Measure) -> Pool {
    let mut config = Config::standalone(server.addr());
    config.measure = measure;
    Pool::connect(config).await.unwrap()
}

fn durations(pool: &Pool) -> Durations {
    pool.status().durations.expect("it was asked for")
}

fn counts(pool: &Pool) -> (u64, u64) {
    let durations = durations(pool);
    (durations.write.count(), durations.read.count())
}

#[tokio::test]
async fn by_default_no_call_is_timed() {
    let server = Server::standalone(&[]);
    let pool = pool(&server, Measure::default()).await;
    let () = pool.writer().set("key", 1).await.unwrap();
    let () = pool.write().await.unwrap().set("key", 1).await.unwrap();
    let status = pool.status();
    assert_eq!(status.durations, None);
    let text = status.openmetrics();
    let numbers = |line: &&str| line.starts_with(FAMILY);
    assert_eq!(text.lines().find(numbers), None);
}

#[tokio::test]
async fn every_call_is_timed_once_by_role_however_it_is_made() {
    let server = Server::standalone(&[]);
    let pool = pool(&server, Measure::Commands).await;
    assert_eq!(
        counts(&pool),
        (0, 0),
        "the pool's own commands do not count"
    );

    let mut conn = pool.write().await.unwrap();
    let () = conn.set("key", 1).await.unwrap();
    let () = pipe()
        .incr("key", 1)
        .incr("key", 1)
        .query_async(&mut conn)
        .await
        .unwrap();
    let () = pipe()
        .atomic()
        .incr("key", 1)
        .query_async(&mut conn)
        .await
        .unwrap();
    // An error reply is a reply.
    conn.lpush::<_, _, i64>("key", 1).await.unwrap_err();
    assert_eq!(counts(&pool), (4, 0));
    // WATCH, and the transaction.
    let work = |mut conn: redis_rw_pool::Connection, mut pipeline: Pipeline| async move {
        pipeline.incr("key", 1).query_async(&mut conn).await
    };
    let _: Vec<i64> = conn.transaction("key", work).await.unwrap();
    assert_eq!(counts(&pool), (6, 0));

    let mut writer = pool.writer();
    let () = writer.set("key", 1).await.unwrap();
    let () = writer.clone().set("key", 1).await.unwrap();
    let () = pipe()
        .incr("key", 1)
        .query_async(&mut writer)
        .await
        .unwrap();
    let session = pool.session();
    let () = session.writer().set("key", 2).await.unwrap();
    let () = session.write().await.unwrap().set("key", 2).await.unwrap();
    assert_eq!(counts(&pool), (11, 0));
    // The script is loaded within the one call that needs it, besides the one that finds out.
    let script = Script::new("return 1");
    let one: i64 = script.invoke_async(&mut writer).await.unwrap();
    assert_eq!(one, 1);
    let (write, read) = counts(&pool);
    assert!((12..=14).contains(&write) && read == 0, "{write} {read}");

    let _: i64 = pool.reader().get("key").await.unwrap();
    let _: i64 = session.reader().get("key").await.unwrap();
    let _: i64 = pool.read().await.unwrap().get("key").await.unwrap();
    pool.reader()
        .within(Duration::from_secs(1))
        .get::<_, i64>("key")
        .await
        .unwrap();
    assert_eq!(counts(&pool), (write, 4));

    pool.ping(Duration::from_secs(5)).await.unwrap();
    assert_eq!(
        counts(&pool),
        (write, 4),
        "a ping of the pool's own does not count"
    );
    let text = pool.status().openmetrics();
    for (role, count) in [("write", write), ("read", 4)] {
        let line = format!(
            "{FAMILY}_count{{db_system_name=\"redis\",redis_rw_pool_role=\"{role}\"}} {count}\n"
        );
        assert!(text.contains(&line), "{line} in {text}");
    }
}

#[tokio::test]
async fn the_time_is_that_of_the_caller_and_a_call_that_is_dropped_does_not_count() {
    let server = Server::standalone(&[]);
    let pool = pool(&server, Measure::Commands).await;
    let mut conn = pool.write().await.unwrap();
    let blocks = |seconds: f64| cmd("BLPOP").arg("nothing").arg(seconds).take();
    let nothing: RedisResult<Value> = blocks(0.2).query_async(&mut conn).await;
    assert_eq!(nothing.unwrap(), Value::Nil);
    let write = durations(&pool).write;
    assert_eq!(write.count(), 1);
    assert!(write.sum() >= Duration::from_millis(190), "{write:?}");

    let endless = blocks(60.0);
    let cut = tokio::time::timeout(Duration::from_millis(20), endless.exec_async(&mut conn));
    cut.await.expect_err("it is cut short");
    // Refused, before anything is sent: the caller has waited for that too.
    pool.writer()
        .blpop::<_, Value>("nothing", 1.0)
        .await
        .unwrap_err();
    assert_eq!(durations(&pool).write.count(), 2);
}
