//! Asking a node how far its data goes, in the same write as a caller's commands.

use std::{
    ops::Deref,
    sync::{
        Arc,
        atomic::{
            AtomicBool,
            Ordering::{Acquire, Release},
        },
    },
};

use redis::{Cmd, ServerError, Value};

use crate::position::report::{self, NoPosition, Report};

/// Asks for a node's position.
pub(crate) const QUESTION: &[u8] = b"*2\r\n$4\r\nINFO\r\n$11\r\nreplication\r\n";

/// The question, to be sent alone.
pub(crate) fn command() -> Cmd {
    let mut command = redis::cmd("INFO");
    command.arg("replication");
    command
}

/// Which positions a call wants to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Want(u8);

impl Want {
    pub(crate) const NOTHING: Self = Self(0);
    /// How far the data went that a read saw.
    pub(crate) const AHEAD: Self = Self(1);
    /// How far the data goes after a write.
    pub(crate) const BEHIND: Self = Self(2);
    pub(crate) const BOTH: Self = Self(Self::AHEAD.0 | Self::BEHIND.0);

    #[inline]
    pub(crate) const fn ahead(self) -> bool {
        self.0 & Self::AHEAD.0 != 0
    }

    #[inline]
    pub(crate) const fn behind(self) -> bool {
        self.0 & Self::BEHIND.0 != 0
    }

    /// What is left of it where one may not be asked on either side.
    pub(crate) const fn narrowed(self, ahead: bool, behind: bool) -> Self {
        let ahead = if ahead { Self::AHEAD.0 } else { 0 };
        let behind = if behind { Self::BEHIND.0 } else { 0 };
        Self(self.0 & (ahead | behind))
    }

    /// How many questions that takes for a call that is alone.
    pub(crate) const fn count(self) -> usize {
        self.0.count_ones() as usize
    }
}

/// What a node answered to one question. All calls that it was asked for share it.
#[derive(Debug, Clone)]
pub(crate) struct Answer(Arc<Answered>);

#[derive(Debug)]
struct Answered {
    said: Result<Report, NoAnswer>,
    is_noted: AtomicBool,
}

impl Answer {
    pub(crate) fn new(said: Result<Report, NoAnswer>) -> Self {
        let is_noted = AtomicBool::new(false);
        Self(Arc::new(Answered { said, is_noted }))
    }

    /// Has what it says learned once, and not by each of the hundred calls of its batch. After this it has
    /// been learned, whoever did it: two calls at once may both do so.
    #[inline]
    pub(crate) fn note_once(&self, note: impl FnOnce(&Result<Report, NoAnswer>)) {
        if self.0.is_noted.load(Acquire) {
            return;
        }
        note(&self.0.said);
        self.0.is_noted.store(true, Release);
    }
}

impl Deref for Answer {
    type Target = Result<Report, NoAnswer>;

    #[inline]
    fn deref(&self) -> &Self::Target {
        &self.0.said
    }
}

impl PartialEq for Answer {
    fn eq(&self, other: &Self) -> bool {
        self.0.said == other.0.said
    }
}

/// Why a node's position is not known.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum NoAnswer {
    #[error(transparent)]
    NoPosition(#[from] NoPosition),
    #[error("the server answered {0}")]
    Refused(ServerError),
    /// The portions of one pipeline were executed at positions of which none is known to be the least.
    #[error("its parts were executed in different histories of the data")]
    Mixed,
}

/// Reads the reply to a question.
pub(crate) fn answer(reply: Value) -> Answer {
    Answer::new(match reply {
        Value::ServerError(error) => Err(NoAnswer::Refused(error)),
        reply => report::parse(&reply).map_err(NoAnswer::from),
    })
}

/// Reads the reply to a question, a short bulk string.
pub(crate) fn answer_text(text: &[u8]) -> Answer {
    Answer::new(report::parse_text(text).map_err(NoAnswer::from))
}

/// One answer for all of a call, of which one part was answered for by `first` and another one by `second`:
/// the one that goes less far.
pub(crate) fn earlier(first: &Answer, second: &Answer) -> Answer {
    if Arc::ptr_eq(&first.0, &second.0) {
        return first.clone();
    }
    let earlier = match (&**first, &**second) {
        (Err(_), _) => first,
        (_, Err(_)) => second,
        (Ok(one), Ok(other)) if one.position.timeline != other.position.timeline => {
            return Answer::new(Err(NoAnswer::Mixed));
        }
        (Ok(one), Ok(other)) if one.position.offset <= other.position.offset => first,
        _ => second,
    };
    earlier.clone()
}

/// The positions that were asked for around a call. Both `None` where nothing was asked, or where the
/// connection ended before the answer came.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Answers {
    pub(crate) ahead: Option<Answer>,
    pub(crate) behind: Option<Answer>,
}

/// A reply, and the positions that were asked for around it.
#[derive(Debug, PartialEq)]
pub(crate) struct Placed<R> {
    pub(crate) reply: R,
    pub(crate) answers: Answers,
}

impl<R> Placed<R> {
    /// A reply around which nothing was asked.
    pub(crate) fn nowhere(reply: R) -> Self {
        Self {
            reply,
            answers: Answers::default(),
        }
    }
}

#[cfg(test)]
mod tests;
