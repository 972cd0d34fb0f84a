//! One caller's command or pipeline, from its first poll to its last reply.

use std::{mem, task::Waker};

use redis::Value;
use slab::Slab;

use crate::{
    error::failure::{Cause, Fate},
    wire::pipeline,
};

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
    Many(Vec<Value>),
    Error(MuxError),
}

/// The calls of one connection, by their keys.
pub(super) type Calls = Slab<Call>;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) waker: Option<Waker>,
    /// The tick in which it came.
    pub(super) since: u32,
    /// The offset of its first byte in the stream; `u64::MAX` until something is handed in.
    start: u64,
    /// How many commands it waits for room for; 0 when it does not wait.
    pub(super) wanted: usize,
    /// How many commands it may hand in now.
    pub(super) granted: usize,
    /// How many of its portions are in flight.
    portions: usize,
    /// How many commands it has handed in.
    handed_in: usize,
    /// How many replies a pipeline is to have; `None` for a single command.
    total: Option<usize>,
    replies: Vec<Value>,
    pub(super) completion: Option<Completion>,
    /// Its caller has gone; replies that still come for it are dropped.
    pub(super) abandoned: bool,
}

impl Call {
    #[inline]
    pub(super) fn new(total: Option<usize>, now: u32, waker: &Waker) -> Self {
        Self {
            waker: Some(waker.clone()),
            since: now,
            start: u64::MAX,
            wanted: 0,
            granted: 0,
            portions: 0,
            handed_in: 0,
            total,
            replies: Vec::new(),
            completion: None,
            abandoned: false,
        }
    }

    /// What is known of its commands if it is given up now.
    pub(super) fn fate(&self) -> Fate {
        // What was handed in may still be written after this.
        if self.start == u64::MAX {
            Fate::NotExecuted
        } else {
            Fate::Unknown
        }
    }

    /// Whether its caller still waits and has not been told how it ended.
    #[inline]
    pub(super) fn is_pending(&self) -> bool {
        !self.abandoned && self.completion.is_none()
    }

    /// Whether the ledger or the queue still names it.
    #[inline]
    pub(super) fn is_referenced(&self) -> bool {
        self.portions != 0 || self.wanted != 0
    }

    /// It hands in all that it was admitted for, from the offset `start` on. Returns how many
    /// commands these are.
    #[inline]
    pub(super) fn hand_in(&mut self, start: u64) -> usize {
        self.start = self.start.min(start);
        self.portions += 1;
        let count = mem::take(&mut self.granted);
        self.handed_in += count;
        count
    }

    /// A portion of `count` commands is given back to it: nothing, or only a part, was written.
    pub(super) fn take_back(&mut self, count: usize) {
        self.portions -= 1;
        self.handed_in -= count;
    }

    /// All replies to one of its portions have come.
    #[inline]
    pub(super) fn portion_ended(&mut self) {
        self.portions -= 1;
    }

    /// Neither the ledger nor the queue names it any more.
    pub(super) fn unlink(&mut self) {
        (self.portions, self.wanted, self.granted) = (0, 0, 0);
    }

    #[inline]
    pub(super) fn receive(&mut self, reply: Value, woken: &mut Vec<Waker>) {
        let Some(total) = self.total else {
            self.completion = Some(Completion::One(reply));
            woken.extend(self.waker.take());
            return;
        };
        self.replies.push(reply);
        if self.replies.len() == total {
            self.complete(woken);
        }
    }

    fn complete(&mut self, woken: &mut Vec<Waker>) {
        self.completion = Some(Completion::Many(mem::take(&mut self.replies)));
        woken.extend(self.waker.take());
    }

    /// Nothing more of it will be written: a pipeline gets the replies to what was.
    pub(super) fn shorten(&mut self, woken: &mut Vec<Waker>) {
        if self.handed_in == 0 {
            return self.fail(MuxError::NotWritten, woken);
        }
        self.total = Some(self.handed_in);
        if self.replies.len() == self.handed_in {
            self.complete(woken);
        }
    }

    /// No further reply to it will come. `written` is how far the socket has taken the stream.
    pub(super) fn give_up(&mut self, cause: &Cause, written: u64, woken: &mut Vec<Waker>) {
        let error = pipeline::final_error(&self.replies).filter(|_| cause.is_hangup());
        if let Some((error, total)) = error.cloned().zip(self.total) {
            self.replies.resize(total, error);
            self.complete(woken);
        } else if self.completion.is_none() {
            let error = if self.start < written {
                MuxError::Failed(cause.clone(), Fate::Unknown)
            } else {
                MuxError::NotWritten
            };
            self.fail(error, woken);
        }
    }

    pub(super) fn fail(&mut self, error: MuxError, woken: &mut Vec<Waker>) {
        self.replies = Vec::new();
        self.completion = Some(Completion::Error(error));
        woken.extend(self.waker.take());
    }

    /// What it has received, taken out to be dropped without the lock.
    pub(super) fn take_received(&mut self) -> (Option<Completion>, Vec<Value>) {
        (self.completion.take(), mem::take(&mut self.replies))
    }
}

/// Removes a call that its caller has left, unless something still names it.
#[inline]
pub(super) fn forget(calls: &mut Calls, key: usize) {
    let call = &calls[key];
    if call.abandoned && !call.is_referenced() {
        calls.remove(key);
    }
}
