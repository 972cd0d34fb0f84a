//! Who asks for freshness: a session, or a handle with a requirement of its own.

use std::{fmt, time::Duration};

use crate::{
    freshness::session_state::SessionState,
    node::Role,
    position::token::Token,
    wire::position_question::{Answers, Want},
};

/// What the next read needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need {
    Nothing,
    /// A node that has this.
    After(Token),
    /// A node that has what the master had this long ago.
    Within(Duration),
    /// A node that has both.
    AfterAndWithin(Token, Duration),
    /// The master.
    Master,
    /// A node that has what the master has now: a write of unknown outcome may have been executed, or there
    /// is a token that nobody knows beside what the session knows. The number goes back with the answer, so
    /// that writes of unknown outcome after the question still count. The epoch is that of the token: if it
    /// is a later one, the master may not be the master any more.
    MasterNow {
        doubts: u64,
        epoch: u64,
    },
}

/// What a handle or a guard asks and tells.
pub(crate) trait Asks: Send + Sync + fmt::Debug {
    /// Which positions to ask for around a command that goes to a connection with this role.
    fn want(&self, is_read: bool, role: Role) -> Want;

    fn need(&self) -> Need;

    /// Both, for a read.
    fn want_and_need(&self, role: Role) -> (Want, Need) {
        (self.want(true, role), self.need())
    }

    /// A reply that goes to the caller came with these positions, or without those that were wanted.
    fn settled(&self, answers: &Answers, is_read: bool);

    /// A command that may have written has an unknown outcome, or its future was dropped after it had been
    /// handed in.
    fn unknown(&self);

    /// The master was asked because of [`Need::MasterNow`].
    fn asked(&self, master: &Token, doubts: u64);

    /// A read that was to see `was` sees `by` instead, which is all that there is, because of this. Returns
    /// what it must see then, and whether that was news.
    fn instead(&self, was: &Token, by: &Token, state: SessionState) -> (Token, bool);

    /// What became of the writes that a read was to see.
    fn told(&self, state: SessionState);
}

/// Until it is disarmed, a write may have been executed.
pub(crate) struct Doubt<'a>(Option<&'a dyn Asks>);

impl<'a> Doubt<'a> {
    pub(crate) fn new(ask: &'a dyn Asks) -> Self {
        Self(Some(ask))
    }

    pub(crate) fn disarm(mut self) {
        self.0 = None;
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(ask) = self.0 {
            ask.unknown();
        }
    }
}
