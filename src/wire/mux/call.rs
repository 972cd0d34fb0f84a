//! One caller's command or pipeline, from its first poll to its last reply.
//!
//! The caller and the driver share it, behind a lock of its own at which they hardly ever meet: the
//! caller fills it in, hands it to the driver, and looks again when it is woken.

use std::{mem, sync::Arc, task::Waker};

use parking_lot::Mutex;
use redis::Value;

use crate::{
    error::failure::{Cause, Fate},
    wire::{
        mux::{
            outbox::{BIG, Outbox},
            room::Room,
        },
        pipeline,
        position_question::{Answer, Answers, Want, earlier},
    },
};

/// What a handle may keep between two commands for those that do not fit into the room.
const KEEP: usize = 1024;

/// Why a caller gets no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MuxError {
    /// Nothing of the command was written, and it never will be: it may go over another connection.
    NotWritten,
    Failed(Cause, Fate),
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum Completion {
    One(Value),
    /// A short bulk string, whose bytes are in the call's room.
    Short,
    Many(Vec<Value>),
    Error(MuxError),
}

/// What a caller finds when it is polled.
#[derive(Debug)]
pub(super) enum Progress {
    /// The call has not ended; its waker will be called.
    Waiting,
    /// The next portion may be handed in.
    More,
    Done(Completion),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The driver has not taken what was handed in last.
    HandedIn,
    /// The driver has taken all that was handed in.
    Taken,
    /// It has all its replies, and waits for the node's position.
    Answered,
    /// It receives nothing any more, and nothing of it is written any more.
    Over,
}

#[derive(Debug)]
pub(super) struct Call {
    stage: Stage,
    /// The caller wants no reply, only to know when the command has its place in the stream.
    silent: bool,
    waker: Option<Waker>,
    completion: Option<Completion>,
    answers: Answers,
    /// The offset of its first byte in the stream; `u64::MAX` until the driver has taken something.
    start: u64,
    /// Only for a pipeline.
    replies: Option<Box<Replies>>,
    /// What is handed in, where it is too long for `room`.
    long: Vec<u8>,
    /// The command until the driver has taken it. Then the reply, if it is short.
    pub(super) room: Room,
}

/// The replies to a pipeline.
#[derive(Debug)]
struct Replies {
    received: Vec<Value>,
    /// How many there are to be.
    total: usize,
    /// How many commands the driver has taken.
    taken: usize,
    /// Another portion is to be handed in.
    more: bool,
}

impl Replies {
    /// Where the server reads nothing more because of its last reply, that is the reply to all the rest,
    /// too. Says whether it is.
    fn repeat_final_error(&mut self) -> bool {
        let error = pipeline::final_error(&self.received).cloned();
        if let Some(error) = &error {
            self.received.resize(self.total, error.clone());
        }
        error.is_some()
    }
}

/// A call and those who know it: its caller, and the driver until the last reply.
pub(super) type SharedCall = Arc<Mutex<Call>>;

/// Where a caller keeps its call, to use it again for the next command: a command then allocates
/// nothing here.
#[derive(Debug, Default)]
pub(crate) struct Slot(Option<SharedCall>);

impl Slot {
    /// An unused call. The old one is used again only if the driver has forgotten it, or a late reply
    /// to the old command would be the reply to the new one.
    #[inline]
    pub(super) fn renew(&mut self) -> &mut Call {
        let kept = self.0.take().and_then(|mut call| {
            Arc::get_mut(&mut call)?.get_mut().reset();
            Some(call)
        });
        let call = kept.unwrap_or_else(|| Arc::new(Mutex::new(Call::new())));
        let call = Arc::get_mut(self.0.insert(call));
        call.expect("BUG: nobody else has the call").get_mut()
    }

    #[inline]
    pub(super) fn call(&self) -> &SharedCall {
        let call = self.0.as_ref();
        call.expect("BUG: a call is asked for after it has begun")
    }

    /// The positions that were asked for around the command in this slot, once its reply was taken. Leaves
    /// none behind.
    pub(crate) fn take_answers(&self) -> Answers {
        let call = self.0.as_ref();
        call.map(|call| mem::take(&mut call.lock().answers))
            .unwrap_or_default()
    }
}

impl Completion {
    #[inline]
    pub(super) fn one(self) -> Result<Value, MuxError> {
        match self {
            Self::One(value) => Ok(value),
            Self::Error(error) => Err(error),
            Self::Short | Self::Many(_) => unreachable!("BUG: one command has one reply"),
        }
    }

    pub(super) fn many(self) -> Result<Vec<Value>, MuxError> {
        match self {
            Self::Many(values) => Ok(values),
            Self::Error(error) => Err(error),
            Self::Short | Self::One(_) => {
                unreachable!("BUG: a pipeline's replies come together")
            }
        }
    }
}

/// The caller's side.
impl Call {
    fn new() -> Self {
        Self {
            stage: Stage::Taken,
            silent: false,
            waker: None,
            completion: None,
            answers: Answers::default(),
            start: u64::MAX,
            replies: None,
            long: Vec::new(),
            room: Room::new(),
        }
    }

    #[inline]
    fn reset(&mut self) {
        self.stage = Stage::Taken;
        self.silent = false;
        self.waker = None;
        self.completion = None;
        self.answers = Answers::default();
        self.start = u64::MAX;
        self.replies = None;
        // A command that was handed back is still there, and would be sent in place of the next one.
        self.long.clear();
    }

    /// It is a single command.
    #[inline]
    pub(super) fn begin(&mut self, waker: &Waker, silent: bool) {
        self.waker = Some(waker.clone());
        self.silent = silent;
    }

    /// It is a pipeline that is to have so many replies.
    pub(super) fn begin_pipeline(&mut self, waker: &Waker, total: usize) {
        self.waker = Some(waker.clone());
        self.replies = Some(Box::new(Replies {
            received: Vec::new(),
            total,
            taken: 0,
            more: false,
        }));
    }

    /// An empty buffer for what does not fit into the room.
    pub(super) fn long(&mut self) -> &mut Vec<u8> {
        self.room.clear();
        self.long.clear();
        &mut self.long
    }

    /// What was encoded last goes to the driver; `more` says whether there is another portion.
    #[inline]
    pub(super) fn hand_in(&mut self, more: bool) {
        self.stage = Stage::HandedIn;
        if let Some(replies) = &mut self.replies {
            replies.more = more;
        }
    }

    #[inline]
    pub(super) fn progress(&mut self, waker: &Waker) -> Progress {
        if self.stage != Stage::Answered
            && let Some(completion) = self.finish()
        {
            return Progress::Done(completion);
        }
        match &mut self.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        let more = self.replies.as_ref().is_some_and(|replies| replies.more);
        if more && self.stage == Stage::Taken {
            return Progress::More;
        }
        Progress::Waiting
    }

    /// How it ended, if it has all its replies.
    #[inline]
    pub(super) fn finish(&mut self) -> Option<Completion> {
        let completion = self.completion.take()?;
        self.stage = Stage::Over;
        if self.long.capacity() > KEEP {
            self.long = Vec::new();
        }
        Some(match completion {
            Completion::Short => Completion::One(Value::BulkString(self.room.bytes().to_vec())),
            completion => completion,
        })
    }

    /// The caller does not wait any longer. What it had received is to be dropped without the lock.
    pub(super) fn abandon(&mut self) -> Abandoned {
        let (untaken, fate) = (self.stage == Stage::HandedIn, self.fate());
        self.stage = Stage::Over;
        Abandoned {
            untaken,
            fate,
            _waker: self.waker.take(),
            _completion: self.completion.take(),
            _replies: self.replies.take(),
            _long: mem::take(&mut self.long),
        }
    }

    /// What is known of its commands if it is given up now.
    pub(super) fn fate(&self) -> Fate {
        // What the driver has taken may still be written after this.
        if self.start == u64::MAX {
            Fate::NotExecuted
        } else {
            Fate::Unknown
        }
    }
}

/// What is left of a call whose caller has gone.
#[derive(Debug)]
pub(super) struct Abandoned {
    /// The driver has not taken what was handed in last, and never will.
    pub(super) untaken: bool,
    pub(super) fate: Fate,
    _waker: Option<Waker>,
    _completion: Option<Completion>,
    _replies: Option<Box<Replies>>,
    _long: Vec<u8>,
}

/// The driver's side. The wakers that it returns are to be called without the lock.
impl Call {
    /// Moves what was handed in to the stream. Returns the offset at which it starts there; `None` where
    /// the call has ended meanwhile.
    #[inline]
    pub(super) fn take(
        &mut self,
        count: usize,
        want: Want,
        outbox: &mut Outbox,
        woken: &mut Vec<Waker>,
    ) -> Option<u64> {
        if self.stage != Stage::HandedIn {
            return None;
        }
        let start = outbox.end();
        if self.long.is_empty() {
            outbox.copy(self.room.bytes());
        // Who wants a question ahead of it wants it in the same write.
        } else if self.long.len() > BIG && !want.ahead() {
            outbox.push(mem::take(&mut self.long));
        } else {
            outbox.copy(&self.long);
            self.long.clear();
        }
        self.stage = Stage::Taken;
        self.start = self.start.min(start);
        if let Some(replies) = &mut self.replies {
            replies.taken += count;
            if replies.more {
                woken.extend(self.waker.take());
            }
        } else if self.silent {
            woken.extend(self.end(Completion::One(Value::Nil), false));
        }
        Some(start)
    }

    /// Whether it waits for nothing any more.
    pub(super) fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether there is something to take.
    pub(super) fn is_handed_in(&self) -> bool {
        self.stage == Stage::HandedIn
    }

    /// Whether what was handed in last ends it, and its caller waits for the reply.
    pub(super) fn is_waited_for(&self) -> bool {
        let more = self.replies.as_ref().is_some_and(|replies| replies.more);
        !self.silent && !more
    }

    /// Whether it has all its replies, and waits for the node's position.
    pub(super) fn is_answered(&self) -> bool {
        self.stage == Stage::Answered
    }

    /// This was the node's position ahead of what was answered just now.
    pub(super) fn note_ahead(&mut self, answer: &Answer) {
        if self.stage == Stage::Over {
            return;
        }
        self.answers.ahead = Some(match &self.answers.ahead {
            None => answer.clone(),
            Some(known) => earlier(known, answer),
        });
    }

    /// Ends it if it waits for the node's position: here it is, or none will come.
    pub(super) fn conclude(&mut self, behind: Option<Answer>) -> Option<Waker> {
        if self.stage != Stage::Answered {
            return None;
        }
        self.stage = Stage::Over;
        self.answers.behind = behind;
        self.waker.take()
    }

    /// Gives it its next reply, a bulk string. With `hold` it does not end with its last reply, but when
    /// it is [concluded](Self::conclude).
    #[inline]
    pub(super) fn receive_short(&mut self, bytes: &[u8], hold: bool) -> Option<Waker> {
        if self.stage == Stage::Over {
            return None;
        }
        if self.replies.is_none() && self.room.set(bytes) {
            return self.end(Completion::Short, hold);
        }
        self.receive(Value::BulkString(bytes.to_vec()), hold).0
    }

    /// As [`receive_short`](Self::receive_short), for any reply. A value that it does not take comes back,
    /// to be dropped without the lock.
    #[inline]
    pub(super) fn receive(&mut self, reply: Value, hold: bool) -> (Option<Waker>, Option<Value>) {
        if self.stage == Stage::Over {
            return (None, Some(reply));
        }
        let Some(replies) = &mut self.replies else {
            return (self.end(Completion::One(reply), hold), None);
        };
        replies.received.push(reply);
        (self.complete(hold), None)
    }

    /// Ends a pipeline that has all its replies.
    fn complete(&mut self, hold: bool) -> Option<Waker> {
        let replies = self.replies.as_mut()?;
        if replies.received.len() < replies.total {
            return None;
        }
        let received = mem::take(&mut replies.received);
        self.end(Completion::Many(received), hold)
    }

    /// A portion of `count` commands that the driver had taken will not be written, or only a part of
    /// it.
    pub(super) fn take_back(&mut self, count: usize) {
        if let Some(replies) = &mut self.replies {
            replies.taken -= count;
        }
    }

    /// Nothing more of it will be written: a pipeline gets the replies to what was.
    pub(super) fn shorten(&mut self) -> Option<Waker> {
        if matches!(self.stage, Stage::Answered | Stage::Over) {
            return self.conclude(None);
        }
        // A portion on its way to the driver is not taken any more.
        self.stage = Stage::Taken;
        if self
            .replies
            .as_mut()
            .is_some_and(|replies| replies.repeat_final_error())
        {
            return self.complete(false);
        }
        match &mut self.replies {
            Some(replies) if replies.taken > 0 => {
                replies.total = replies.taken;
                replies.more = false;
                self.complete(false)
            }
            _ => self.fail(MuxError::NotWritten),
        }
    }

    /// No further reply to it will come. `written` is how far the socket has taken the stream.
    pub(super) fn give_up(&mut self, cause: &Cause, written: u64) -> Option<Waker> {
        if matches!(self.stage, Stage::Answered | Stage::Over) {
            return self.conclude(None);
        }
        let replies = self.replies.as_mut();
        if cause.is_hangup() && replies.is_some_and(|replies| replies.repeat_final_error()) {
            return self.complete(false);
        }
        let error = if self.start < written {
            MuxError::Failed(cause.clone(), Fate::Unknown)
        } else {
            MuxError::NotWritten
        };
        self.fail(error)
    }

    /// It fails, unless it has all its replies.
    pub(super) fn fail(&mut self, error: MuxError) -> Option<Waker> {
        if self.stage == Stage::Answered {
            return self.conclude(None);
        }
        self.replies = None;
        self.end(Completion::Error(error), false)
    }

    #[inline]
    fn end(&mut self, completion: Completion, hold: bool) -> Option<Waker> {
        self.completion = Some(completion);
        if hold {
            self.stage = Stage::Answered;
            return None;
        }
        self.stage = Stage::Over;
        self.waker.take()
    }
}
