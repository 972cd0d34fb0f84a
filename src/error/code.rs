//! What an error reply of a server means: the one table of codes. Only what a code says in reply to one
//! certain command of the pool's own (`PING`, `HELLO`) is said where that command is sent.

use crate::error::reply_class::ReplyClass;

/// What became of the command that was answered with the error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Execution {
    /// Not executed, for a reason that may pass.
    NotNow,
    /// Not executed, and only a change of the command or of a configuration will help.
    Never,
    /// Executed; it failed and would fail again.
    Done,
}

/// What the error means in answer to a command of the pool's own: in a handshake, to a `PING`, or to
/// a Sentinel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Setup {
    /// The next try may succeed.
    ///
    /// Also for every code and text that the table does not have, such as what a proxy says while
    /// its server is down. If these were final, a failover would end calls that it should only
    /// delay.
    MayPass,
    /// The server repeats the refusal until its configuration or ours is changed.
    Final,
    /// The server does not let us use this one command: the user lacks the permission, or the server
    /// or a proxy does not know it. Final, too.
    CommandDenied,
}

use Execution::{Done, Never, NotNow};
use ReplyClass::{CheckNode, NoSignal, NotServing, ReadOnly};
use Setup::{CommandDenied, Final, MayPass};

/// Every code that means something here. Any other is [`Done`], [`NoSignal`] and [`MayPass`].
///
/// Redis gives the errors that mean *not executed* before it starts the command (`processCommand`
/// in server.c). The exception is `UNBLOCKED`. Inside a script the server makes these checks only
/// until the script has written something.
#[rustfmt::skip]
const CODES: [(&str, Execution, ReplyClass, Setup); 20] = [
    // A replica takes no writes. Valkey 8 says REDIRECT to a client that sent CLIENT CAPA REDIRECT.
    ("READONLY",    NotNow, ReadOnly,   MayPass),
    ("REDIRECT",    NotNow, ReadOnly,   MayPass),
    // The node reads its data set from disk or from its master.
    ("LOADING",     NotNow, NotServing, MayPass),
    // It has lost its master, with `replica-serve-stale-data no`.
    ("MASTERDOWN",  NotNow, NotServing, MayPass),
    // The master has too few replicas in sync. It may well be the right master, so another
    // connection would lead to it again. How long to wait is for the caller to decide.
    ("NOREPLICAS",  NotNow, CheckNode,  MayPass),
    // It was demoted while it blocked on the command. Nothing was executed, but the command's time has
    // been running, and only the caller knows whether to begin anew.
    ("UNBLOCKED",   NotNow, CheckNode,  MayPass),
    // As NOREPLICAS, but these say nothing about who is master.
    ("MISCONF",     NotNow, NoSignal,   MayPass),
    ("OOM",         NotNow, NoSignal,   MayPass),
    ("BUSY",        NotNow, NoSignal,   MayPass),
    ("CLUSTERDOWN", NotNow, NoSignal,   MayPass),
    ("TRYAGAIN",    NotNow, NoSignal,   MayPass),
    ("NOAUTH",      Never,  NoSignal,   Final),
    ("WRONGPASS",   Never,  NoSignal,   Final),
    ("DENIED",      Never,  NoSignal,   Final),
    ("NOPERM",      Never,  NoSignal,   CommandDenied),
    // In a handshake, HELLO is not the only way to sign in.
    ("NOPROTO",     Never,  NoSignal,   MayPass),
    ("NOSCRIPT",    Never,  NoSignal,   MayPass),
    ("MOVED",       Never,  NoSignal,   MayPass),
    ("ASK",         Never,  NoSignal,   MayPass),
    ("CROSSSLOT",   Never,  NoSignal,   MayPass),
];

/// How error texts begin whose only code is `ERR` and that mean something here. None of them says
/// anything about the node.
#[rustfmt::skip]
const TEXTS: [(&str, Execution, Setup); 22] = [
    ("max number of clients",                               NotNow, MayPass),
    ("unknown command",                                     Never,  CommandDenied),
    // Before 7.0 "Unknown subcommand or wrong number of arguments for …".
    ("unknown subcommand",                                  Never,  MayPass),
    ("wrong number of arguments for 'auth' command",        Never,  Final),
    ("wrong number of arguments",                           Never,  MayPass),
    ("function not found",                                  Never,  MayPass),
    // After this the server closes the connection.
    ("protocol error",                                      Never,  MayPass),
    // Sent in RESP2 while something is subscribed to. The second text is that of Redis 5.
    ("can't execute '",                                     Never,  MayPass),
    ("only (p)subscribe",                                   Never,  MayPass),
    ("command not allowed inside a transaction",            Never,  MayPass),
    // A script's own flags are checked before it runs.
    ("can not run script",                                  Never,  MayPass),
    ("can not execute a script with write flag",            Never,  MayPass),
    ("debug command not allowed",                           Never,  MayPass),
    ("module command not allowed",                          Never,  MayPass),
    ("replica can't interact with the keyspace",            Never,  MayPass),
    // Before 6.0, which has no WRONGPASS.
    ("invalid password",                                    Never,  Final),
    ("Client sent AUTH, but no password is set",            Done,   Final),
    // With a password, to a server that wants none.
    ("AUTH <password> called without any password configured", Done, Final),
    ("AUTH called without any password configured",         Done,   Final),
    ("DB index is out of range",                            Done,   Final),
    ("invalid DB index",                                    Done,   Final),
    ("SELECT is not allowed in cluster mode",               Done,   Final),
];

/// The codes that mean something here.
pub(crate) fn known() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(code, ..)| *code)
}

/// What became of a command that got this error.
pub(crate) fn execution(code: &str, details: &str) -> Execution {
    if code != "EXECABORT" {
        return execution_of_command(code, details);
    }
    match abort_reason(details) {
        Some((code, details)) if execution_of_command(code, details) == NotNow => NotNow,
        _ => Never,
    }
}

fn execution_of_command(code: &str, details: &str) -> Execution {
    match code {
        "ERR" if is_from_script(details) => Done,
        "ERR" => {
            let mut rows = TEXTS.iter();
            let row = rows.find(|(words, ..)| begins(details, words));
            row.map_or(Done, |(_, execution, _)| *execution)
        }
        _ => row(code).map_or(Done, |(_, execution, ..)| *execution),
    }
}

/// What an error reply says about the node that sent it.
pub(crate) fn class(code: &str, details: &str) -> ReplyClass {
    let code = match code {
        // A server that was demoted between the commands of a transaction and its EXEC gives this
        // reason.
        "EXECABORT" => abort_reason(details).map_or(code, |(reason, _)| reason),
        _ => code,
    };
    row(code).map_or(NoSignal, |(_, _, class, _)| *class)
}

/// What an error reply to a command of the pool's own means.
///
/// Texts are compared as they are spelled in the table: servers have not changed the case of these.
pub(crate) fn setup(code: &str, details: &str) -> Setup {
    match code {
        // A proxy may put words of its own in front.
        "ERR" if details.to_ascii_lowercase().contains("unknown command") => CommandDenied,
        "ERR" => {
            let is_final = |(words, _, setup): &(&str, _, Setup)| {
                *setup == Final && details.starts_with(words)
            };
            if TEXTS.iter().any(is_final) {
                Final
            } else {
                MayPass
            }
        }
        _ => row(code).map_or(MayPass, |(.., setup)| *setup),
    }
}

/// Whether this error says that we cannot use the command at all: without the permission, or
/// because the server does not know it.
pub(crate) fn denies_command(code: &str, details: &str) -> bool {
    setup(code, details) == CommandDenied
}

/// The codes of the table.
#[cfg(test)]
pub(crate) fn all() -> impl Iterator<Item = &'static str> {
    CODES.iter().map(|(code, ..)| *code)
}

fn row(code: &str) -> Option<&'static (&'static str, Execution, ReplyClass, Setup)> {
    CODES.iter().find(|(known, ..)| *known == code)
}

/// The code and the text for which an `EXEC` was refused, where its `EXECABORT` gives one.
fn abort_reason(details: &str) -> Option<(&str, &str)> {
    let (_, line) = details.split_once("because of: ")?;
    Some(line.split_once(' ').unwrap_or((line, "")))
}

/// Whether the error comes from a command inside a script. The script may have written before it.
/// Redis 7 appends `script: <hash>, on @user_script:<line>.` to the error.
fn is_from_script(details: &str) -> bool {
    details.contains("called from script") || details.contains(", on @user_")
}

/// Ignores case: versions of Redis differ in it.
fn begins(details: &str, words: &str) -> bool {
    let head = details.get(..words.len());
    head.is_some_and(|head| head.eq_ignore_ascii_case(words))
}

#[cfg(test)]
mod tests;
