//! What a command takes for granted from the one before it.

use redis::{Arg, Cmd, Pipeline, Value};

use crate::wire::command::{Kind, Timeout, read_only};

/// What a command goes on from, so that sent elsewhere it would do something else without a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Tie {
    None,
    /// A cursor says how far one node's own table was walked through, a client's number whom one node
    /// means by it.
    Node,
    /// `WAIT` and `WAITAOF` are about what was written over the same connection before.
    Connection,
}

impl Tie {
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
            tie => {
                writes |= tie == Self::None && !read_only::is_read(cmd);
                tie
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
mod tests {
    use redis::pipe;

    use super::{super::tests::cmd, *};

    #[test]
    fn what_goes_on_from_something_is_tied() {
        for (line, tie) in [
            ("GET k", Tie::None),
            ("SCAN 0", Tie::None),
            ("SCAN 0 MATCH x COUNT 10", Tie::None),
            ("SCAN 17", Tie::Node),
            ("scan 17", Tie::Node),
            ("SCAN", Tie::None),
            ("HSCAN h 0", Tie::None),
            ("HSCAN h 5", Tie::Node),
            ("SSCAN s 5", Tie::Node),
            ("ZSCAN z 5", Tie::Node),
            ("FT.CURSOR READ i 5", Tie::Node),
            ("FT.AGGREGATE i * WITHCURSOR", Tie::None),
            ("CLUSTERSCAN 0", Tie::None),
            ("CLUSTERSCAN 0-x", Tie::Node),
            ("CLIENT UNBLOCK 7", Tie::Node),
            ("CLIENT ID", Tie::None),
            ("WAIT 1 0", Tie::Connection),
            ("WAITAOF 1 0 0", Tie::Connection),
            ("", Tie::None),
        ] {
            assert_eq!(Tie::of(&cmd(line)), tie, "{line}");
        }
        assert_eq!(Tie::of(cmd("SCAN").cursor_arg(0)), Tie::None);
        assert_eq!(Tie::of(cmd("SCAN").cursor_arg(9)), Tie::Node);
        assert_eq!(
            Tie::of(cmd("HSCAN h").cursor_arg(0).arg("COUNT")),
            Tie::None
        );
        assert_eq!(Tie::of(cmd("HSCAN h").cursor_arg(9)), Tie::Node);
    }

    #[test]
    fn a_wait_behind_a_write_of_its_own_pipeline_is_free() {
        let all = |lines: &[&str]| {
            let mut pipeline = pipe();
            for line in lines {
                pipeline.add_command(cmd(line));
            }
            Tie::of_all(&pipeline)
        };
        assert_eq!(all(&["SET k v", "WAIT 1 0"]), Tie::None);
        assert_eq!(all(&["GET k", "WAIT 1 0"]), Tie::Connection);
        assert_eq!(all(&["WAIT 1 0", "SET k v"]), Tie::Connection);
        assert_eq!(all(&["GET k", "SCAN 7"]), Tie::Node);
        assert_eq!(all(&[]), Tie::None);
    }
}
