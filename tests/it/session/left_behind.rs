//! What one caller leaves behind on a connection never reaches the next.

use redis::{RedisResult, Value, pipe};
use redis_rw_pool::{Discard, Outcome, Pool, Protocol, outcome};

use crate::support::{
    SOON, ask, cmd, discarded, eventually, id, identity, is_text, master, run, single,
};

/// Everything a caller can do to a connection that another must not meet, command by command.
const DIRTY: &[&[&str]] = &[
    &["MULTI"],
    &["MULTI", "SET session:k 1"],
    &["MULTI", "NOSUCHCOMMAND"],
    &["multi", "incr session:k", "DISCARD", "MULTI"],
    &["WATCH session:k"],
    &["WATCH session:k", "UNWATCH", "watch session:k"],
    &["WATCH session:k", "EXEC"],
    &["WATCH session:k", "DISCARD"],
    &["WATCH session:k", "MULTI"],
    &["WATCH session:k", "MULTI", "SET session:k 1"],
    &["SELECT 3"],
    &["SELECT 3", "SELECT 4"],
    &["MULTI", "SELECT 3", "EXEC"],
    &["SELECT 99999"],
    &["CLIENT REPLY OFF"],
    &["CLIENT REPLY OFF", "SET session:k 1", "GET session:k"],
    &["CLIENT REPLY OFF", "CLIENT REPLY ON"],
    &["CLIENT REPLY SKIP"],
    &["CLIENT REPLY SKIP", "GET session:k"],
    &["CLIENT REPLY SKIP", "GET session:k", "GET session:k"],
    &["CLIENT SETNAME somebody-else"],
    &["CLIENT TRACKING ON"],
    &["CLIENT TRACKING ON BCAST", "CLIENT TRACKING OFF"],
    &["CLIENT CACHING YES"],
    &["CLIENT NO-EVICT ON"],
    &["CLIENT NO-SUCH-SUBCOMMAND"],
    &["AUTH default anything"],
    &["AUTH nobody wrong"],
    &["HELLO 2"],
    &["HELLO 3"],
    &["HELLO 3 SETNAME somebody-else"],
    &["RESET"],
    &["READONLY"],
    &["READWRITE"],
    &["SCRIPT DEBUG NO"],
    &["QUIT"],
    &["DEBUG SLEEP 0"],
];

/// Ways that begin like the ones above and end where they began.
const CLEAN: &[&[&str]] = &[
    &[],
    &["MULTI", "SET session:k 1", "EXEC"],
    &["MULTI", "SET session:k 1", "DISCARD"],
    &["MULTI", "NOSUCHCOMMAND", "EXEC"],
    &["MULTI", "LPUSH session:string 1", "EXEC"],
    &["WATCH session:k", "UNWATCH"],
    &["WATCH session:k", "MULTI", "EXEC"],
    &["WATCH session:k", "MULTI", "DISCARD"],
    &["WATCH session:k", "MULTI", "NOSUCHCOMMAND", "EXEC"],
    &["MULTI", "WATCH session:k", "MULTI", "EXEC"],
    &["UNWATCH"],
    &["MONITOR", "PSYNC ? -1", "SYNC"],
    &[
        "SUBSCRIBE session:c",
        "PSUBSCRIBE *",
        "SSUBSCRIBE session:c",
    ],
    &["MULTI", "SUBSCRIBE session:c", "RESET", "EXEC"],
    &["SELECT 3", "SELECT 0"],
    &["SELECT 99999", "SELECT 0"],
    &["MULTI", "SELECT 3", "EXEC", "SELECT 0"],
    &["SELECT 0"],
    &["EXEC"],
    &["DISCARD"],
    &["NOSUCHCOMMAND"],
    &["LPUSH session:string 1"],
    &["UNSUBSCRIBE"],
    &["PUNSUBSCRIBE session:*"],
    &["CLIENT REPLY ON"],
    &["CLIENT REPLY SOMETIMES"],
    &["CLIENT TRACKING OFF"],
    &["CLIENT NO-EVICT OFF"],
    &["CLIENT GETNAME", "CLIENT LIST", "CLIENT INFO"],
    &["HELLO"],
    &["PUBLISH session:c x"],
    &["BLPOP session:nothing 0.01"],
    &["EVAL return{1,2,{3}} 0"],
];

async fn leave(pool: &Pool, lines: &[&str]) -> i64 {
    let mut conn = pool.write().await.unwrap();
    let before = id(&mut conn).await;
    for line in lines {
        // Some of them are refused, and the connection is in doubt all the same.
        let _: RedisResult<Value> = run(&mut conn, line).await;
    }
    before
}

async fn every_dirty_way(name: &str, protocol: Protocol) {
    let pool = single(name, |config| config.protocol = protocol).await;
    let clean = identity(&mut pool.write().await.unwrap()).await;
    for (round, lines) in DIRTY.iter().enumerate() {
        let before = leave(&pool, lines).await;
        assert_eq!(pool.status().write.active, 0, "{lines:?} was kept");
        let count = u64::try_from(round).unwrap() + 1;
        assert_eq!(discarded(&pool, Discard::Dirty), count, "{lines:?}");

        let mut conn = pool.write().await.unwrap();
        let echo: Value = ask(&mut conn, &format!("ECHO round-{round}")).await;
        assert!(is_text(&echo, &format!("round-{round}")), "{lines:?}");
        assert_ne!(id(&mut conn).await, before, "{lines:?}");
        assert_eq!(identity(&mut conn).await, clean, "{lines:?}");
    }
    let discards = pool.status().write.discards;
    assert_eq!(discards.total(), discards.get(Discard::Dirty));
    eventually("the dirty connections to be closed", SOON, || async {
        master().client_count_named(name) == 1 && master().client_count_named("somebody-else") == 0
    })
    .await;
}

#[tokio::test]
async fn after_every_way_to_leave_it_dirty_the_next_caller_has_a_clean_connection() {
    every_dirty_way("session-dirty-3", Protocol::Resp3).await;
}

#[tokio::test]
async fn after_every_way_to_leave_it_dirty_under_resp2_too() {
    every_dirty_way("session-dirty-2", Protocol::Resp2).await;
}

async fn every_clean_way(name: &str, protocol: Protocol) {
    let pool = single(name, |config| config.protocol = protocol).await;
    let mut conn = pool.write().await.unwrap();
    let () = ask(&mut conn, "SET session:string text").await;
    let clean = identity(&mut conn).await;
    let first = id(&mut conn).await;
    drop(conn);
    for lines in CLEAN {
        assert_eq!(leave(&pool, lines).await, first, "before {lines:?}");
        let mut conn = pool.write().await.unwrap();
        assert_eq!(id(&mut conn).await, first, "after {lines:?}");
        assert_eq!(identity(&mut conn).await, clean, "{lines:?}");
    }
    let status = pool.status().write;
    assert_eq!((status.created, status.discards.total()), (1, 0));
}

#[tokio::test]
async fn every_way_to_come_back_clean_keeps_the_connection() {
    every_clean_way("session-clean-3", Protocol::Resp3).await;
}

#[tokio::test]
async fn every_way_to_come_back_clean_keeps_the_connection_under_resp2_too() {
    every_clean_way("session-clean-2", Protocol::Resp2).await;
}

#[tokio::test]
async fn a_pipeline_is_judged_like_its_commands() {
    let pool = single("session-pipelines", |_| {}).await;
    let mut kept = id(&mut pool.write().await.unwrap()).await;
    let cases: [(&str, bool, &[&str], bool); 14] = [
        ("plain", false, &["SET session:p 1", "GET session:p"], true),
        ("atomic", true, &["SET session:p 1", "GET session:p"], true),
        ("atomic refused", true, &["SET session:p", "GET x"], true),
        ("atomic failed", true, &["LPUSH session:p 1"], true),
        ("MULTI", false, &["MULTI", "SET session:p 1"], false),
        ("EXEC", false, &["MULTI", "SET session:p 1", "EXEC"], true),
        ("again", false, &["MULTI", "EXEC", "MULTI"], false),
        ("WATCH", false, &["WATCH session:p", "GET x"], false),
        ("UNWATCH", false, &["WATCH session:p", "UNWATCH"], true),
        ("SELECT", false, &["SELECT 3", "GET x"], false),
        ("SELECT back", false, &["SELECT 3", "SELECT 0"], true),
        ("atomic SELECT", true, &["SELECT 3"], false),
        ("SUBSCRIBE", false, &["GET x", "SUBSCRIBE c"], true),
        ("REPLY OFF", false, &["CLIENT REPLY OFF", "GET x"], true),
    ];
    for (what, atomic, lines, keeps) in cases {
        let mut conn = pool.write().await.unwrap();
        let mut pipeline = pipe();
        if atomic {
            pipeline.atomic();
        }
        for line in lines {
            pipeline.add_command(cmd(line));
        }
        let _: RedisResult<Vec<Value>> = pipeline.query_async(&mut conn).await;
        drop(conn);
        let mut conn = pool.write().await.unwrap();
        let now = id(&mut conn).await;
        assert_eq!(now == kept, keeps, "{what}");
        assert_eq!(identity(&mut conn).await["db"], "0", "{what}");
        assert_eq!(identity(&mut conn).await["flags"], "N", "{what}");
        kept = now;
    }
}

#[tokio::test]
async fn the_configured_database_is_the_clean_one() {
    let pool = single("session-db", |config| config.db = 2).await;
    let mut conn = pool.write().await.unwrap();
    assert_eq!(identity(&mut conn).await["db"], "2");
    let first = id(&mut conn).await;
    drop(conn);
    assert_eq!(leave(&pool, &["SELECT 0", "SELECT 2"]).await, first);
    assert_eq!(leave(&pool, &["SELECT 2"]).await, first);
    assert_eq!(leave(&pool, &["SELECT 0"]).await, first);
    let mut conn = pool.write().await.unwrap();
    assert_ne!(id(&mut conn).await, first);
    assert_eq!(identity(&mut conn).await["db"], "2");
}

#[tokio::test]
async fn a_script_cannot_leave_another_database_behind() {
    let pool = single("session-script", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let first = id(&mut conn).await;
    let () = redis::cmd("EVAL")
        .arg("redis.call('SELECT', 5) return redis.status_reply('OK')")
        .arg(0)
        .query_async(&mut conn)
        .await
        .unwrap();
    drop(conn);
    let mut conn = pool.write().await.unwrap();
    assert_eq!(id(&mut conn).await, first);
    assert_eq!(identity(&mut conn).await["db"], "0");
}

#[tokio::test]
async fn invalidations_for_a_past_tracker_do_not_reach_the_next_caller() {
    let pool = single("session-invalidations", |_| {}).await;
    leave(&pool, &["CLIENT TRACKING ON BCAST PREFIX session:t"]).await;
    let mut conn = pool.write().await.unwrap();
    for round in 0..20 {
        master().cmd(&["SET", "session:t", "1"]);
        let echo: String = ask(&mut conn, &format!("ECHO {round}")).await;
        assert_eq!(echo, round.to_string());
    }
    assert!(!identity(&mut conn).await["flags"].contains('t'));
}

#[tokio::test]
async fn a_transaction_left_open_is_not_executed_by_the_next_caller() {
    let pool = single("session-open", |_| {}).await;
    leave(&pool, &["DEL session:open", "MULTI", "SET session:open 1"]).await;
    let mut conn = pool.write().await.unwrap();
    let error = run::<Value>(&mut conn, "EXEC").await.unwrap_err();
    assert!(error.to_string().contains("without MULTI"), "{error}");
    assert_eq!(
        ask::<Option<i64>>(&mut conn, "GET session:open").await,
        None
    );
}

/// redigo's TestPoolTransactionCleanup, whose pool sends UNWATCH or DISCARD where this one closes.
#[tokio::test]
async fn a_key_watched_by_one_caller_does_not_abort_the_transaction_of_the_next() {
    let pool = single("session-watch", |_| {}).await;
    let cases: [(&[&str], bool); 5] = [
        (&["WATCH session:w"], false),
        (&["WATCH session:w", "UNWATCH"], true),
        (&["WATCH session:w", "MULTI"], false),
        (&["WATCH session:w", "MULTI", "DISCARD"], true),
        (&["WATCH session:w", "MULTI", "EXEC"], true),
    ];
    for (lines, keeps) in cases {
        let before = leave(&pool, lines).await;
        let mut conn = pool.write().await.unwrap();
        assert_eq!(id(&mut conn).await == before, keeps, "{lines:?}");
        master().cmd(&["INCR", "session:w"]);
        let replies: Option<(String,)> = pipe()
            .atomic()
            .cmd("PING")
            .query_async(&mut conn)
            .await
            .unwrap();
        assert_eq!(replies, Some(("PONG".to_owned(),)), "{lines:?}");
    }
}

/// redigo's TestPoolMonitorCleanup; here MONITOR is refused.
#[tokio::test]
async fn monitor_is_refused_before_it_is_sent() {
    let pool = single("session-monitor", |_| {}).await;
    let before = master().command_stat("monitor");
    let mut conn = pool.write().await.unwrap();
    let error = run::<Value>(&mut conn, "MONITOR").await.unwrap_err();
    assert!(error.to_string().contains("outside the pool"), "{error}");
    drop(conn);
    assert_eq!(master().command_stat("monitor"), before);
    let status = pool.status().write;
    assert_eq!((status.created, status.active), (1, 1));
}

/// What is refused before it is sent; alone as well, or only as a part of a pipeline.
const REFUSED: &[(&str, bool)] = &[
    ("MONITOR", true),
    ("SYNC", true),
    ("PSYNC ? -1", true),
    ("CLIENT REPLY OFF", false),
    ("CLIENT REPLY SKIP", false),
    ("SUBSCRIBE session:c", true),
    ("PSUBSCRIBE session:c", true),
    ("SSUBSCRIBE session:c", true),
    ("UNSUBSCRIBE", false),
    ("", true),
];

fn holding(line: &str, atomic: bool) -> redis::Pipeline {
    let mut pipeline = pipe();
    if atomic {
        pipeline.atomic();
    }
    // All that could be noted of the ones before and after it.
    for line in ["GET x", "WATCH x", "SELECT 3", "MULTI", line, "GET x"] {
        pipeline.add_command(cmd(line));
    }
    pipeline
}

#[tokio::test]
async fn a_refused_command_leaves_the_connection_as_it_was() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = single("session-refused", |config| config.protocol = protocol).await;
        let mut conn = pool.write().await.unwrap();
        let own = id(&mut conn).await;
        let () = ask(&mut conn, "SET session:refused v").await;
        for (line, alone) in REFUSED {
            let mut refusals = Vec::new();
            for atomic in [false, true] {
                refusals.push(holding(line, atomic).query_async(&mut conn).await);
            }
            if *alone {
                refusals.push(run::<Value>(&mut conn, line).await);
            }
            for refused in refusals {
                let error = refused.expect_err(line);
                assert_eq!(error.kind(), redis::ErrorKind::Client, "{line}: {error}");
                let get: Option<String> = ask(&mut conn, "GET session:refused").await;
                assert_eq!(get.as_deref(), Some("v"), "{line}");
                let push = run::<Value>(&mut conn, "LPUSH session:refused 1").await;
                let code = push.unwrap_err().code().map(str::to_owned);
                assert_eq!(code.as_deref(), Some("WRONGTYPE"), "{line}");
            }
        }
        drop(conn);
        let mut conn = pool.write().await.unwrap();
        assert_eq!(id(&mut conn).await, own, "it is as clean as before");
        assert_eq!(identity(&mut conn).await["db"], "0");
    }
}

#[tokio::test]
async fn a_command_refused_within_a_transaction_leaves_the_transaction_as_it_was() {
    let pool = single("session-refused-multi", |_| {}).await;
    let own = id(&mut pool.write().await.unwrap()).await;
    for refused in [
        "CLIENT REPLY ON",
        "CLIENT REPLY OFF",
        "SUBSCRIBE c",
        "UNSUBSCRIBE",
        "RESET",
        "HELLO 2",
        "MONITOR",
    ] {
        let mut conn = pool.write().await.unwrap();
        let () = ask(&mut conn, "MULTI").await;
        let () = ask(&mut conn, "SET session:refused tx").await;
        let error = run::<Value>(&mut conn, refused).await.unwrap_err();
        assert_eq!(error.kind(), redis::ErrorKind::Client, "{error}");
        let mut pipeline = pipe();
        pipeline.add_command(cmd("GET x")).add_command(cmd(refused));
        let piped: RedisResult<Value> = pipeline.query_async(&mut conn).await;
        assert_eq!(piped.unwrap_err().kind(), redis::ErrorKind::Client);
        let replies: (String,) = ask(&mut conn, "EXEC").await;
        assert_eq!(replies.0, "OK", "{refused}");
        assert_eq!(id(&mut conn).await, own, "{refused}");
    }
}

/// redigo's TestPoolPubSubCleanup; here a subscription is refused, since its messages would have no way out.
#[tokio::test]
async fn a_subscription_is_refused_and_the_error_says_what_to_use() {
    let pool = single("session-pubsub", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let before = master().command_stat("subscribe");
    for line in [
        "SUBSCRIBE session:c",
        "psubscribe *",
        "SSUBSCRIBE session:c",
    ] {
        let exclusive = run::<Value>(&mut conn, line).await.unwrap_err();
        let shared = run::<Value>(&mut pool.writer(), line).await.unwrap_err();
        for error in [exclusive, shared] {
            let text = error.to_string();
            assert!(text.contains("pool.subscriber()"), "{text}");
            assert_eq!(outcome(&error), Outcome::NotExecuted, "{text}");
        }
    }
    let echo: String = ask(&mut conn, "ECHO mine").await;
    assert_eq!(echo, "mine");
    drop(conn);
    assert_eq!(master().command_stat("subscribe"), before);
    assert_eq!(pool.status().write.discards.total(), 0);
}

const KINDS: [&str; 5] = ["message", "pmessage", "smessage", "subscribe", "invalidate"];

#[tokio::test]
async fn a_list_that_looks_like_a_message_is_data() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = single("session-looks", |config| config.protocol = protocol).await;
        let mut conn = pool.write().await.unwrap();
        looks(&mut conn, &format!("{protocol:?}")).await;
        for line in ["UNSUBSCRIBE", "PUNSUBSCRIBE a b"] {
            let () = ask(&mut conn, line).await;
            looks(&mut conn, &format!("{protocol:?} {line}")).await;
        }
    }
}

async fn looks(conn: &mut redis_rw_pool::Connection, what: &str) {
    for kind in KINDS {
        let key = format!("session:looks:{kind}");
        master().cmd(&["DEL", &key, kind]);
        master().cmd(&["RPUSH", &key, kind, "a", "b"]);
        master().cmd(&["RPUSH", kind, "x"]);
        let list: Vec<String> = ask(conn, &format!("LRANGE {key} 0 -1")).await;
        assert_eq!(list, [kind, "a", "b"], "{what}");
        let mut pipeline = pipe();
        pipeline.lrange(&key, 0, -1).lrange(&key, 0, 0);
        let lists: (Vec<String>, Vec<String>) = pipeline.query_async(conn).await.unwrap();
        assert_eq!((lists.0.len(), lists.1.len()), (3, 1), "{what}");
        let popped: (String, String) = ask(conn, &format!("BLPOP {kind} 1")).await;
        assert_eq!(popped, (kind.to_owned(), "x".to_owned()), "{what}");
    }
    let echo: String = ask(conn, "ECHO last").await;
    assert_eq!(echo, "last", "{what}");
}

#[tokio::test]
async fn the_end_of_subscriptions_sent_without_waiting_does_not_shift_the_replies() {
    for protocol in [Protocol::Resp2, Protocol::Resp3] {
        let pool = single("session-unwaited", |config| config.protocol = protocol).await;
        let mut conn = pool.write().await.unwrap();
        let () = cmd("UNSUBSCRIBE session:unwaited-a session:unwaited-b")
            .set_no_response(true)
            .query_async(&mut conn)
            .await
            .unwrap();
        let () = cmd("UNSUBSCRIBE")
            .set_no_response(true)
            .query_async(&mut conn)
            .await
            .unwrap();
        let echo: String = ask(&mut conn, "ECHO mine").await;
        assert_eq!(echo, "mine", "{protocol:?}");
    }
}

#[tokio::test]
async fn a_tracking_connection_passes_over_any_number_of_invalidations() {
    let pool = single("session-tracking", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let () = ask(&mut conn, "CLIENT TRACKING ON BCAST PREFIX session:many").await;
    let mut other = master().connect().unwrap();
    for round in 0..20 {
        // More than fits into one look at the socket, so that a push is cut in two there.
        for key in 0..300 {
            let key = format!("session:many:{round}:{key}");
            other.call(&["SET", key.as_str(), "1"]).unwrap();
        }
        // Lets the runtime notice that there is something to read; without it the look is skipped.
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let echo: String = ask(&mut conn, &format!("ECHO {round}")).await;
        assert_eq!(echo, round.to_string());
        let get: Option<i64> = ask(&mut conn, &format!("GET session:many:{round}:7")).await;
        assert_eq!(get, Some(1));
    }
}

#[tokio::test]
async fn a_connection_that_kills_itself_is_not_lent_again() {
    let pool = single("session-suicide", |_| {}).await;
    let mut conn = pool.write().await.unwrap();
    let own = id(&mut conn).await;
    let _: RedisResult<Value> = run(&mut conn, &format!("CLIENT KILL ID {own} SKIPME no")).await;
    drop(conn);
    // Whether the end is seen at return, at checkout or by the command, another one must follow.
    eventually("another connection", SOON, || async {
        let mut conn = pool.write().await.unwrap();
        run::<i64>(&mut conn, "CLIENT ID")
            .await
            .is_ok_and(|now| now != own)
    })
    .await;
    assert_eq!(discarded(&pool, Discard::Broken), 1);
}
