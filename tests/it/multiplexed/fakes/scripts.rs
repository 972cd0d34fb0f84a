//! The tests of `multiplexed::scripts` that need no redis-server.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use redis::{RedisResult, Script, Value};
use redis_rw_pool::Pool;
use testkit::fake::{self, Action};

use super::super::scripts::call;
use crate::support::{ask, cmd, node_with, run, sentinel_of, watched_by};

/// A node that does not take scripts: by an ACL, or because it forgets them at once.
#[tokio::test]
async fn a_node_that_keeps_no_script_is_not_asked_for_ever() {
    for denied in [false, true] {
        let calls = Arc::new(AtomicUsize::new(0));
        let seen = Arc::clone(&calls);
        let node = node_with(move |conn, words| {
            let reply = match words[0].as_str() {
                "EVALSHA" => {
                    seen.fetch_add(1, SeqCst);
                    fake::Value::error("NOSCRIPT No matching script. Please use EVAL.")
                }
                "SCRIPT" if denied => fake::Value::error("NOPERM this user has no permissions"),
                "SCRIPT" => fake::Value::bulk(Script::new("return 1").get_hash()),
                _ => return None,
            };
            Some(Action::Reply(reply.encode(conn.protocol())))
        });
        let sentinel = sentinel_of(node.port());
        let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
        let mut writer = pool.writer();
        let _: RedisResult<Value> = cmd("SCRIPT LOAD")
            .arg("return 1")
            .query_async(&mut writer)
            .await;
        let result: RedisResult<Value> = call("EVALSHA", "return 1").query_async(&mut writer).await;
        assert_eq!(result.unwrap_err().code(), Some("NOSCRIPT"));
        assert!(calls.load(SeqCst) <= 4, "{calls:?}");
        let _: String = ask(&mut writer, "PING").await;
        let unknown = run::<Value>(&mut writer, "EVALSHA x 0").await;
        assert_eq!(unknown.unwrap_err().code(), Some("NOSCRIPT"));
    }
}
