//! What a command does to its connection, told by its name and, for a few commands, by its arguments.

pub(crate) mod affinity;
pub(crate) mod blocking;
pub(crate) mod operation;
pub(crate) mod read_only;
#[cfg(test)]
mod table_tests;

use redis::{Arg, Cmd};

use crate::{
    util::escape::escape,
    wire::{
        command::blocking::{Block, Timeout},
        session::dirt::Dirt,
    },
};

/// The argument of `CLIENT REPLY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Replies {
    On,
    Skip,
    Off,
}

/// What a command does to its connection. A command that is not listed by name does nothing to it: it
/// has one reply and leaves no state behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Plain,
    /// Not even a name. The server skips such a command without a reply.
    Empty,
    Multi,
    Exec,
    Discard,
    Watch,
    Unwatch,
    Select,
    Reset,
    /// `SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE`: messages come then, for which there is no way out.
    Subscribe,
    Unsubscribe,
    Replies(Replies),
    Leaves(Dirt),
    /// `MONITOR`, `PSYNC`, `SYNC`: the server then sends a stream instead of one reply to each
    /// command.
    Streams,
    Blocks(Timeout),
    /// Continues from a cursor, the argument at this index: a position in one node's own table.
    Walks(usize),
    /// Its reply has such a cursor.
    OpensCursor,
    /// `PUBLISH` and `SPUBLISH`. A replica accepts them, and passes the message on only to its own
    /// subscribers.
    Publishes,
    /// Runs the script whose text is the argument at index 1.
    Eval,
    /// Runs a script that the node must know already.
    EvalSha,
    /// `SCRIPT LOAD`.
    LoadsScript,
    /// Acts on something that only one node has: a client by its id there, a running script, a pause.
    NodeOwn,
    /// Which of its subcommands act on the connection changes with every version, so all count.
    Debug,
    /// With arguments.
    Hello,
    /// The next four depend on their arguments; [`Kind::of`] never returns them.
    Aggregate,
    Client,
    Function,
    Script,
}

/// Sorted by first letter: `START` and `LENGTHS` are computed from it.
pub(super) const NAMES: &[(&str, Kind)] = &[
    ("ASKING", Kind::Leaves(Dirt::Mode)),
    ("AUTH", Kind::Leaves(Dirt::Identity)),
    ("BLMOVE", Kind::Blocks(Timeout::LastSeconds)),
    ("BLMPOP", Kind::Blocks(Timeout::FirstSeconds)),
    ("BLPOP", Kind::Blocks(Timeout::LastSeconds)),
    ("BRPOP", Kind::Blocks(Timeout::LastSeconds)),
    ("BRPOPLPUSH", Kind::Blocks(Timeout::LastSeconds)),
    ("BZMPOP", Kind::Blocks(Timeout::FirstSeconds)),
    ("BZPOPMAX", Kind::Blocks(Timeout::LastSeconds)),
    ("BZPOPMIN", Kind::Blocks(Timeout::LastSeconds)),
    ("CLIENT", Kind::Client),
    ("CLUSTERSCAN", Kind::Walks(1)),
    ("DEBUG", Kind::Debug),
    ("DISCARD", Kind::Discard),
    ("EVAL", Kind::Eval),
    ("EVALSHA", Kind::EvalSha),
    ("EVALSHA_RO", Kind::EvalSha),
    ("EVAL_RO", Kind::Eval),
    ("EXEC", Kind::Exec),
    ("FAILOVER", Kind::Leaves(Dirt::Replication)),
    ("FT.AGGREGATE", Kind::Aggregate),
    ("FT.CURSOR", Kind::Walks(3)),
    ("FT.HYBRID", Kind::Aggregate),
    ("FUNCTION", Kind::Function),
    ("HELLO", Kind::Hello),
    ("HSCAN", Kind::Walks(2)),
    ("MONITOR", Kind::Streams),
    ("MULTI", Kind::Multi),
    ("PSUBSCRIBE", Kind::Subscribe),
    ("PSYNC", Kind::Streams),
    ("PUBLISH", Kind::Publishes),
    ("PUNSUBSCRIBE", Kind::Unsubscribe),
    ("QUIT", Kind::Leaves(Dirt::Closing)),
    ("READONLY", Kind::Leaves(Dirt::Mode)),
    ("READWRITE", Kind::Leaves(Dirt::Mode)),
    ("REPLCONF", Kind::Leaves(Dirt::Replication)),
    ("REPLICAOF", Kind::Leaves(Dirt::Replication)),
    ("RESET", Kind::Reset),
    ("SCAN", Kind::Walks(1)),
    ("SCRIPT", Kind::Script),
    ("SELECT", Kind::Select),
    ("SHUTDOWN", Kind::Leaves(Dirt::Closing)),
    ("SLAVEOF", Kind::Leaves(Dirt::Replication)),
    ("SPUBLISH", Kind::Publishes),
    ("SSCAN", Kind::Walks(2)),
    ("SSUBSCRIBE", Kind::Subscribe),
    ("SUBSCRIBE", Kind::Subscribe),
    ("SUNSUBSCRIBE", Kind::Unsubscribe),
    ("SYNC", Kind::Streams),
    ("UNSUBSCRIBE", Kind::Unsubscribe),
    ("UNWATCH", Kind::Unwatch),
    ("WAIT", Kind::Blocks(Timeout::Millis(2))),
    ("WAITAOF", Kind::Blocks(Timeout::Millis(3))),
    ("WATCH", Kind::Watch),
    ("XREAD", Kind::Blocks(Timeout::Stream)),
    ("XREADGROUP", Kind::Blocks(Timeout::Stream)),
    ("ZSCAN", Kind::Walks(2)),
];

// The low five bits of an ASCII letter are the same in both cases.
const fn letter(first: u8) -> usize {
    (first & 31) as usize
}

/// For each first letter, the lengths of the listed names, as a bit set. This test tells that GET, SET,
/// MGET, LRANGE and nearly all other commands are not listed, without comparing a string.
const LENGTHS: [u16; 32] = {
    let mut lengths = [0; 32];
    let mut i = 0;
    while i < NAMES.len() {
        let name = NAMES[i].0.as_bytes();
        lengths[letter(name[0])] |= 1 << name.len();
        i += 1;
    }
    lengths
};

const START: [usize; 32] = {
    let mut start = [NAMES.len(); 32];
    let mut i = NAMES.len();
    while i > 0 {
        i -= 1;
        start[letter(NAMES[i].0.as_bytes()[0])] = i;
    }
    start
};

#[inline]
fn lookup(name: &[u8]) -> Kind {
    let Some(&first) = name.first() else {
        return Kind::Plain;
    };
    if name.len() >= 16 || LENGTHS[letter(first)] & (1 << name.len()) == 0 {
        return Kind::Plain;
    }
    search(name, letter(first))
}

#[inline(never)]
fn search(name: &[u8], first: usize) -> Kind {
    NAMES[START[first]..]
        .iter()
        .take_while(|(listed, _)| letter(listed.as_bytes()[0]) == first)
        .find(|(listed, _)| listed.as_bytes().eq_ignore_ascii_case(name))
        .map_or(Kind::Plain, |&(_, kind)| kind)
}

impl Kind {
    #[inline]
    pub(crate) fn of(cmd: &Cmd) -> Self {
        let kind = match cmd.args_iter().next() {
            Some(Arg::Simple(name)) => lookup(name),
            Some(_) => Self::Plain,
            None => Self::Empty,
        };
        match kind {
            Self::Client => client(cmd),
            // A bare HELLO only reports; it is how a node's role is asked for.
            Self::Hello if cmd.args_iter().len() == 1 => Self::Plain,
            Self::Script if is(arg(cmd, 1), "DEBUG") => Self::Leaves(Dirt::Mode),
            Self::Script if is(arg(cmd, 1), "LOAD") => Self::LoadsScript,
            Self::Script | Self::Function if is(arg(cmd, 1), "KILL") => Self::NodeOwn,
            Self::Script | Self::Function => Self::Plain,
            Self::Aggregate if has(cmd, "WITHCURSOR") => Self::OpensCursor,
            Self::Aggregate => Self::Plain,
            kind => kind,
        }
    }

    /// Whether such a command is about its connection alone, so that it writes no data.
    pub(crate) fn is_about_connection(self) -> bool {
        match self {
            Self::Empty
            | Self::Multi
            | Self::Discard
            | Self::Watch
            | Self::Unwatch
            | Self::Select
            | Self::Reset
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Replies(_)
            | Self::Leaves(_)
            | Self::Streams
            | Self::Hello => true,
            Self::Plain
            | Self::Exec
            | Self::Blocks(_)
            | Self::Walks(_)
            | Self::OpensCursor
            | Self::Publishes
            | Self::Eval
            | Self::EvalSha
            | Self::LoadsScript
            | Self::NodeOwn
            | Self::Debug
            | Self::Aggregate
            | Self::Client
            | Self::Function
            | Self::Script => false,
        }
    }
}

/// The argument at `index`, where 0 is the command's name. `Cmd` does not show the value of a cursor, so
/// this is `None` for one.
pub(crate) fn arg(cmd: &Cmd, index: usize) -> Option<&[u8]> {
    match cmd.args_iter().nth(index) {
        Some(Arg::Simple(bytes)) => Some(bytes),
        _ => None,
    }
}

fn is(arg: Option<&[u8]>, word: &str) -> bool {
    arg.is_some_and(|arg| arg.eq_ignore_ascii_case(word.as_bytes()))
}

fn has(cmd: &Cmd, word: &str) -> bool {
    cmd.args_iter()
        .any(|arg| matches!(arg, Arg::Simple(arg) if is(Some(arg), word)))
}

const HARMLESS_CLIENT: [&str; 8] = [
    "GETNAME",
    "GETREDIR",
    "HELP",
    "ID",
    "INFO",
    "LIST",
    "SETINFO",
    "TRACKINGINFO",
];

const NODE_OWN_CLIENT: [&str; 4] = ["KILL", "PAUSE", "UNBLOCK", "UNPAUSE"];

#[cold]
fn client(cmd: &Cmd) -> Kind {
    let args = cmd.args_iter().len();
    let (sub, value) = (arg(cmd, 1), arg(cmd, 2));
    if args < 2 || HARMLESS_CLIENT.iter().any(|word| is(sub, word)) {
        return Kind::Plain;
    }
    if NODE_OWN_CLIENT.iter().any(|word| is(sub, word)) {
        return Kind::NodeOwn;
    }
    if is(sub, "REPLY") {
        return match value {
            // The server refuses anything but one known word, and changes nothing.
            _ if args != 3 => Kind::Plain,
            on if is(on, "ON") => Kind::Replies(Replies::On),
            skip if is(skip, "SKIP") => Kind::Replies(Replies::Skip),
            off if is(off, "OFF") => Kind::Replies(Replies::Off),
            _ => Kind::Plain,
        };
    }
    let off = is(value, "OFF");
    let switch = |word| is(sub, word);
    if switch("SETNAME") {
        Kind::Leaves(Dirt::Identity)
    } else if switch("CACHING") || (switch("TRACKING") && !off) {
        Kind::Leaves(Dirt::Tracking)
    } else if off && ["TRACKING", "NO-EVICT", "NO-TOUCH"].into_iter().any(switch) {
        // As on a new connection. It does not undo an earlier ON, which stays noted.
        Kind::Plain
    } else {
        // NO-EVICT, NO-TOUCH, and whatever later servers add.
        Kind::Leaves(Dirt::Mode)
    }
}

/// Whether several callers may share the connection that a command goes over.
///
/// The next command of the same caller may go to another node. So a command that depends on an earlier
/// one at the same node is kept together with it, refused, or harmless:
///
/// | command | depends on | over a shared connection | over a lent one |
/// |---|---|---|---|
/// | `EVALSHA`, `EVALSHA_RO` | `SCRIPT LOAD`, `EVAL` | the node is given the script where it lacks it, see [`scripts`](crate::role_pool::scripts) | the connection stays; on a fresh one the caller is told `NOSCRIPT` |
/// | `SCAN`, `HSCAN`, `SSCAN`, `ZSCAN`, `CLUSTERSCAN` | the cursor in its last reply | refused | refused at another node, see [`Affinity`](crate::wire::command::affinity::Affinity) |
/// | `FT.CURSOR` | `FT.AGGREGATE` or `FT.HYBRID` with `WITHCURSOR` | both are refused | as above |
/// | `CLIENT KILL`, `UNBLOCK`, `PAUSE`, `UNPAUSE` | a client's number, an earlier pause | refused where reads go to several nodes | as above |
/// | `SCRIPT KILL`, `FUNCTION KILL` | a running script | as above | as above |
/// | `EXEC`, `DISCARD`, `UNWATCH`, … | `MULTI`, `WATCH`, … | refused | the connection is not replaced |
/// | `SUBSCRIBE`, `PSUBSCRIBE`, `SSUBSCRIBE` | nothing; messages would come that nobody takes | refused | refused |
/// | `WAIT`, `WAITAOF` | the writes over the same connection | refused | refused on a fresh connection |
/// | `DEBUG` | whatever it was told before | refused | the connection is not replaced |
/// | `FCALL`, `FCALL_RO` | `FUNCTION LOAD` | harmless: functions are data, which the master replicates | harmless |
/// | `SCRIPT EXISTS`, `SCRIPT FLUSH`, `FUNCTION LIST`, `FUNCTION STATS` | `SCRIPT LOAD`, … | harmless: the reply is about one node, and a missing script is given or reported | harmless |
/// | `XREAD`, `XREADGROUP`, `XAUTOCLAIM` | ids of entries | harmless: they are data, the same everywhere | harmless |
/// | `CONFIG`, `INFO`, `LATENCY`, `MEMORY`, `PUBSUB`, `ROLE`, `SLOWLOG`, `CLIENT LIST`, … | nothing | harmless: each is about the one node that it reaches | harmless |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shareable {
    Yes,
    /// Yes, and it has the text of a script that a later command may name by its digest.
    YesWithScript,
    /// Only where every command goes to the master.
    Publishes,
    /// Only where every command goes to the same node.
    OneNode,
    /// It would change the connection for the others or keep them waiting, or a later command needs the
    /// same connection.
    No,
    Empty,
}

#[inline]
pub(crate) fn shareable(cmd: &Cmd) -> Shareable {
    match Kind::of(cmd) {
        Kind::Plain | Kind::EvalSha => Shareable::Yes,
        Kind::Eval | Kind::LoadsScript => Shareable::YesWithScript,
        Kind::Publishes => Shareable::Publishes,
        Kind::NodeOwn => Shareable::OneNode,
        Kind::Empty => Shareable::Empty,
        Kind::Blocks(timeout) if timeout.block(cmd) == Block::No => Shareable::Yes,
        _ => Shareable::No,
    }
}

/// The error of a `PUBLISH` or `SPUBLISH` that might go to a replica.
#[cold]
pub(crate) fn published_at_a_replica() -> redis::RedisError {
    (
        redis::ErrorKind::Client,
        "a message published at a replica reaches only that replica's own subscribers",
        "send PUBLISH and SPUBLISH over pool.writer(), or over a connection from pool.write(); \
         nothing was executed"
            .to_owned(),
    )
        .into()
}

/// The error of a `SUBSCRIBE`.
#[cold]
pub(crate) fn cannot_receive(cmd: &Cmd) -> redis::RedisError {
    let name = name(cmd);
    (
        redis::ErrorKind::Client,
        "messages cannot be received over this connection",
        format!(
            "subscribe with pool.subscriber(), which follows the master; {name} was not sent, \
             nothing was executed"
        ),
    )
        .into()
}

/// The redis crate's error for an empty command or pipeline.
pub(crate) fn empty() -> redis::RedisError {
    (redis::ErrorKind::Client, "empty command").into()
}

/// The command's name, for an error.
pub(crate) fn name(cmd: &Cmd) -> String {
    escape(arg(cmd, 0).unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests;
