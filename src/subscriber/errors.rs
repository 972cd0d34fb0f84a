//! What callers are told when a subscription cannot be made.

use std::time::Duration;

use redis::{ErrorKind, RedisError, Value};

use crate::{
    error::{Error, Reports},
    util::escape::escape,
    wire::pubsub::Subject,
};

/// The server's error, with what it is about: the server itself does not say.
pub(super) fn refused(subject: &Subject, error: &RedisError) -> RedisError {
    let kind = match subject {
        Subject::Channel(_) => "channel",
        Subject::Pattern(_) => "pattern",
    };
    let (Some(code), Some(detail)) = (error.code(), error.detail()) else {
        return error.clone();
    };
    let name = escape(subject.name());
    let code = escape(code.as_bytes());
    let detail = escape(detail.as_bytes());
    let line =
        format!("-{code} {detail} ({kind} {name:?}; nothing of the call was subscribed to)\r\n");
    // Only the redis crate can build an error reply.
    match redis::parse_redis_value(line.as_bytes()) {
        Ok(Value::ServerError(error)) => error.into(),
        _ => error.clone(),
    }
}

/// As the server put it.
pub(super) fn text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => escape(format!("{code} {detail}").as_bytes()),
        _ => error.to_string(),
    }
}

/// `why` no server could confirm it within this time.
pub(super) fn late(why: Error, waited: Duration) -> Error {
    let reports = match why {
        Error::NoMaster { reports, .. } | Error::NoReplica { reports, .. } => reports,
        Error::Connect { node, source, .. } => {
            Reports::from_iter([(node.to_string(), crate::error::reason(&source))])
        }
        other => Reports::from_iter([("the pool".to_owned(), other.to_string())]),
    };
    Error::NotSubscribed { waited, reports }
}

/// For a handle that has outlived its subscriber.
pub(super) fn dropped() -> RedisError {
    (
        ErrorKind::Client,
        "the subscriber of this handle was dropped",
        "keep it as long as its handles are used; nothing was sent".to_owned(),
    )
        .into()
}
