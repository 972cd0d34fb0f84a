//! The texts of scripts, to load one at a node that is to run it by its digest and does not know
//! it.
//!
//! A script is loaded at one node. The next command of the same caller may go to another, and a node
//! forgets its scripts when it restarts. `NOSCRIPT` says that nothing was executed, so the script may
//! be loaded there and the command sent again.

use std::{collections::VecDeque, fmt};

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};

use crate::wire::command::{Kind, arg, read_only::is_read};

/// Many more scripts than programs have, and little memory.
const LOADED: Limits = Limits {
    scripts: 512,
    bytes: 4 << 20,
};

/// Texts sent with `EVAL` are kept apart: some programs make a new text for every call, which must
/// not push out those that were loaded on purpose.
const EVALUATED: Limits = Limits {
    scripts: 64,
    bytes: 512 << 10,
};

/// The scripts that callers have sent through one pool.
pub(crate) struct Scripts {
    loaded: Mutex<Texts>,
    evaluated: Mutex<Texts>,
}

impl fmt::Debug for Scripts {
    /// Without the texts.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scripts").finish_non_exhaustive()
    }
}

impl Default for Scripts {
    fn default() -> Self {
        Self {
            loaded: Mutex::new(Texts::new(LOADED)),
            evaluated: Mutex::new(Texts::new(EVALUATED)),
        }
    }
}

impl Scripts {
    /// Remembers the text in a `SCRIPT LOAD` or an `EVAL`. It does not matter whether the server accepts
    /// it: nobody calls the digest of a script that does not compile.
    #[inline]
    pub(crate) fn remember(&self, cmd: &Cmd) {
        if matches!(Kind::of(cmd), Kind::LoadsScript | Kind::Eval) {
            self.remember_text(cmd);
        }
    }

    #[cold]
    fn remember_text(&self, cmd: &Cmd) {
        let (texts, text) = match Kind::of(cmd) {
            Kind::LoadsScript => (&self.loaded, arg(cmd, 2)),
            _ => (&self.evaluated, arg(cmd, 1)),
        };
        // The redis crate makes digests of text only.
        let Some(text) = text.and_then(|text| std::str::from_utf8(text).ok()) else {
            return;
        };
        if texts.lock().touch(text) {
            return;
        }
        // Outside of the lock, since a digest takes time.
        let digest = redis::Script::new(text).get_hash().to_owned();
        texts.lock().insert(Script {
            digest,
            text: text.to_owned(),
        });
    }

    /// These commands again, after a `SCRIPT LOAD` of every script that they call and that is known
    /// here; `None` if none is known.
    pub(crate) fn loading(&self, cmds: &[&Cmd]) -> Option<Pipeline> {
        let calls = cmds.iter().filter(|cmd| Kind::of(cmd) == Kind::EvalSha);
        let mut digests: Vec<_> = calls.filter_map(|cmd| arg(cmd, 1)).collect();
        digests.sort_unstable();
        digests.dedup();
        let mut pipeline = Pipeline::new();
        for text in digests.into_iter().filter_map(|digest| self.text(digest)) {
            pipeline.cmd("SCRIPT").arg("LOAD").arg(text);
        }
        if pipeline.is_empty() {
            return None;
        }
        for cmd in cmds {
            pipeline.add_command((*cmd).clone());
        }
        Some(pipeline)
    }

    fn text(&self, digest: &[u8]) -> Option<String> {
        let loaded = self.loaded.lock().find(digest);
        loaded.or_else(|| self.evaluated.lock().find(digest))
    }
}

/// Whether a node replies that it does not know the script it should run.
///
/// The server's text is compared too: a script itself may return an error with this code, after it has
/// written something.
#[inline]
pub(crate) fn is_unknown(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => {
            error.kind() == Some(ServerErrorKind::NoScript)
                && error
                    .details()
                    .is_some_and(|text| text.starts_with("No matching script"))
        }
        _ => false,
    }
}

/// From which command on a pipeline may be sent again, because a script was missing: from the first
/// command that missed one, if each command after it missed one too or only reads. Otherwise a write
/// was executed that should have come after it.
pub(crate) fn first_to_send_again(cmds: &[&Cmd], replies: &[Value]) -> Option<usize> {
    let missed =
        |(cmd, reply): (&&Cmd, &Value)| Kind::of(cmd) == Kind::EvalSha && is_unknown(reply);
    let both = || cmds.iter().zip(replies);
    let first = both().position(missed)?;
    both()
        .skip(first)
        .all(|(cmd, reply)| missed((cmd, reply)) || is_read(cmd))
        .then_some(first)
}

#[derive(Debug)]
struct Limits {
    scripts: usize,
    bytes: usize,
}

struct Script {
    digest: String,
    text: String,
}

/// The texts used most recently, the oldest of them first.
struct Texts {
    limits: Limits,
    scripts: VecDeque<Script>,
    bytes: usize,
}

impl Texts {
    const fn new(limits: Limits) -> Self {
        Self {
            limits,
            scripts: VecDeque::new(),
            bytes: 0,
        }
    }

    /// Whether a text is known already. If so, it becomes the one used most recently.
    fn touch(&mut self, text: &str) -> bool {
        // Repeated calls are most often of the script that was called last.
        let Some(place) = self.scripts.iter().rposition(|known| known.text == text) else {
            return false;
        };
        if place + 1 < self.scripts.len() {
            let script = self.scripts.remove(place);
            self.scripts.extend(script);
        }
        true
    }

    fn insert(&mut self, script: Script) {
        // Two callers may have found it missing at once.
        if script.text.len() > self.limits.bytes || self.touch(&script.text) {
            return;
        }
        self.bytes += script.text.len();
        self.scripts.push_back(script);
        while self.scripts.len() > self.limits.scripts || self.bytes > self.limits.bytes {
            let oldest = self.scripts.pop_front();
            self.bytes -= oldest.map_or(0, |oldest| oldest.text.len());
        }
    }

    fn find(&self, digest: &[u8]) -> Option<String> {
        let is = |script: &&Script| script.digest.as_bytes().eq_ignore_ascii_case(digest);
        let script = self.scripts.iter().rev().find(is)?;
        Some(script.text.clone())
    }
}

#[cfg(test)]
mod tests;
