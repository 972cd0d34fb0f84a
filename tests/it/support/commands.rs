//! Commands as a line of words, and values to send.

use std::collections::BTreeMap;

use redis::{AsyncCommands, FromRedisValue, RedisResult, aio::ConnectionLike};
use redis_rw_pool::{Connection, Node, Pool};
use testkit::Server;

/// A command from a line of words.
pub(crate) fn cmd(line: &str) -> redis::Cmd {
    let mut cmd = redis::Cmd::new();
    line.split_whitespace().for_each(|word| {
        cmd.arg(word);
    });
    cmd
}

pub(crate) async fn run<T: FromRedisValue>(
    conn: &mut impl ConnectionLike,
    line: &str,
) -> RedisResult<T> {
    cmd(line).query_async(conn).await
}

/// As `run`, where the reply must not be an error.
pub(crate) async fn ask<T: FromRedisValue>(conn: &mut impl ConnectionLike, line: &str) -> T {
    run(conn, line)
        .await
        .unwrap_or_else(|error| panic!("{line}: {error}"))
}

pub(crate) async fn id(conn: &mut impl ConnectionLike) -> i64 {
    ask(conn, "CLIENT ID").await
}

/// Writes over a connection of the pool, and says to which node.
pub(crate) async fn write(pool: &Pool, key: &str) -> RedisResult<Node> {
    let mut conn = pool.write().await?;
    let () = conn.set(key, "v").await?;
    Ok(conn.node())
}

/// `CLIENT INFO` without what differs between two connections that are equally clean. That includes
/// `multi`: outside of a transaction Redis says -1, and Valkey 0 after one. Inside, `flags` has an `x`.
pub(crate) async fn identity(conn: &mut Connection) -> BTreeMap<String, String> {
    let text: String = ask(conn, "CLIENT INFO").await;
    let wanted = [
        "name", "flags", "db", "sub", "psub", "ssub", "watch", "redir", "user", "resp",
    ];
    text.split_whitespace()
        .filter_map(|field| field.split_once('='))
        .filter(|(key, _)| wanted.contains(key))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// Whether this version of the server has a command.
pub(crate) fn knows(server: &Server, command: &str) -> bool {
    let info = server.cmd(&["COMMAND", "INFO", command]);
    matches!(info.array(), [entry] if !entry.is_nil())
}

/// A value that says whose it is.
pub(crate) fn value_of(key: &str, length: usize) -> String {
    let mut value = format!("value of {key}:");
    value.extend(std::iter::repeat_n('x', length.saturating_sub(value.len())));
    value
}
