//! The redis crate's vocabulary on a lent connection, and its errors.

use std::collections::{BTreeMap, HashMap};

use redis::{
    AsyncCommands, Pipeline, RedisResult, Script, Value,
    aio::{ConnectionLike, MultiplexedConnection},
    pipe,
};
use redis_rw_pool::{Connection, Pool, Protocol};

use crate::support::{SOON, ask, cmd, id, master, run, seen, single};

const PROTOCOLS: [Protocol; 2] = [Protocol::Resp2, Protocol::Resp3];

async fn ours(name: &str, protocol: Protocol) -> (Pool, Connection) {
    let pool = single(name, |config| config.protocol = protocol).await;
    let conn = pool.write().await.unwrap();
    (pool, conn)
}

/// The redis crate's own connection to the same server.
async fn theirs(protocol: Protocol) -> MultiplexedConnection {
    let version = match protocol {
        Protocol::Resp2 => "resp2",
        _ => "resp3",
    };
    let url = format!("redis://127.0.0.1:{}/?protocol={version}", master().port());
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(Some(SOON));
    let client = redis::Client::open(url).unwrap();
    let connection = client.get_multiplexed_async_connection_with_config(&config);
    connection.await.unwrap()
}

/// Everything a pipeline can run into, and the same for single commands.
fn pipelines() -> Vec<(&'static str, Pipeline)> {
    let of = |lines: &[&str]| {
        let mut pipeline = pipe();
        lines.iter().for_each(|line| {
            pipeline.add_command(cmd(line));
        });
        pipeline
    };
    let mut cases: Vec<(&str, Pipeline)> = [
        ("nothing", &[][..]),
        ("one", &["SET cmp:a 1"]),
        (
            "several",
            &["SET cmp:a 1", "GET cmp:a", "GET cmp:none", "INCR cmp:a"],
        ),
        ("wrong type", &["SET cmp:a 1", "LPUSH cmp:a x", "GET cmp:a"]),
        (
            "several errors",
            &[
                "LPUSH cmp:a x",
                "GET cmp:a",
                "NOSUCHCOMMAND a b",
                "GET",
                "INCR cmp:text",
            ],
        ),
        (
            "unknown command",
            &["SET cmp:a 1", "NOSUCHCOMMAND a b", "GET cmp:a"],
        ),
        ("wrong arity", &["SET cmp:a", "GET cmp:a"]),
        ("only errors", &["NOSUCHCOMMAND", "SET cmp:a"]),
        ("last fails", &["GET cmp:a", "HGET cmp:a f"]),
        (
            "odd codes",
            &[
                "EVALSHA ffffffffffffffffffffffffffffffffffffffff 0",
                "XGROUP CREATE cmp:no g $",
                "OBJECT ENCODING",
            ],
        ),
        (
            "own code",
            &[
                "EVAL return{err='MYCODE'} 0",
                "EVAL return{err='MYCODE\u{a0}more'} 0",
            ],
        ),
        ("nested", &["EVAL return{1,{2,{err='ERR\u{a0}inner'}}} 0"]),
        (
            "hash",
            &["DEL cmp:h", "HSET cmp:h a 1 b 2", "HGETALL cmp:h"],
        ),
        ("select out of range", &["SELECT 1000000"]),
        ("nested multi", &["MULTI", "SET cmp:a 1", "EXEC"]),
    ]
    .map(|(what, lines)| (what, of(lines)))
    .into();
    let mut ignoring = of(&["SET cmp:a 1", "GET cmp:a"]);
    ignoring.cmd("SET").arg("cmp:a").arg(2).ignore();
    ignoring.cmd("LPUSH").arg("cmp:a").arg(2).ignore();
    cases.push(("ignored ones", ignoring));
    let mut some = of(&[]);
    some.cmd("SET").arg("cmp:a").arg(2).ignore();
    some.cmd("GET").arg("cmp:a");
    cases.push(("some ignored", some));
    let with = |cases: &[(&'static str, Pipeline)], change: fn(&mut Pipeline)| {
        let changed = cases.iter().map(|(what, pipeline)| {
            let mut pipeline = pipeline.clone();
            change(&mut pipeline);
            (*what, pipeline)
        });
        changed.collect::<Vec<_>>()
    };
    let atomic = with(&cases, |pipeline| {
        pipeline.atomic();
    });
    cases.extend(atomic);
    let lenient = with(&cases, |pipeline| {
        pipeline.ignore_errors();
    });
    cases.extend(lenient);
    cases
}

async fn observe(conn: &mut impl ConnectionLike, pipeline: &Pipeline) -> [String; 5] {
    let () = pipe()
        .del("cmp:a")
        .del("cmp:h")
        .set("cmp:text", "text")
        .query_async(conn)
        .await
        .unwrap();
    let (offset, count) = match pipeline.is_transaction() {
        true => (pipeline.len() + 1, 1),
        false => (0, pipeline.len()),
    };
    let raw = match pipeline.is_empty() {
        true => Ok(Vec::new()),
        false => conn.req_packed_commands(pipeline, offset, count).await,
    };
    [
        seen(pipeline.query_async::<Value>(conn).await),
        seen(pipeline.query_async::<Vec<Value>>(conn).await),
        seen(pipeline.query_async::<Vec<Option<String>>>(conn).await),
        seen(pipeline.exec_async(conn).await),
        seen(raw),
    ]
}

/// What a shared connection refuses before it is sent.
const UNSHAREABLE: [&str; 2] = ["select out of range", "nested multi"];

async fn side_by_side(protocol: Protocol) {
    let name = format!("commands-compare-{protocol:?}");
    let (pool, mut ours) = ours(&name, protocol).await;
    let mut theirs = theirs(protocol).await;
    for (what, pipeline) in pipelines() {
        compare(&mut ours, &mut theirs, what, &pipeline).await;
        if !UNSHAREABLE.contains(&what) {
            compare(&mut pool.writer(), &mut theirs, what, &pipeline).await;
        }
    }
}

async fn compare(
    ours: &mut impl ConnectionLike,
    theirs: &mut MultiplexedConnection,
    what: &str,
    pipeline: &Pipeline,
) {
    let expected = observe(theirs, pipeline).await;
    let got = observe(ours, pipeline).await;
    assert_eq!(
        got,
        expected,
        "{what}, atomic: {}",
        pipeline.is_transaction()
    );
    for cmd in pipeline.cmd_iter() {
        let words: Vec<_> = cmd.args_iter().collect();
        if matches!(words[0], redis::Arg::Simple(b"MULTI" | b"EXEC")) {
            continue;
        }
        let got = cmd.query_async::<Value>(ours).await;
        let expected = cmd.query_async::<Value>(theirs).await;
        // What succeeds may count, and then the second answer is another.
        if got.is_err() || expected.is_err() {
            assert_eq!(seen(got), seen(expected), "{what}");
        }
    }
}

// In one test, since both would use the same keys at once.
#[tokio::test]
async fn pipelines_give_what_the_redis_crates_own_connection_gives_errors_included() {
    for protocol in PROTOCOLS {
        side_by_side(protocol).await;
    }
}

#[tokio::test]
async fn a_transaction_whose_watched_key_changed_gives_nil_as_with_the_redis_crate() {
    async fn outcome(conn: &mut impl ConnectionLike, key: &str) -> [String; 2] {
        let mut transaction = pipe();
        transaction.atomic().incr(key, 1).get(key);
        let () = redis::cmd("WATCH")
            .arg(key)
            .query_async(conn)
            .await
            .unwrap();
        master().cmd(&["INCR", key]);
        let typed = transaction.query_async::<Option<(i64, i64)>>(conn).await;
        let () = redis::cmd("WATCH")
            .arg(key)
            .query_async(conn)
            .await
            .unwrap();
        master().cmd(&["INCR", key]);
        [
            seen(typed),
            seen(transaction.query_async::<Value>(conn).await),
        ]
    }
    for protocol in PROTOCOLS {
        let (pool, mut ours) = ours("commands-watch", protocol).await;
        let own = id(&mut ours).await;
        let got = outcome(&mut ours, "commands:watch:ours").await;
        let expected = outcome(&mut theirs(protocol).await, "commands:watch:theirs").await;
        assert_eq!(got, expected);
        assert_eq!(got[0], "None");
        drop(ours);
        assert_eq!(id(&mut pool.write().await.unwrap()).await, own);
    }
}

#[tokio::test]
async fn the_vocabulary_of_async_commands() {
    for protocol in PROTOCOLS {
        let (pool, mut conn) = ours("commands-vocabulary", protocol).await;
        vocabulary(protocol, &mut conn).await;
        vocabulary(protocol, &mut pool.writer()).await;
    }
}

async fn vocabulary(protocol: Protocol, conn: &mut impl AsyncCommands) {
    let keys = ["s", "n", "l", "h", "set", "z", "x", "bin"].map(|key| format!("voc:{key}"));
    let () = conn.del(&keys).await.unwrap();
    let () = conn.set("voc:s", "text").await.unwrap();
    assert_eq!(conn.get::<_, String>("voc:s").await.unwrap(), "text");
    assert_eq!(conn.get::<_, Option<String>>("voc:no").await.unwrap(), None);
    assert_eq!(conn.incr::<_, _, i64>("voc:n", 41).await.unwrap(), 41);
    assert_eq!(conn.incr::<_, _, f64>("voc:n", 0.5).await.unwrap(), 41.5);
    assert!(conn.exists::<_, bool>("voc:n").await.unwrap());
    assert!(conn.expire::<_, bool>("voc:n", 100).await.unwrap());
    assert_eq!(
        conn.rpush::<_, _, i64>("voc:l", &[1, 2, 3]).await.unwrap(),
        3
    );
    let list: Vec<i64> = conn.lrange("voc:l", 0, -1).await.unwrap();
    assert_eq!(list, [1, 2, 3]);
    let () = conn
        .hset_multiple("voc:h", &[("a", 1), ("b", 2)])
        .await
        .unwrap();
    let hash: HashMap<String, i64> = conn.hgetall("voc:h").await.unwrap();
    assert_eq!(
        hash,
        HashMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)])
    );
    let raw: Value = conn.hgetall("voc:h").await.unwrap();
    match protocol {
        Protocol::Resp2 => assert!(matches!(raw, Value::Array(items) if items.len() == 4)),
        _ => assert!(matches!(raw, Value::Map(pairs) if pairs.len() == 2)),
    }
    assert_eq!(
        conn.sadd::<_, _, i64>("voc:set", &["a", "b"])
            .await
            .unwrap(),
        2
    );
    let set: std::collections::BTreeSet<String> = conn.smembers("voc:set").await.unwrap();
    assert_eq!(set.len(), 2);
    let () = conn.zadd("voc:z", "m", 1.5).await.unwrap();
    let scores: Vec<(String, f64)> = conn.zrange_withscores("voc:z", 0, -1).await.unwrap();
    assert_eq!(scores, [("m".to_owned(), 1.5)]);
    let score: Option<f64> = conn.zscore("voc:z", "m").await.unwrap();
    assert_eq!(score, Some(1.5));
    let entry: String = conn
        .xadd("voc:x", "1-1", &[("field", "value")])
        .await
        .unwrap();
    assert_eq!(entry, "1-1");
    let read: redis::streams::StreamReadReply = conn.xread(&["voc:x"], &["0"]).await.unwrap();
    assert_eq!(read.keys[0].ids[0].get::<String>("field").unwrap(), "value");
    let bytes: Vec<u8> = (0..=255).chain(*b"\r\n$3\r\n\0").collect();
    let () = conn.set("voc:bin", &bytes).await.unwrap();
    assert_eq!(conn.get::<_, Vec<u8>>("voc:bin").await.unwrap(), bytes);
    let () = conn.set(b"\xff\r\n\0key", "odd").await.unwrap();
    assert_eq!(
        conn.get::<_, String>(b"\xff\r\n\0key").await.unwrap(),
        "odd"
    );
    let many: (String, Option<String>) = conn.mget(&["voc:s", "voc:no"]).await.unwrap();
    assert_eq!(many, ("text".to_owned(), None));
    assert_eq!(conn.get_db(), 0);
}

#[tokio::test]
async fn a_script_is_loaded_where_the_server_does_not_know_it() {
    let (pool, mut conn) = ours("commands-script", Protocol::Resp3).await;
    scripts(&mut conn).await;
    scripts(&mut pool.writer()).await;
}

async fn scripts(conn: &mut impl ConnectionLike) {
    let nonce = id(conn).await;
    let script = Script::new(&format!(
        "redis.call('SET', KEYS[1], ARGV[1]) return {{{nonce}, redis.call('GET', KEYS[1])}}"
    ));
    for _ in 0..2 {
        let (number, value): (i64, String) = script
            .key("commands:script")
            .arg("v")
            .invoke_async(conn)
            .await
            .unwrap();
        assert_eq!((number, value.as_str()), (nonce, "v"));
    }
    let mut pipeline = pipe();
    let unknown = Script::new("return 'never loaded'");
    pipeline.invoke_script(&unknown.prepare_invoke());
    let error = pipeline.query_async::<Value>(conn).await.unwrap_err();
    assert!(error.to_string().contains("No matching script"), "{error}");
    let failing = Script::new("return redis.call('LPUSH', KEYS[1], 1)");
    let error = failing
        .key("commands:script")
        .invoke_async::<Value>(conn)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("WRONGTYPE"), "{error}");
    if testkit::provides("the code of what failed in a script", (7, 0)) {
        assert_eq!(error.code(), Some("WRONGTYPE"), "{error}");
    }
}

#[tokio::test]
async fn scans_walk_over_everything_once() {
    let (_pool, mut conn) = ours("commands-scan", Protocol::Resp3).await;
    let pairs: Vec<(String, usize)> = (0..500).map(|n| (format!("scan:{n}"), n)).collect();
    let () = conn.mset(&pairs).await.unwrap();
    let () = conn.hset_multiple("commands:scan", &pairs).await.unwrap();
    let mut keys = Vec::new();
    {
        let mut scan = conn.scan_match::<_, String>("scan:*").await.unwrap();
        while let Some(key) = scan.next_item().await {
            keys.push(key.unwrap());
        }
    }
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), 500);
    let mut fields = BTreeMap::new();
    {
        let mut scan = conn
            .hscan::<_, (String, usize)>("commands:scan")
            .await
            .unwrap();
        while let Some(pair) = scan.next_item().await {
            let (field, value) = pair.unwrap();
            fields.insert(field, value);
        }
    }
    assert_eq!(fields, pairs.into_iter().collect());
    let echo: String = ask(&mut conn, "ECHO after").await;
    assert_eq!(echo, "after");
}

#[tokio::test]
async fn a_value_of_64_mib_passes_both_ways() {
    let (pool, mut conn) = ours("commands-large", Protocol::Resp3).await;
    let own = id(&mut conn).await;
    let value: Vec<u8> = (0..64 << 20).map(|n: u32| n.to_le_bytes()[1]).collect();
    let () = conn.set("commands:large", &value).await.unwrap();
    let back: Vec<u8> = conn.get("commands:large").await.unwrap();
    assert!(back == value, "64 MiB came back changed");
    let () = conn.del("commands:large").await.unwrap();
    drop(conn);
    assert_eq!(id(&mut pool.write().await.unwrap()).await, own);
}

#[tokio::test]
async fn a_list_of_10_000_comes_back_in_order() {
    let (_pool, mut conn) = ours("commands-list", Protocol::Resp3).await;
    let numbers: Vec<usize> = (0..10_000).collect();
    let () = conn.del("commands:list").await.unwrap();
    let () = conn.rpush("commands:list", &numbers).await.unwrap();
    let back: Vec<usize> = conn.lrange("commands:list", 0, -1).await.unwrap();
    assert_eq!(back, numbers);
}

/// 100 000 commands and 100 MB of replies: neither fits into the buffers of the sockets, so a
/// client that writes everything before it reads anything waits for ever.
#[tokio::test]
async fn a_pipeline_larger_than_every_buffer_does_not_deadlock() {
    let (_pool, mut conn) = ours("commands-pipeline", Protocol::Resp3).await;
    let value = "v".repeat(1_000);
    let () = conn.set("commands:pipeline", &value).await.unwrap();
    for atomic in [false, true] {
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        for n in 0..50_000 {
            pipeline
                .cmd("GETRANGE")
                .arg("commands:pipeline")
                .arg(0)
                .arg(-1);
            pipeline.cmd("ECHO").arg(n);
        }
        let replies: Vec<String> = pipeline.query_async(&mut conn).await.unwrap();
        assert_eq!(replies.len(), 100_000);
        for (n, pair) in replies.chunks_exact(2).enumerate() {
            assert!(pair[0] == value && pair[1] == n.to_string(), "at {n}");
        }
    }
    let mut large = pipe();
    for n in 0..64_u8 {
        large.cmd("ECHO").arg(&[n; 1 << 20][..]);
    }
    let replies: Vec<Vec<u8>> = large.query_async(&mut conn).await.unwrap();
    assert!((0..64_u8).all(|n| replies[usize::from(n)] == vec![n; 1 << 20]));
}

#[tokio::test]
async fn a_command_sent_without_waiting_is_executed_and_shifts_no_reply() {
    for protocol in PROTOCOLS {
        let (pool, mut conn) = ours("commands-unwaited", protocol).await;
        let () = conn.del("commands:unwaited").await.unwrap();
        for round in 1..=50 {
            for line in [
                "INCR commands:unwaited",
                "NOSUCHCOMMAND",
                "HGETALL commands:none",
            ] {
                let () = cmd(line)
                    .set_no_response(true)
                    .query_async(&mut conn)
                    .await
                    .unwrap();
            }
            if round % 2 == 0 {
                let echo: String = ask(&mut conn, &format!("ECHO {round}")).await;
                assert_eq!(echo, round.to_string());
            } else {
                let (a, b): (String, String) = pipe()
                    .cmd("ECHO")
                    .arg("a")
                    .cmd("ECHO")
                    .arg("b")
                    .query_async(&mut conn)
                    .await
                    .unwrap();
                assert_eq!((a.as_str(), b.as_str()), ("a", "b"));
            }
        }
        assert_eq!(ask::<i64>(&mut conn, "GET commands:unwaited").await, 50);
        let own = id(&mut conn).await;
        drop(conn);
        // All answers have been read by now, so the connection is as good as new ...
        let mut conn = pool.write().await.unwrap();
        assert_eq!(id(&mut conn).await, own);
        let () = cmd("GET commands:unwaited")
            .set_no_response(true)
            .query_async(&mut conn)
            .await
            .unwrap();
        drop(conn);
        // ... and now one is still to come.
        let mut conn = pool.write().await.unwrap();
        assert_ne!(id(&mut conn).await, own);
    }
}

#[tokio::test]
async fn pushes_between_replies_are_passed_over() {
    let (_pool, mut conn) = ours("commands-pushes", Protocol::Resp3).await;
    let () = ask(&mut conn, "CLIENT TRACKING ON BCAST PREFIX commands:pushed").await;
    for round in 0..50 {
        master().cmd(&["SET", "commands:pushed:other", "x"]);
        // Redis pushes the invalidation of our own write ahead of or after its reply.
        let () = conn.set("commands:pushed", round).await.unwrap();
        assert_eq!(conn.get::<_, i64>("commands:pushed").await.unwrap(), round);
        let both: (i64, String) = pipe()
            .atomic()
            .incr("commands:pushed", 1)
            .cmd("ECHO")
            .arg("e")
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(both, (round + 1, "e".to_owned()));
    }
}

#[tokio::test]
async fn an_empty_command_is_refused_without_harm() {
    let (_pool, mut conn) = ours("commands-empty", Protocol::Resp3).await;
    let empty: RedisResult<Value> = redis::Cmd::new().query_async(&mut conn).await;
    assert!(empty.unwrap_err().to_string().contains("empty command"));
    let echo: String = ask(&mut conn, "ECHO after").await;
    assert_eq!(echo, "after");
    // An empty argument and an empty key are something else.
    let echo: String = redis::cmd("ECHO")
        .arg("")
        .query_async(&mut conn)
        .await
        .unwrap();
    assert_eq!(echo, "");
    let error = run::<Value>(&mut conn, "\u{1}").await.unwrap_err();
    assert_eq!(error.code(), Some("ERR"));
}

#[tokio::test]
async fn what_a_caller_gets_wrong_costs_no_connection() {
    let (pool, mut conn) = ours("commands-wrong", Protocol::Resp3).await;
    let own = id(&mut conn).await;
    let () = conn.set("commands:wrong", "text").await.unwrap();
    // A reply that does not convert is the caller's mistake; the bytes have all been read.
    assert!(conn.get::<_, i64>("commands:wrong").await.is_err());
    assert!(conn.lpush::<_, _, i64>("commands:wrong", 1).await.is_err());
    assert!(
        pipe()
            .get("commands:wrong")
            .query_async::<(i64,)>(&mut conn)
            .await
            .is_err()
    );
    drop(conn);
    assert_eq!(id(&mut pool.write().await.unwrap()).await, own);
}

#[cfg(feature = "json")]
#[tokio::test(flavor = "multi_thread")]
async fn values_are_stored_as_json_and_read_back() {
    use redis_rw_pool::{Json, Outcome, outcome};

    let value = || Json(serde_json::json!({"name": "Ann", "tags": ["a", "b"]}));
    for protocol in PROTOCOLS {
        let (pool, mut conn) = ours("json", protocol).await;
        let () = conn.set_ex("json:one", value(), 60).await.unwrap();
        let () = conn.del(&["json:list", "json:hash"]).await.unwrap();
        let () = conn.rpush("json:list", &[Json(1), Json(2)]).await.unwrap();
        let () = conn.hset("json:hash", "field", value()).await.unwrap();
        let mut writer = pool.writer();
        type Text = Json<serde_json::Value>;
        let one: Text = writer.get("json:one").await.unwrap();
        assert_eq!(one, value());
        let none: Option<Text> = writer.get("json:none").await.unwrap();
        assert_eq!(none, None);
        let some: Vec<Option<Text>> = writer.mget(&["json:one", "json:none"]).await.unwrap();
        assert_eq!(some, [Some(value()), None]);
        let list: Vec<Json<u8>> = writer.lrange("json:list", 0, -1).await.unwrap();
        assert_eq!(list, [Json(1), Json(2)]);
        let fields: HashMap<String, Text> = writer.hgetall("json:hash").await.unwrap();
        assert_eq!(fields["field"], value());
        let field: Option<Text> = writer.hget("json:hash", "none").await.unwrap();
        assert_eq!(field, None);
        let piped: (Text, Vec<Json<u8>>) = pipe()
            .get("json:one")
            .lrange("json:list", 0, -1)
            .query_async(&mut writer)
            .await
            .unwrap();
        assert_eq!(piped, (value(), list));

        let error = writer.get::<_, Json<u8>>("json:one").await.unwrap_err();
        assert_eq!(outcome(&error), Outcome::Executed);
        let text = error.to_string();
        assert!(text.contains("u8") && !text.contains("Ann"), "{text}");
    }
}
