//! The in-flight ledger: to which call the next reply belongs.
//!
//! Replies carry no names. The order in which commands were put into the stream is all that says whose
//! reply comes next.

use std::collections::VecDeque;

use crate::wire::{mux::call::SharedCall, position_question::Want};

/// Commands of one call, handed in together and not all answered yet.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) call: SharedCall,
    /// How many of its commands are not answered.
    pub(super) unanswered: usize,
    /// The offset of its first byte in the stream.
    pub(super) start: u64,
    /// The tick in which the call came.
    pub(super) since: u32,
    /// Which positions the call wants to know.
    pub(super) want: Want,
}

/// What a reply, or several, is to come for.
#[derive(Debug)]
pub(super) enum Due {
    Call(Portion),
    /// The node's position is asked for, from this offset of the stream on.
    Question(u64),
}

impl Due {
    /// The offset of its first byte in the stream.
    #[inline]
    pub(super) fn start(&self) -> u64 {
        match self {
            Self::Call(portion) => portion.start,
            Self::Question(start) => *start,
        }
    }

    fn call(&self) -> Option<&Portion> {
        match self {
            Self::Call(portion) => Some(portion),
            Self::Question(_) => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct InFlight {
    /// In the order of the stream.
    due: VecDeque<Due>,
    /// The tick in which the server last sent something, or began to owe something.
    heard: u32,
}

/// Whose reply comes next.
#[derive(Debug)]
pub(super) enum Owner<'a> {
    Call(&'a mut Portion),
    Question,
    /// Nothing was handed in that has no reply.
    Nobody,
    /// Nothing of the next command was written, so this cannot be its reply.
    Unwritten,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            due: VecDeque::new(),
            heard: 0,
        }
    }

    /// Adds what was put into the stream last, in the tick `now`.
    #[inline]
    pub(super) fn push(&mut self, due: Due, now: u32) {
        if self.due.is_empty() {
            self.heard = now;
        }
        self.due.push_back(due);
    }

    /// The owner of the next reply. `written` is how far the socket has taken the stream.
    #[inline]
    pub(super) fn owner(&mut self, written: u64) -> Owner<'_> {
        match self.due.front_mut() {
            None => Owner::Nobody,
            Some(due) if due.start() >= written => Owner::Unwritten,
            Some(Due::Call(portion)) => Owner::Call(portion),
            Some(Due::Question(_)) => Owner::Question,
        }
    }

    /// The first of all has all its replies.
    #[inline]
    pub(super) fn end_first(&mut self) -> Option<Due> {
        self.due.pop_front()
    }

    /// The server has sent something in the tick `now`.
    #[inline]
    pub(super) fn heard(&mut self, now: u32) {
        self.heard = now;
    }

    pub(super) fn last_heard(&self) -> u32 {
        self.heard
    }

    /// Whether no reply is to come.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.due.is_empty()
    }

    /// Whether a command is waiting for its reply of which something was written.
    #[inline]
    pub(super) fn is_busy(&self, written: u64) -> bool {
        let first = self.iter().next();
        first.is_some_and(|portion| portion.start < written)
    }

    /// Where the first command or question starts of which nothing was written.
    pub(super) fn first_unwritten(&self, written: u64) -> Option<u64> {
        let mut starts = self.due.iter().map(Due::start);
        starts.find(|start| *start >= written)
    }

    /// Takes back what was put into the stream last.
    pub(super) fn pop(&mut self) -> Option<Due> {
        self.due.pop_back()
    }

    /// The calls, in the order of the stream.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Portion> {
        self.due.iter().filter_map(Due::call)
    }

    pub(super) fn clear(&mut self) {
        self.due.clear();
    }

    /// Gives back what grew under load, while no reply is to come.
    pub(super) fn shrink(&mut self) {
        self.due = VecDeque::new();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }
}
