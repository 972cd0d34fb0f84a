//! What an error reply says about the node, beyond the command that it answers.

use redis::{ServerError, ServerErrorKind, Value};

use crate::node::Role;

/// What a reply puts in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReplyClass {
    None,
    /// The node has to be looked at; the reply is the caller's.
    Node,
    /// The node takes no such command for now, and has executed nothing.
    Service,
    /// As a replica the node takes no writes, and has executed nothing.
    Role,
}

impl ReplyClass {
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

    /// Whether a node with this role has executed nothing and may be asked again, or another in its
    /// place.
    pub(crate) fn refuses(self, role: Role) -> bool {
        self == Self::Service || self.condemns(role)
    }

    /// Whether a connection that was made for this role is of no more use. One to a node that is
    /// loading will do again, and any other would only lead there, too.
    pub(crate) fn condemns(self, role: Role) -> bool {
        // That a replica takes no writes was known before.
        self == Self::Role && role == Role::Master
    }

    #[cold]
    fn of_error(error: &ServerError) -> Self {
        match Self::of_code(error.code()) {
            // Demoted between the commands of a transaction and its EXEC, a server has this reason.
            Self::None if is_abort(error) => {
                let because = error
                    .details()
                    .and_then(|text| text.split_once("because of: "));
                let code = because.and_then(|(_, reason)| reason.split(' ').next());
                code.map_or(Self::None, Self::of_code)
            }
            class => class,
        }
    }

    /// All of these come from the checks that a server makes before it executes a command
    /// (`processCommand` in Redis' server.c), except the last.
    fn of_code(code: &str) -> Self {
        match code {
            // REDIRECT is how Valkey 8 says it to a client that sent CLIENT CAPA REDIRECT.
            "READONLY" | "REDIRECT" => Self::Role,
            // It reads its data set from disk or from its master; or it has lost its master, with
            // `replica-serve-stale-data no`.
            "LOADING" | "MASTERDOWN" => Self::Service,
            // The right master, with too few replicas in step. Another connection would lead to it
            // again, and for how long to wait is for the caller to say. MISCONF, OOM and BUSY are of
            // that kind too, and say nothing about who is master.
            "NOREPLICAS" => Self::Node,
            // It was demoted with a blocked command on hand. Of that nothing was executed, but its time
            // has been running, and only the caller knows whether to begin it anew.
            "UNBLOCKED" => Self::Node,
            _ => Self::None,
        }
    }
}

/// Whether a transaction was given up, so that nothing of it was executed.
pub(crate) fn is_abort(error: &ServerError) -> bool {
    error.kind() == Some(ServerErrorKind::ExecAbort)
}

#[cfg(test)]
mod tests;
