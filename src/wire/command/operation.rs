//! What a call is named in a trace.

use std::borrow::Cow;

use redis::{Cmd, Pipeline};

use crate::wire::command::{arg, is};

/// For what cannot be the name of a command. Somebody may send a key in its place.
const OTHER: &str = "_OTHER";
/// The longest name that is shown. No command has one half as long.
const LONGEST: usize = 32;
/// How long the digest of a script is, in hexadecimal digits.
const DIGEST: usize = 40;
/// The longest name of a function that is shown.
const LONGEST_FUNCTION: usize = 64;

/// What is sent, without a word of what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Operation {
    pub(crate) name: Cow<'static, str>,
    /// How many commands a pipeline has.
    pub(crate) size: usize,
    /// The script or the function that is called; of a pipeline, if all its commands call the same.
    pub(crate) procedure: Option<String>,
}

impl Operation {
    pub(crate) fn of_command(cmd: &Cmd) -> Self {
        Self {
            name: name(cmd),
            size: 1,
            procedure: procedure(cmd).map(str::to_owned),
        }
    }

    pub(crate) fn of_pipeline(pipeline: &Pipeline) -> Self {
        let name = if pipeline.is_transaction() {
            "MULTI".into()
        } else if let Some(name) = same(pipeline.cmd_iter().map(name)) {
            format!("PIPELINE {name}").into()
        } else {
            "PIPELINE".into()
        };
        let procedure = same(pipeline.cmd_iter().map(procedure)).flatten();
        Self {
            name,
            size: pipeline.len(),
            procedure: procedure.map(str::to_owned),
        }
    }
}

/// What all of them are, if they are all alike.
fn same<T: PartialEq>(mut all: impl Iterator<Item = T>) -> Option<T> {
    let first = all.next()?;
    all.all(|other| other == first).then_some(first)
}

fn name(cmd: &Cmd) -> Cow<'static, str> {
    let name = arg(cmd, 0).and_then(|name| std::str::from_utf8(name).ok());
    match name {
        Some(name) if may_be_command(name) => name.to_ascii_uppercase().into(),
        _ => OTHER.into(),
    }
}

/// What a command calls by its name. Whatever cannot be one is not shown: somebody may send a key in its
/// place.
fn procedure(cmd: &Cmd) -> Option<&str> {
    let (command, called) = (arg(cmd, 0), arg(cmd, 1)?);
    let called = std::str::from_utf8(called).ok()?;
    let is_shown = if is(command, "EVALSHA") || is(command, "EVALSHA_RO") {
        is_digest(called)
    } else {
        (is(command, "FCALL") || is(command, "FCALL_RO")) && may_be_function(called)
    };
    is_shown.then_some(called)
}

fn is_digest(name: &str) -> bool {
    name.len() == DIGEST && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Servers allow these characters only.
fn may_be_function(name: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    (1..=LONGEST_FUNCTION).contains(&name.len()) && name.bytes().all(allowed)
}

fn may_be_command(name: &str) -> bool {
    let fits = (1..=LONGEST).contains(&name.len());
    let rest = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    fits && name.as_bytes()[0].is_ascii_alphabetic() && name.bytes().all(rest)
}

#[cfg(test)]
mod tests;
