//! What an error reply says about the node, beyond the command that it answers.

use redis::{RedisError, ServerError, ServerErrorKind, Value};

/// What a reply puts in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Doubt {
    None,
    /// The node did not answer in time.
    Silent,
    /// The node has to be looked at; this connection will show by itself what it is worth.
    Node,
    /// The node is not what this connection was made for, at least for now.
    Connection,
}

impl Doubt {
    #[inline]
    pub(crate) fn of(reply: &Value) -> Self {
        match reply {
            Value::ServerError(error) => Self::of_error(error),
            _ => Self::None,
        }
    }

    /// The gravest that the replies to a pipeline raise.
    pub(crate) fn of_all(replies: &[Value]) -> Self {
        replies.iter().map(Self::of).max().unwrap_or(Self::None)
    }

    /// What it says that there was no reply.
    #[cold]
    pub(crate) fn of_failure(error: &RedisError) -> Self {
        if error.is_timeout() {
            Self::Silent
        } else if error.is_io_error() {
            Self::Node
        } else {
            Self::None
        }
    }

    #[cold]
    fn of_error(error: &ServerError) -> Self {
        match error.kind() {
            Some(
                ServerErrorKind::ReadOnly
                | ServerErrorKind::MasterDown
                | ServerErrorKind::BusyLoading,
            ) => Self::Connection,
            // A master without enough replicas, and one that was demoted under a blocked command.
            None if matches!(error.code(), "NOREPLICAS" | "UNBLOCKED") => Self::Node,
            _ => Self::None,
        }
    }
}
