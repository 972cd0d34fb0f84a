//! What the candidates that lend connections of the redis crate have in common.

use redis::{AsyncCommands, RedisError, aio::MultiplexedConnection};

use crate::failover::call::{Failure, Outcome};

pub(super) async fn set(conn: &mut MultiplexedConnection, key: &str) -> Result<(), Failure> {
    conn.set(key, super::VALUE).await.map_err(failed)
}

pub(super) async fn get(conn: &mut MultiplexedConnection, key: &str) -> Result<(), Failure> {
    let _: Option<String> = conn.get(key).await.map_err(failed)?;
    Ok(())
}

/// The pool had no connection to lend, so nothing was sent.
pub(super) fn not_lent(error: impl ToString) -> Failure {
    Failure::new(Outcome::NotExecuted, error)
}

fn failed(error: RedisError) -> Failure {
    let text = error.to_string();
    let outcome = if super::is_refusal(&text) {
        Outcome::NotExecuted
    } else if error.is_io_error() || error.is_timeout() || error.is_connection_dropped() {
        Outcome::Unknown
    } else {
        Outcome::Other
    };
    Failure { outcome, text }
}
