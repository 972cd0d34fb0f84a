//! The texts of scripts, for nodes that are asked to run one by its digest and do not know it.
//!
//! A script is loaded at one node. The next command of the same caller may go to another, and a node
//! forgets its scripts when it restarts. `NOSCRIPT` says that nothing was executed, so the script may
//! be loaded there and the command sent again.

use std::{collections::VecDeque, fmt};

use parking_lot::Mutex;
use redis::{Cmd, Pipeline, ServerErrorKind, Value};

use crate::wire::command::{Kind, arg, read_only::is_read};

/// Many more than programs have, and nothing that a process would notice.
const LOADED: Limits = Limits {
    scripts: 512,
    bytes: 4 << 20,
};

/// Texts sent with `EVAL` are kept apart: some programs make a new one for every call, and those must
/// not drive out the ones that were loaded on purpose.
const EVALUATED: Limits = Limits {
    scripts: 64,
    bytes: 512 << 10,
};

/// What was sent to one pool.
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
    /// Remembers the text in a `SCRIPT LOAD` or an `EVAL`. Whether the server takes it does not
    /// matter: nobody has the digest of a script that does not compile.
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

    /// These commands again, behind a `SCRIPT LOAD` of every script that they call and that is known
    /// here; `None` where none is.
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

/// Whether a node says that it does not know the script it was asked to run.
///
/// In the server's own words: a script may answer with an error of this code after having done
/// anything.
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

/// From where on commands may be sent again, because a script was missing: from the first that
/// missed it, if all that come after it missed one too or only read. Otherwise something was executed
/// that should have come behind it.
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

#[derive(Debug, Clone, Copy)]
struct Limits {
    scripts: usize,
    bytes: usize,
}

struct Script {
    digest: String,
    text: String,
}

/// The texts used last, the oldest of them first.
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

    /// Whether a text is known already; then it is the one used last.
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
mod tests {
    use redis::cmd;

    use super::*;

    fn load(text: impl redis::ToRedisArgs) -> Cmd {
        cmd("SCRIPT").arg("LOAD").arg(text).take()
    }

    fn eval(text: &str) -> Cmd {
        cmd("eval").arg(text).arg(0).take()
    }

    fn call(text: &str) -> Cmd {
        let digest = redis::Script::new(text).get_hash().to_ascii_uppercase();
        cmd("EVALSHA").arg(digest).arg(0).take()
    }

    fn knows(scripts: &Scripts, text: &str) -> bool {
        scripts.loading(&[&call(text)]).is_some()
    }

    fn reply(line: &str) -> Value {
        redis::parse_redis_value(format!("{line}\r\n").as_bytes()).unwrap()
    }

    const UNKNOWN: &str = "-NOSCRIPT No matching script. Please use EVAL.";

    #[test]
    fn a_script_is_loaded_ahead_of_its_calls() {
        let scripts = Scripts::default();
        scripts.remember(&load("return 1"));
        scripts.remember(&eval("return 2"));
        scripts.remember(&cmd("GET").arg("return 3").take());
        assert!(!knows(&scripts, "return 3"));
        let (one, two) = (call("return 1"), call("return 2"));
        let get = cmd("GET").arg("k").take();
        let pipeline = scripts.loading(&[&one, &get, &two, &one]).unwrap();
        let names: Vec<_> = pipeline
            .cmd_iter()
            .map(|cmd| arg(cmd, 0).unwrap())
            .collect();
        let expected: [&[u8]; 6] = [
            b"SCRIPT", b"SCRIPT", b"EVALSHA", b"GET", b"EVALSHA", b"EVALSHA",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn the_texts_used_last_are_kept_within_the_limits() {
        let scripts = Scripts::default();
        let text = |n: usize| format!("return {n}");
        for n in 0..LOADED.scripts {
            scripts.remember(&load(text(n)));
        }
        scripts.remember(&load(text(0)));
        scripts.remember(&load(text(LOADED.scripts)));
        assert!(knows(&scripts, &text(0)), "it was used again");
        assert!(!knows(&scripts, &text(1)));
        assert!(knows(&scripts, &text(2)));

        for n in 0..10 * EVALUATED.scripts {
            scripts.remember(&eval(&format!("return -{n}")));
        }
        assert!(knows(&scripts, &text(2)), "it was loaded on purpose");
        assert_eq!(scripts.evaluated.lock().scripts.len(), EVALUATED.scripts);

        let big = |n: usize| format!("--{n}{}", "x".repeat(LOADED.bytes / 4));
        for n in 0..8 {
            scripts.remember(&load(big(n)));
        }
        assert!(knows(&scripts, &big(7)) && !knows(&scripts, &big(3)));
        let texts = scripts.loaded.lock();
        let bytes: usize = texts.scripts.iter().map(|script| script.text.len()).sum();
        assert_eq!(texts.bytes, bytes);
        assert!(bytes <= LOADED.bytes);
        drop(texts);

        let huge = "x".repeat(LOADED.bytes + 1);
        scripts.remember(&load(huge.as_str()));
        assert!(!knows(&scripts, &huge) && knows(&scripts, &big(7)));
        scripts.remember(&load(b"\xff"));
        scripts.remember(&cmd("SCRIPT").arg("LOAD").take());
    }

    #[test]
    fn only_the_servers_own_words_say_that_nothing_was_executed() {
        assert!(is_unknown(&reply(UNKNOWN)));
        assert!(is_unknown(&reply("-NOSCRIPT No matching script.")));
        for line in [
            "-NOSCRIPT said the script",
            "-ERR No matching script",
            "+OK",
        ] {
            assert!(!is_unknown(&reply(line)), "{line}");
        }
    }

    #[test]
    fn nothing_is_sent_again_behind_what_was_executed() {
        let cmds: Vec<Cmd> = [
            "EVALSHA x 0",
            "GET k",
            "SET k v",
            "EVALSHA_RO x 0",
            "EVAL x 0",
        ]
        .map(|line| {
            line.split(' ')
                .fold(Cmd::new(), |mut cmd, word| cmd.arg(word).take())
        })
        .into();
        let [sha, get, set, sha_ro, eval] = &cmds[..] else {
            unreachable!();
        };
        for (cmds, replies, from) in [
            (&[sha][..], &[UNKNOWN][..], Some(0)),
            (&[sha], &["+OK"], None),
            (&[set, sha], &["+OK", UNKNOWN], Some(1)),
            (&[sha, sha], &[UNKNOWN, UNKNOWN], Some(0)),
            (&[sha, get], &[UNKNOWN, "$-1"], Some(0)),
            (
                &[get, sha, get, sha_ro],
                &["$-1", UNKNOWN, "$-1", "+OK"],
                Some(1),
            ),
            (&[sha, set], &[UNKNOWN, "+OK"], None),
            (&[sha, sha], &[UNKNOWN, "+OK"], None),
            (&[sha, set, sha], &[UNKNOWN, "+OK", UNKNOWN], None),
            (&[sha, eval], &[UNKNOWN, UNKNOWN], None),
            (&[eval], &[UNKNOWN], None),
        ] {
            let replies: Vec<_> = replies.iter().map(|line| reply(line)).collect();
            assert_eq!(
                first_to_send_again(cmds, &replies),
                from,
                "{cmds:?} {replies:?}"
            );
        }
    }
}
