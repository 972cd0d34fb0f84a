//! The output buffer: commands that callers have handed in, as bytes in the order of the stream.

use std::{collections::VecDeque, mem};

use crate::wire::position_question::QUESTION;

/// A command larger than this is not copied together with others.
pub(super) const BIG: usize = 16 * 1024;

/// Offsets count the bytes of the stream from the beginning of the connection.
#[derive(Debug)]
pub(super) struct Outbox {
    /// Buffers that nothing is added to any more. They go out before `open`.
    sealed: VecDeque<Vec<u8>>,
    /// The buffer that the next small command is appended to.
    open: Vec<u8>,
    /// A question is in `open`.
    is_headed: bool,
    /// Where the next command starts.
    end: u64,
    /// Where the bytes end that the socket has taken.
    written: u64,
}

impl Outbox {
    pub(super) fn new() -> Self {
        Self {
            sealed: VecDeque::new(),
            open: Vec::new(),
            is_headed: false,
            end: 0,
            written: 0,
        }
    }

    /// Adds encoded commands that are small enough to be copied.
    #[inline]
    pub(super) fn copy(&mut self, bytes: &[u8]) {
        self.open.extend_from_slice(bytes);
        self.end += bytes.len() as u64;
    }

    /// Adds a question.
    pub(super) fn ask(&mut self) {
        self.copy(QUESTION);
        self.is_headed = true;
    }

    /// Whether what is copied next goes out in the same write as a question ahead of it.
    pub(super) fn is_headed(&self) -> bool {
        self.is_headed
    }

    /// Adds encoded commands without a copy.
    pub(super) fn push(&mut self, bytes: Vec<u8>) {
        if !self.open.is_empty() {
            self.sealed.push_back(mem::take(&mut self.open));
            self.is_headed = false;
        }
        self.end += bytes.len() as u64;
        self.sealed.push_back(bytes);
    }

    #[inline]
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    #[inline]
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// How many bytes the socket has not taken yet.
    #[inline]
    pub(super) fn unwritten(&self) -> u64 {
        self.end - self.written
    }

    #[inline]
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.written += bytes as u64;
    }

    /// Whether there are bytes that the driver has not taken.
    #[inline]
    pub(super) fn has_bytes(&self) -> bool {
        !self.open.is_empty() || !self.sealed.is_empty()
    }

    /// Whether [`take`](Self::take) will take all that is left.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        match self.sealed.len() {
            0 => true,
            1 => self.open.is_empty(),
            _ => false,
        }
    }

    /// Puts the next bytes to write into `buffer`, whose old bytes have all been written. Leaves it
    /// empty when there are none.
    #[inline]
    pub(super) fn take(&mut self, buffer: &mut Vec<u8>) {
        buffer.clear();
        if let Some(sealed) = self.sealed.pop_front() {
            *buffer = sealed;
        } else {
            mem::swap(&mut self.open, buffer);
            self.is_headed = false;
        }
    }

    /// Drops all bytes that were not written, those that the driver has taken included. Returns where
    /// they ended.
    pub(super) fn discard(&mut self) -> u64 {
        self.clear();
        mem::replace(&mut self.end, self.written)
    }

    /// Drops the bytes that the driver has not taken.
    pub(super) fn clear(&mut self) {
        self.sealed.clear();
        self.open = Vec::new();
        self.is_headed = false;
    }

    /// Gives back what grew under load, while there are no bytes.
    pub(super) fn shrink(&mut self) {
        self.open = Vec::new();
        self.sealed = VecDeque::new();
    }
}
