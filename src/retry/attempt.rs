//! How an attempt to get something done ended, and whether another connection may be tried.

use std::{mem, time::Duration};

use redis::RedisResult;

use crate::{
    error::failure::{Cause, Failure, Fate},
    node::Role,
    retry::request::Request,
    util::jitter,
};

/// Before something that was refused is sent again.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(5);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_millis(250);

/// A read that makes its server crash must not be taken round all of them for as long as there is time.
pub(crate) const MOST_LOSSES: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    /// The caller has the answer, or an error about which nothing can be done.
    Settled,
    /// The connection was of no use, and nothing was written to it.
    NotWritten,
    /// The server executed nothing; another one may, or this one later.
    Refused,
    /// The connection was lost with the command on its way.
    Lost,
}

impl AttemptEnd {
    /// On an exclusive connection to a node with this role.
    pub(crate) fn of<E: Request>(request: E, result: &RedisResult<E::Reply>, role: Role) -> Self {
        match result {
            Ok(reply) if request.class(reply).refuses(role) && request.is_refused(reply) => {
                Self::Refused
            }
            Ok(_) => Self::Settled,
            Err(error) => Failure::of(error).map_or(Self::Settled, |failure| {
                Self::failed(&failure.cause, failure.fate)
            }),
        }
    }

    pub(crate) fn failed(cause: &Cause, fate: Fate) -> Self {
        match (cause, fate) {
            (
                Cause::Unusable
                | Cause::Closed
                | Cause::Io(..)
                | Cause::Protocol(_)
                | Cause::RuntimeEnded,
                Fate::NotExecuted,
            ) => Self::NotWritten,
            // A reply too large or malformed would be so again, and a deadline has passed for good.
            (Cause::Closed | Cause::Io(..) | Cause::Withdrawn, Fate::Unknown) => Self::Lost,
            _ => Self::Settled,
        }
    }

    /// Whether the same may be sent again.
    pub(crate) fn allows_another(self, is_read: impl FnOnce() -> bool) -> bool {
        match self {
            Self::Settled => false,
            Self::NotWritten | Self::Refused => true,
            Self::Lost => is_read(),
        }
    }
}

/// How long to wait before another attempt: ever longer.
#[derive(Debug)]
pub(crate) struct Backoff {
    longest: Duration,
    /// Another node was tried already.
    moved: bool,
}

impl Backoff {
    /// A lost connection alone says little against its node, a refusal much.
    pub(crate) fn after(attempt: AttemptEnd) -> Self {
        let longest = match attempt {
            AttemptEnd::Refused => FIRST_PAUSE,
            _ => Duration::ZERO,
        };
        Self {
            longest,
            moved: false,
        }
    }

    /// The first node after the one that was of no use is tried at once, but two that both take
    /// connections only to close them are not tried in turns as fast as they can be.
    pub(crate) fn next(&mut self, same_node: bool) -> Duration {
        if !same_node && !mem::replace(&mut self.moved, true) {
            return Duration::ZERO;
        }
        let longest = self.longest;
        self.longest = (longest * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        jitter::between(longest / 2, longest)
    }
}

#[cfg(test)]
mod tests;
