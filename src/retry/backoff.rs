//! The pauses of one command that is sent again.

use std::{mem, time::Duration};

use crate::{retry::attempt::AttemptEnd, util::backoff::RESEND};

/// They grow by [`RESEND`].
#[derive(Debug)]
pub(crate) struct Backoff {
    next: Duration,
    /// Another node was tried already.
    moved: bool,
}

impl Backoff {
    /// One lost connection is no reason to pause: it says little about its node. A refusal is one.
    pub(crate) fn after(attempt: AttemptEnd) -> Self {
        let next = match attempt {
            AttemptEnd::Refused => RESEND.first,
            _ => Duration::ZERO,
        };
        Self { next, moved: false }
    }

    /// The first other node is tried at once. After that there is a pause: two nodes that both take
    /// connections only to close them must not be tried in turns as fast as they can be.
    pub(crate) fn next(&mut self, same_node: bool) -> Duration {
        if !same_node && !mem::replace(&mut self.moved, true) {
            return Duration::ZERO;
        }
        let pause = self.next;
        self.next = RESEND.grow(pause);
        RESEND.draw(pause)
    }
}

#[cfg(test)]
mod tests;
