//! What a test reads of an error, a reply or a status.

use std::fmt::Debug;

use redis::{RedisError, RedisResult, Value};
use redis_rw_pool::{Discard, Pool};

/// The texts of an error and of all its causes.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// The text under an I/O error of the redis crate, where our own error is.
pub(crate) fn failure<T: Debug>(result: RedisResult<T>) -> (RedisError, String) {
    let error = result.expect_err("this must fail");
    let text = chain(&error);
    (error, text)
}

/// Whether two results of the same command are the same in everything a caller can see.
pub(crate) fn seen<T: Debug>(result: RedisResult<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) => format!(
            "{error} | {:?} | {:?} | {:?} | {} | {:?}",
            error.kind(),
            error.code(),
            error.detail(),
            error.category(),
            error.clone().into_server_errors()
        ),
    }
}

pub(crate) fn is_text(value: &Value, text: &str) -> bool {
    matches!(value, Value::BulkString(bytes) if bytes == text.as_bytes())
}

pub(crate) fn discarded(pool: &Pool, reason: Discard) -> u64 {
    pool.status().write.discards.get(reason)
}

/// Panics where a text repeats a secret.
pub(crate) fn assert_hidden(text: &str, secret: &str) {
    assert!(!text.contains(secret), "a secret is in: {text}");
}
