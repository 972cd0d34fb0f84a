//! The in-flight ledger: to which call the next reply belongs.
//!
//! Replies carry no names. The order in which commands were put into the stream is all that says whose
//! reply comes next.

use std::collections::VecDeque;

use crate::wire::mux::call::SharedCall;

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
}

#[derive(Debug)]
pub(super) struct InFlight {
    /// In the order of the stream.
    portions: VecDeque<Portion>,
    /// The tick in which the server last sent something, or began to owe something.
    heard: u32,
}

/// Whose reply comes next.
#[derive(Debug)]
pub(super) enum Owner<'a> {
    Call(&'a mut Portion),
    /// Nothing was handed in that has no reply.
    Nobody,
    /// Nothing of the next command was written, so this cannot be its reply.
    Unwritten,
}

impl InFlight {
    pub(super) fn new() -> Self {
        Self {
            portions: VecDeque::new(),
            heard: 0,
        }
    }

    /// Adds what was put into the stream last, in the tick `now`.
    #[inline]
    pub(super) fn push(&mut self, portion: Portion, now: u32) {
        if self.portions.is_empty() {
            self.heard = now;
        }
        self.portions.push_back(portion);
    }

    /// The owner of the next reply. `written` is how far the socket has taken the stream.
    #[inline]
    pub(super) fn owner(&mut self, written: u64) -> Owner<'_> {
        match self.portions.front_mut() {
            None => Owner::Nobody,
            Some(portion) if portion.start >= written => Owner::Unwritten,
            Some(portion) => Owner::Call(portion),
        }
    }

    /// The first portion has all its replies.
    #[inline]
    pub(super) fn end_first(&mut self) {
        self.portions.pop_front();
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
        self.portions.is_empty()
    }

    /// Whether a command is waiting for its reply of which something was written.
    #[inline]
    pub(super) fn is_busy(&self, written: u64) -> bool {
        let first = self.portions.front();
        first.is_some_and(|portion| portion.start < written)
    }

    /// Where the first portion starts of which nothing was written.
    pub(super) fn first_unwritten(&self, written: u64) -> Option<u64> {
        let mut starts = self.portions.iter().map(|portion| portion.start);
        starts.find(|start| *start >= written)
    }

    /// Takes back what was put into the stream last.
    pub(super) fn pop(&mut self) -> Option<Portion> {
        self.portions.pop_back()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Portion> {
        self.portions.iter()
    }

    pub(super) fn clear(&mut self) {
        self.portions.clear();
    }

    /// Gives back what grew under load, while no reply is to come.
    pub(super) fn shrink(&mut self) {
        self.portions = VecDeque::new();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.portions.len()
    }
}
