//! The time and the tries of one command that goes from one shared connection to the next.

use std::time::Duration;

use tokio::time::Instant;

use crate::{retry::attempt::AttemptEnd, wire::mux::Limit};

#[derive(Debug, Default)]
pub(super) struct RetryBudget {
    /// When the command first found no connection, or an attempt failed.
    began: Option<Instant>,
    /// How long connections have been silent about the command since the first attempt ended. They
    /// share one deadline: with a new one for each, a command could wait for every silent
    /// connection in turn.
    silent: Option<Duration>,
    losses: u32,
    refused: bool,
}

impl RetryBudget {
    /// When the time of the command began to run.
    pub(super) fn begin(&mut self) -> Instant {
        *self.began.get_or_insert_with(Instant::now)
    }

    pub(super) fn is_over(&self, acquire_timeout: Duration) -> bool {
        self.began
            .is_some_and(|began| began.elapsed() >= acquire_timeout)
    }

    /// Takes note of how an attempt ended.
    pub(super) fn note(&mut self, attempt: AttemptEnd) {
        match attempt {
            AttemptEnd::Settled => {}
            AttemptEnd::NotWritten => {
                self.silent.get_or_insert_default();
            }
            AttemptEnd::Lost => {
                self.begin();
                self.silent.get_or_insert_default();
                self.losses += 1;
            }
            AttemptEnd::Refused => {
                self.begin();
                // The node has answered, so it was not silent.
                self.silent = Some(Duration::ZERO);
                self.refused = true;
            }
        }
    }

    /// The connections that were lost with the command on its way.
    pub(super) fn losses(&self) -> u32 {
        self.losses
    }

    /// Whether any node has refused the command.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// Counts the time of an attempt, except that of the first: it has a deadline of its own.
    pub(super) fn spend(&mut self, time: Duration) {
        self.silent = self.silent.map(|silent| silent + time);
    }

    /// Counts all the time since the first attempt ended, the waits between connections included.
    pub(super) fn count_waits(&mut self) {
        self.silent = self.began.map(|began| began.elapsed());
    }

    /// What is left for the next connection; `None` for the first one.
    pub(super) fn limit(&self, timeout: Option<Duration>) -> Option<Limit> {
        let (silent, whole) = (self.silent?, timeout?);
        let left = whole.saturating_sub(silent);
        Some(Limit { left, whole })
    }
}
