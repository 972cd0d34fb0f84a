//! Which earlier commands a command depends on.

use redis::{Arg, Cmd, Pipeline, Value};

use crate::wire::command::{Kind, blocking::Timeout, read_only};

/// What a command depends on. Sent to another node or connection it would silently do something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Affinity {
    None,
    /// A cursor is a position in one node's own table. A client's id has a meaning only at one node.
    Node,
    /// `WAIT` and `WAITAOF` are about earlier writes over the same connection.
    Connection,
}

impl Affinity {
    #[cold]
    pub(crate) fn of(cmd: &Cmd) -> Self {
        match Kind::of(cmd) {
            Kind::Walks(cursor) => Self::of_cursor(cmd, cursor),
            Kind::NodeOwn => Self::Node,
            // WAIT and WAITAOF: no other command has its timeout there.
            Kind::Blocks(Timeout::Millis(_)) => Self::Connection,
            _ => Self::None,
        }
    }

    /// As [`of`](Self::of), for a whole pipeline. A `WAIT` after a write of the same pipeline is about
    /// that write, and depends on nothing before.
    #[cold]
    pub(crate) fn of_all(pipeline: &Pipeline) -> Self {
        let mut writes = false;
        let affinities = pipeline.cmd_iter().map(|cmd| match Self::of(cmd) {
            Self::Connection if writes => Self::None,
            affinity => {
                writes |= affinity == Self::None && !read_only::is_read(cmd);
                affinity
            }
        });
        affinities.max().unwrap_or(Self::None)
    }

    fn of_cursor(cmd: &Cmd, index: usize) -> Self {
        let begins = match cmd.args_iter().nth(index) {
            Some(Arg::Simple(cursor)) => cursor == b"0",
            // The redis crate keeps some cursors apart. Only the packed command has the value.
            Some(_) => match redis::parse_redis_value(&cmd.get_packed_command()) {
                Ok(Value::Array(args)) => {
                    matches!(args.get(index), Some(Value::BulkString(cursor)) if cursor == b"0")
                }
                _ => false,
            },
            None => true,
        };
        if begins { Self::None } else { Self::Node }
    }
}

#[cfg(test)]
mod tests;
