//! A few bytes that live where they are used, without an allocation of their own.

use std::fmt;

use redis::{Arg, Cmd};

/// A `SET` of a short key and a value of 64 bytes fits, and so does the reply to its `GET`. The
/// longer it is, the more memory each handle keeps.
pub(super) const ROOM: usize = 136;

pub(super) struct Room {
    length: usize,
    bytes: [u8; ROOM],
}

impl fmt::Debug for Room {
    /// Without the bytes: they are what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room")
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

impl Room {
    pub(super) fn new() -> Self {
        Self {
            length: 0,
            bytes: [0; ROOM],
        }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Puts these bytes in place of what was there, if they fit.
    #[inline]
    pub(super) fn set(&mut self, bytes: &[u8]) -> bool {
        self.length = 0;
        self.push(bytes)
    }

    /// Encodes the command in place of what was there, if it fits. After `false` the content is a part
    /// of it.
    ///
    /// The redis crate's encoder appends to a `Vec`, which checks its capacity for every piece, and
    /// takes a general way to write numbers. This one costs half the instructions.
    #[inline]
    pub(super) fn encode(&mut self, cmd: &Cmd) -> bool {
        self.length = 0;
        let mut args = cmd.args_iter();
        self.header(b'*', args.len())
            && args.all(|arg| match arg {
                Arg::Simple(bytes) => {
                    self.header(b'$', bytes.len()) && self.push(bytes) && self.push(b"\r\n")
                }
                // Only scans have one, and no shared connection carries those.
                _ => false,
            })
    }

    #[inline]
    fn push(&mut self, bytes: &[u8]) -> bool {
        let room = self.bytes[self.length..].get_mut(..bytes.len());
        let Some(room) = room else {
            return false;
        };
        room.copy_from_slice(bytes);
        self.length += bytes.len();
        true
    }

    /// A number of three digits is more than there is room for.
    #[inline]
    fn header(&mut self, kind: u8, number: usize) -> bool {
        let Ok(number) = u8::try_from(number) else {
            return false;
        };
        let digit = |digit: u8| b'0' + digit;
        match number {
            0..10 => self.push(&[kind, digit(number), b'\r', b'\n']),
            10..100 => self.push(&[kind, digit(number / 10), digit(number % 10), b'\r', b'\n']),
            _ => self.push(&[
                kind,
                digit(number / 100),
                digit(number / 10 % 10),
                digit(number % 10),
                b'\r',
                b'\n',
            ]),
        }
    }
}

#[cfg(test)]
mod tests;
