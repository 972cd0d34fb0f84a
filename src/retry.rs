//! Whether a command is sent again: one rule, for exclusive connections and for shared ones.
//!
//! It reads what the table in `error::code` says of a reply ([`request`]), or how the connection failed
//! ([`attempt`]). The exclusive guard and the multiplexed handle each have a loop that carries out the
//! answer: they differ in how they wait and how they come by another connection, and in nothing else.

pub(crate) mod attempt;
pub(crate) mod backoff;
pub(crate) mod request;

use crate::{
    error::PoolName,
    node::Node,
    retry::{attempt::AttemptEnd, request::Request},
};

/// A read is sent again after at most this many lost connections. A read that crashes its server
/// must not be sent to every other one for as long as there is time.
pub(crate) const MOST_LOSSES: u32 = 8;

/// What the rule needs to know of a request and of the connection that it was sent over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// The request is known to read only.
    pub(crate) is_read: bool,
    /// It would mean something else on another connection, or the caller would miss there what was
    /// set up on this one.
    pub(crate) is_bound: bool,
    /// The connection takes no further command: its node is not what it should be, or another one
    /// serves in its place.
    pub(crate) is_retired: bool,
}

/// How much of its time and of its tries a request has used.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spent {
    /// The connections that were lost with the request on its way, the last one included.
    pub(crate) losses: u32,
    /// The time is up, and there is a result to give to the caller.
    pub(crate) is_over: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// The caller gets the result.
    Return,
    /// The request waits until the node serves again, or another one does. Any new connection to the
    /// node would be refused, too.
    WaitForNode,
    /// The request goes over another connection.
    TakeAnother,
}

/// The next step after an attempt that ended this way.
pub(crate) fn next_step(attempt: AttemptEnd, facts: Facts, spent: Spent) -> NextStep {
    let is_repeatable = match attempt {
        AttemptEnd::Settled => false,
        AttemptEnd::NotWritten | AttemptEnd::Refused => true,
        AttemptEnd::Lost => facts.is_read,
    };
    if !is_repeatable || facts.is_bound || spent.losses > MOST_LOSSES || spent.is_over {
        NextStep::Return
    } else if attempt == AttemptEnd::Refused && !facts.is_retired {
        NextStep::WaitForNode
    } else {
        NextStep::TakeAnother
    }
}

/// Logs that a request is sent again, to this node, after an attempt that ended this way.
#[cold]
pub(crate) fn log_retry<R: Request>(
    request: R,
    after: AttemptEnd,
    losses: u32,
    pool: PoolName,
    node: &Node,
) {
    tracing::debug!(
        %pool,
        %node,
        command = request.name(),
        reason = after.as_str(),
        losses,
        "a command is sent again"
    );
}

#[cfg(test)]
mod tests;
