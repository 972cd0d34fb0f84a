//! The messages of a connection that does not serve yet: the newest of them, within limits.

use std::collections::VecDeque;

/// How much is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Most {
    pub(super) messages: usize,
    pub(super) bytes: usize,
}

#[derive(Debug)]
pub(super) struct Early<M> {
    /// Each with its bytes.
    messages: VecDeque<(M, usize)>,
    bytes: usize,
}

impl<M> Early<M> {
    /// Drops the oldest beyond the limits. One message is kept, however long it is.
    pub(super) fn push(&mut self, message: M, bytes: usize, most: Most) {
        self.messages.push_back((message, bytes));
        self.bytes += bytes;
        while self.messages.len() > 1
            && (self.messages.len() > most.messages || self.bytes > most.bytes)
        {
            if let Some((_, bytes)) = self.messages.pop_front() {
                self.bytes -= bytes;
            }
        }
    }

    /// Takes all of them, the oldest first.
    pub(super) fn take(&mut self) -> impl Iterator<Item = M> + use<M> {
        let taken = std::mem::take(self);
        taken.messages.into_iter().map(|(message, _)| message)
    }
}

impl<M> Default for Early<M> {
    fn default() -> Self {
        Self {
            messages: VecDeque::new(),
            bytes: 0,
        }
    }
}

#[cfg(test)]
mod tests;
