//! What a call is named in a trace.

use std::borrow::Cow;

use redis::{Cmd, Pipeline};

use crate::wire::command::arg;

/// For what cannot be the name of a command. Somebody may send a key in its place.
const OTHER: &str = "_OTHER";
/// The longest name that is shown. No command has one half as long.
const LONGEST: usize = 32;

/// What is sent, without a word of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) name: Cow<'static, str>,
    /// How many commands a pipeline has.
    pub(crate) size: usize,
}

impl Operation {
    pub(crate) fn of_command(cmd: &Cmd) -> Self {
        Self {
            name: name(cmd),
            size: 1,
        }
    }

    pub(crate) fn of_pipeline(pipeline: &Pipeline) -> Self {
        let mut cmds = pipeline.cmd_iter();
        let size = pipeline.len();
        if pipeline.is_transaction() {
            let name = Cow::Borrowed("MULTI");
            return Self { name, size };
        }
        let first = cmds.next().map(name);
        let name = match first {
            Some(first) if cmds.all(|cmd| name(cmd) == first) => format!("PIPELINE {first}").into(),
            _ => "PIPELINE".into(),
        };
        Self { name, size }
    }
}

fn name(cmd: &Cmd) -> Cow<'static, str> {
    let name = arg(cmd, 0).and_then(|name| std::str::from_utf8(name).ok());
    match name {
        Some(name) if may_be_command(name) => name.to_ascii_uppercase().into(),
        _ => OTHER.into(),
    }
}

fn may_be_command(name: &str) -> bool {
    let fits = (1..=LONGEST).contains(&name.len());
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    fits && name.as_bytes()[0].is_ascii_alphabetic() && name.bytes().all(rest)
}

#[cfg(test)]
mod tests;
