//! How one attempt to send a request ended.

use redis::RedisResult;

use crate::{
    error::failure::{Cause, Failure, Fate},
    node::Role,
    retry::request::Request,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// With a reply for the caller, or an error that no other connection would mend.
    Settled,
    /// The connection failed, and nothing was written to it.
    NotWritten,
    /// The server executed nothing; another one may, or this one later.
    Refused,
    /// The connection was lost after the request was written.
    Lost,
}

impl AttemptEnd {
    /// Its name in log events.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::NotWritten => "not_written",
            Self::Refused => "refused",
            Self::Lost => "lost",
        }
    }

    /// On an exclusive connection to a node with this role.
    pub(crate) fn of<R: Request>(request: R, result: &RedisResult<R::Reply>, role: Role) -> Self {
        match result {
            Ok(reply) => Self::answered(request, reply, role),
            Err(error) => Failure::of(error).map_or(Self::Settled, |failure| {
                Self::failed(&failure.cause, failure.fate)
            }),
        }
    }

    /// With a reply, from a node with this role.
    pub(crate) fn answered<R: Request>(request: R, reply: &R::Reply, role: Role) -> Self {
        if request.class(reply).refuses(role) && request.is_refused(reply) {
            Self::Refused
        } else {
            Self::Settled
        }
    }

    /// With a failure of the connection.
    pub(crate) fn failed(cause: &Cause, fate: Fate) -> Self {
        match (cause, fate) {
            (
                Cause::Unusable
                | Cause::Closed
                | Cause::Io(..)
                | Cause::Tls(_)
                | Cause::ClosedAtOnce(..)
                | Cause::Protocol(_)
                | Cause::RuntimeEnded,
                Fate::NotExecuted,
            ) => Self::NotWritten,
            // A reply that is too large or malformed would be so again, and after a deadline there is
            // no time left.
            (Cause::Closed | Cause::Io(..) | Cause::Tls(_) | Cause::Withdrawn, Fate::Unknown) => {
                Self::Lost
            }
            _ => Self::Settled,
        }
    }
}

#[cfg(test)]
mod tests;
