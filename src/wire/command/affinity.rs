//! What a command takes for granted from the one before it.

use redis::{Arg, Cmd, Pipeline, Value};

use crate::wire::command::{Kind, blocking::Timeout, read_only};

/// What a command goes on from, so that sent elsewhere it would do something else without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Affinity {
    None,
    /// A cursor says how far one node's own table was walked through, a client's number whom one node
    /// means by it.
    Node,
    /// `WAIT` and `WAITAOF` are about what was written over the same connection before.
    Connection,
}

impl Affinity {
    #[cold]
    pub(crate) fn of(cmd: &Cmd) -> Self {
        match Kind::of(cmd) {
            Kind::Walks(cursor) => Self::of_cursor(cmd, cursor),
            Kind::NodeOwn => Self::Node,
            // Nothing else has its timeout there: WAIT and WAITAOF.
            Kind::Blocks(Timeout::Millis(_)) => Self::Connection,
            _ => Self::None,
        }
    }

    /// As [`of`](Self::of), for all of them together: what comes before a `WAIT` goes along with it.
    #[cold]
    pub(crate) fn of_all(pipeline: &Pipeline) -> Self {
        let mut writes = false;
        let ties = pipeline.cmd_iter().map(|cmd| match Self::of(cmd) {
            Self::Connection if writes => Self::None,
            affinity => {
                writes |= affinity == Self::None && !read_only::is_read(cmd);
                affinity
            }
        });
        ties.max().unwrap_or(Self::None)
    }

    fn of_cursor(cmd: &Cmd, index: usize) -> Self {
        let begins = match cmd.args_iter().nth(index) {
            Some(Arg::Simple(cursor)) => cursor == b"0",
            // Where the redis crate keeps the cursor apart only the packed command has its value.
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
