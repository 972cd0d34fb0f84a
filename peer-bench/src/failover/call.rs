//! One call of a caller, and what became of it.

use std::{collections::BTreeMap, time::Duration};

/// As far as the caller can know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    /// Failed, and it is certain that the server did nothing.
    NotExecuted,
    /// Failed, and the server may have executed it or not.
    Unknown,
    /// Failed otherwise, with an error reply for instance.
    Other,
}

#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) outcome: Outcome,
    pub(crate) text: String,
}

impl Failure {
    pub(crate) fn new(outcome: Outcome, text: impl ToString) -> Self {
        Self {
            outcome,
            text: text.to_string(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Call {
    /// When it was this call's turn.
    pub(crate) due: Duration,
    /// When its task ran for the first time.
    pub(crate) begun: Duration,
    /// `None` while it lasts.
    pub(crate) end: Option<End>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct End {
    pub(crate) at: Duration,
    pub(crate) outcome: Outcome,
    /// Acknowledged, and not to be found on the master afterwards.
    pub(crate) lost: bool,
}

impl Call {
    pub(crate) fn acknowledged(&self) -> Option<End> {
        self.end.filter(|end| end.outcome == Outcome::Acknowledged)
    }
}

/// All calls of one candidate in one round, each in the order in which they were due.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// The index is part of the key.
    pub(crate) writes: Vec<Call>,
    pub(crate) reads: Vec<Call>,
    /// What failed calls said, and how often.
    pub(crate) complaints: BTreeMap<String, usize>,
}

impl History {
    pub(crate) fn is_complete(&self) -> bool {
        let mut calls = self.writes.iter().chain(&self.reads);
        calls.all(|call| call.end.is_some())
    }
}
