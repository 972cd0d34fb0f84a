//! How long the server may keep a command waiting on purpose, told by the command's arguments.

use std::{str::FromStr, time::Duration};

use redis::{Arg, Cmd};

use crate::{
    util::far::FAR,
    wire::command::{Kind, arg, is},
};

/// Where a blocking command carries its timeout, and in which unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timeout {
    /// The last argument, in seconds.
    LastSeconds,
    /// The first argument, in seconds.
    FirstSeconds,
    /// The argument at this index, in milliseconds.
    Millis(usize),
    /// The option `BLOCK`, in milliseconds.
    Stream,
}

/// How long the server may keep a command waiting on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// It answers at once, or refuses.
    No,
    For(Duration),
    Forever,
}

impl Block {
    /// How long two commands, one after the other, may be kept waiting.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Forever, _) | (_, Self::Forever) => Self::Forever,
            (Self::For(one), Self::For(other)) => Self::For(one.saturating_add(other)),
            (Self::For(time), Self::No) | (Self::No, Self::For(time)) => Self::For(time),
            (Self::No, Self::No) => Self::No,
        }
    }
}

/// How long the server may keep `cmd` waiting, on a connection that is not in a transaction.
#[inline]
pub(crate) fn block_of(kind: Kind, cmd: &Cmd) -> Block {
    match kind {
        Kind::Blocks(timeout) => timeout.block(cmd),
        Kind::Debug => debug_sleep(cmd),
        _ => Block::No,
    }
}

impl Timeout {
    #[cold]
    pub(super) fn block(self, cmd: &Cmd) -> Block {
        match self {
            Self::LastSeconds => match cmd.args_iter().len() {
                // Without a key and a timeout the server refuses it.
                0..=2 => Block::No,
                len => seconds(arg(cmd, len - 1)),
            },
            Self::FirstSeconds => seconds(arg(cmd, 1)),
            Self::Millis(index) => millis(arg(cmd, index)),
            Self::Stream => stream(cmd),
        }
    }
}

fn wait(time: Duration) -> Block {
    if time.is_zero() || time > FAR {
        Block::Forever
    } else {
        Block::For(time)
    }
}

fn number<T: FromStr>(arg: Option<&[u8]>) -> Option<T> {
    std::str::from_utf8(arg?).ok()?.parse().ok()
}

// The server takes the seconds as a float and refuses what is negative, not a number, or more than
// an i64 of milliseconds.
fn seconds(arg: Option<&[u8]>) -> Block {
    match number::<f64>(arg) {
        Some(0.0) => Block::Forever,
        // Since 7.0 the server waits at least a millisecond. Before, it cut this to zero, which is
        // for ever.
        Some(secs) if secs > 0.0 && secs < 0.001 => Block::For(Duration::from_millis(1)),
        Some(secs) if secs > 0.0 && secs * 1000.0 < 9.2e18 => {
            Duration::try_from_secs_f64(secs).map_or(Block::No, wait)
        }
        _ => Block::No,
    }
}

fn millis(arg: Option<&[u8]>) -> Block {
    match number::<i64>(arg).map(u64::try_from) {
        Some(Ok(millis)) => wait(Duration::from_millis(millis)),
        _ => Block::No,
    }
}

/// Options come before `STREAMS`. A consumer group may be called like one of them, so the options'
/// values are skipped.
fn stream(cmd: &Cmd) -> Block {
    let mut block = Block::No;
    let mut args = cmd.args_iter().skip(1);
    while let Some(Arg::Simple(option)) = args.next() {
        let option = Some(option);
        if is(option, "BLOCK") {
            block = match args.next() {
                Some(Arg::Simple(value)) => millis(Some(value)),
                _ => Block::No,
            };
        } else if is(option, "COUNT") || is(option, "CLAIM") {
            args.next();
        } else if is(option, "GROUP") {
            args.nth(1);
        } else if is(option, "STREAMS") {
            break;
        }
    }
    block
}

fn debug_sleep(cmd: &Cmd) -> Block {
    match number::<f64>(arg(cmd, 2)) {
        Some(secs) if secs > 0.0 && is(arg(cmd, 1), "SLEEP") => {
            Duration::try_from_secs_f64(secs).map_or(Block::Forever, wait)
        }
        _ => Block::No,
    }
}

#[cfg(test)]
mod tests;
