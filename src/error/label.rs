//! What an error is called in a trace: a word of a short list, never anything that was sent.

use redis::{ErrorKind, RedisError, ServerError};

use crate::error::{
    Error, code,
    failure::{self, Cause, Failure},
};

/// For what has no name of its own here.
const OTHER: &str = "_OTHER";

/// Codes of Redis and Valkey, besides those that mean something to the pool.
const CODES: [&str; 12] = [
    "ERR",
    "WRONGTYPE",
    "EXECABORT",
    "NOGROUP",
    "BUSYGROUP",
    "BUSYKEY",
    "NOTBUSY",
    "UNKILLABLE",
    "INPROG",
    "NOGOODSLAVE",
    "IOERR",
    "STALE",
];

/// The code of an error reply. The first word of a script's own error is its author's, and may be a value.
pub(crate) fn of_reply(reply: &ServerError) -> &'static str {
    known_code(reply.code())
}

fn known_code(said: &str) -> &'static str {
    let mut known = CODES.into_iter().chain(code::known());
    known.find(|code| *code == said).unwrap_or(OTHER)
}

/// Of an error that is no reply to the command.
pub(crate) fn of(error: &RedisError) -> &'static str {
    if let Some(rest) = failure::rest_of_part(error) {
        return of(rest);
    }
    if let Some(failure) = Failure::of(error) {
        return of_cause(&failure.cause);
    }
    if let Some(error) = Error::of(error) {
        return of_pool(error);
    }
    match error.kind() {
        ErrorKind::Client | ErrorKind::InvalidClientConfig => "refused",
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => "conversion",
        ErrorKind::AuthenticationFailed => "authentication",
        ErrorKind::Io => "connection_lost",
        _ => error.code().map_or(OTHER, known_code),
    }
}

fn of_cause(cause: &Cause) -> &'static str {
    match cause {
        Cause::Timeout(_) => "timeout",
        Cause::Closed | Cause::Io(..) | Cause::ClosedAtOnce(..) => "connection_lost",
        Cause::Tls(_) => "tls",
        Cause::Protocol(_) => "protocol",
        Cause::Unusable => "unusable",
        Cause::Superseded(_) | Cause::Withdrawn => "role_changed",
        Cause::Elsewhere(_) | Cause::Severed => "wrong_connection",
        Cause::Fenced(..) => "fenced",
        Cause::Contended(_) => "contended",
        Cause::RuntimeEnded => "runtime_ended",
    }
}

fn of_pool(error: &Error) -> &'static str {
    match error {
        Error::Config(_) => "config",
        Error::NoSentinel { .. } => "no_sentinel",
        Error::UnknownMaster { .. } => "unknown_master",
        Error::NoMaster { .. } => "no_master",
        Error::NoReplica { .. } => "no_replica",
        Error::Connect { .. } => "connect",
        Error::Exhausted { .. } => "exhausted",
        Error::WaitTimeout { .. } => "wait_timeout",
        Error::Stale { .. } => "stale",
        Error::Lost { .. } => "lost",
        Error::PositionRefused { .. } => "position_refused",
        Error::TooFewCopies { .. } => "too_few_copies",
        Error::NotSubscribed { .. } => "not_subscribed",
        Error::Closed => "closed",
        Error::RuntimeEnded => "runtime_ended",
    }
}

#[cfg(test)]
mod tests;
