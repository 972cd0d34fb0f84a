//! The tests of `session::left_behind` that need no redis-server.

use redis::Value;
use redis_rw_pool::Pool;
use testkit::fake::{self, Action};

use crate::support::{node_with, run, sentinel_of, watched_by};

/// An ACL may keep a caller from one command of a transaction.
#[tokio::test]
async fn a_command_that_the_server_refuses_changes_nothing_either() {
    let node = node_with(|conn, words| {
        let refusal = fake::Value::error("NOPERM this user has no permissions");
        (words[0] == "MULTI").then(|| Action::Reply(refusal.encode(conn.protocol())))
    });
    let sentinel = sentinel_of(node.port());
    let pool = Pool::connect(watched_by(&sentinel)).await.unwrap();
    let mut conn = pool.write().await.unwrap();
    let error = run::<Value>(&mut conn, "MULTI").await.unwrap_err();
    assert_eq!(error.code(), Some("NOPERM"));
    // In MULTI this would be refused before it is sent.
    let error = run::<Value>(&mut conn, "CLIENT REPLY ON")
        .await
        .unwrap_err();
    assert_eq!(
        error.code(),
        Some("ERR"),
        "the node does not know it: {error}"
    );
}
