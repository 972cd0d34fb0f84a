//! What an error reply says about the node, beyond the command that it answers.

use redis::{ServerError, ServerErrorKind, Value};

use crate::{error::code, node::Role};

/// What a reply says about the node that sent it. The gravest comes last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReplyClass {
    /// Nothing.
    NoSignal,
    /// The node must be probed. The caller gets the reply.
    CheckNode,
    /// The node takes no such command for now, and has executed nothing.
    NotServing,
    /// The node is a replica that takes no writes, and has executed nothing.
    ReadOnly,
}

impl ReplyClass {
    #[inline]
    pub(crate) fn of(reply: &Value) -> Self {
        match reply {
            Value::ServerError(error) => Self::of_error(error),
            _ => Self::NoSignal,
        }
    }

    /// The gravest class of the replies to a pipeline.
    pub(crate) fn of_all(replies: &[Value]) -> Self {
        replies.iter().map(Self::of).max().unwrap_or(Self::NoSignal)
    }

    #[cold]
    fn of_error(error: &ServerError) -> Self {
        code::class(error.code(), error.details().unwrap_or_default())
    }

    /// Whether the reply says that a node with this role executed nothing, so that the request may
    /// be sent again, to this node or another.
    pub(crate) fn refuses(self, role: Role) -> bool {
        self == Self::NotServing || self.retires(role)
    }

    /// Whether a connection that was made for this role must be given up. A node that is loading will
    /// serve again, and another connection to it would be no better.
    pub(crate) fn retires(self, role: Role) -> bool {
        // A replica that takes no writes is what it should be.
        self == Self::ReadOnly && role == Role::Master
    }

    /// Whether an exclusive connection must be given up. If another node serves, a refusal is
    /// reason enough. A multiplexed handle already has connections to the other node, and keeps
    /// this one.
    pub(crate) fn retires_exclusive(
        self,
        role: Role,
        has_alternative: impl FnOnce() -> bool,
    ) -> bool {
        self.retires(role) || self.refuses(role) && has_alternative()
    }
}

/// Whether a transaction was given up, so that nothing of it was executed.
pub(crate) fn is_abort(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ExecAbort)
}

#[cfg(test)]
mod tests;
