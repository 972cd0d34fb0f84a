//! RESP2 and RESP3 replies to [`redis::Value`], from a buffer the socket is read into.
//!
//! A reply may arrive cut anywhere. Whatever part of it is complete leaves the buffer at once for
//! the value under construction (`reply`, `frame`), so no byte is looked at twice however often the
//! peer pauses, and a big bulk string is never held twice. What can stay behind is the beginning of
//! one header or line (`token`, `line`).
//!
//! The peer is not trusted: a declared length is a claim, memory follows only the bytes that came.
//!
//! For every well-formed reply the value is the one `redis::parse_redis_value` gives. Where that
//! parser is lax this one refuses, since after a malformed reply nobody knows where the next one
//! starts; `token`, `line` and `scalar` say so at each place. There is one difference the other
//! way: an error reply that is not UTF-8 is taken, because Redis repeats the caller's bytes in its
//! errors.

mod error;
mod frame;
mod line;
mod reply;
mod scalar;
mod token;

use std::mem;

use bytes::{Buf as _, BytesMut};
use redis::Value;

use crate::{
    config::ReplyLimits,
    wire::codec::{error::CodecError, reply::Reply, token::Input},
};

/// Room for one read while replies are small, and what an idle decoder may keep.
const SMALL_READ: usize = 1024;
/// Room for one read while a big reply comes in: more saves no time, the kernel's copy dominates.
const LARGE_READ: usize = 64 * 1024;
/// Dropping, cloning or printing a nested value takes stack for every level, so no setting may ask
/// for more levels than a small thread stack can bear.
const DEPTH_CEILING: usize = 512;

/// Decodes the replies of one connection, in order.
pub(crate) struct Decoder {
    limits: ReplyLimits,
    /// Room for a read between two replies.
    small_read: usize,
    buf: BytesMut,
    /// The reply whose beginning has left the buffer already.
    reply: Reply,
    /// How many bytes of it have left.
    taken: usize,
    /// Room that the last `reserve` made; 0 before the first.
    room: usize,
    /// The most `buf` has held since the last `shrink`: its capacity alone does not tell, because
    /// it counts from the first unread byte.
    peak: usize,
    failed: Option<CodecError>,
}

impl Decoder {
    pub(crate) fn new(limits: ReplyLimits) -> Self {
        Self {
            limits: ReplyLimits {
                max_depth: limits.max_depth.min(DEPTH_CEILING),
                ..limits
            },
            small_read: SMALL_READ,
            buf: BytesMut::new(),
            reply: Reply::default(),
            taken: 0,
            room: 0,
            peak: 0,
            failed: None,
        }
    }

    /// Many replies are to come with one read, however small each is.
    pub(crate) fn widen(&mut self) {
        self.small_read = LARGE_READ;
    }

    /// Where the caller puts the socket's bytes, at the end.
    pub(crate) fn buf_mut(&mut self) -> &mut BytesMut {
        &mut self.buf
    }

    /// Makes room for the next read.
    pub(crate) fn reserve(&mut self) {
        let filled = self.room > 0 && self.buf.len() == self.buf.capacity();
        if filled {
            // A full read says that more is waiting. What a header declares says nothing.
            self.room = (self.room * 4).min(LARGE_READ);
        } else if self.room == 0 || self.is_idle() {
            self.room = self.small_read;
        }
        // Half the room is good enough where bytes are left: asking for all of it would move or
        // regrow the buffer before every read. An empty one starts at its front again for nothing.
        let spare = self.buf.capacity() - self.buf.len();
        if self.buf.is_empty() || spare < self.room / 2 {
            self.buf.reserve(self.room);
            self.peak = self.peak.max(self.buf.capacity());
        }
    }

    /// The next complete reply, or `None` when it needs more bytes. An error stays: it is what
    /// every later call gives.
    pub(crate) fn decode(&mut self) -> Result<Option<Value>, CodecError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        if self.buf.is_empty() {
            return Ok(None);
        }
        self.peak = self.peak.max(self.buf.capacity());
        // The commonest replies end here, each made where it is returned.
        if self.taken == 0 {
            let mut input = Input::new(&self.buf, 0);
            let longest = self.limits.max_reply_bytes;
            if let Some(data) = input.whole_bulk(&self.limits)
                && input.used() <= longest
            {
                let used = input.used();
                let value = Value::BulkString(data.to_vec());
                self.buf.advance(used);
                return Ok(Some(value));
            }
            if let Some(number) = input.whole_integer()
                && input.used() <= longest
            {
                let used = input.used();
                self.buf.advance(used);
                return Ok(Some(Value::Int(number)));
            }
            if input.whole_ok() && input.used() <= longest {
                let used = input.used();
                self.reply.forget_line();
                self.buf.advance(used);
                return Ok(Some(Value::Okay));
            }
        }
        self.decode_any()
    }

    /// Has `read` read the next reply, without a copy, if it is a bulk string of at most `longest` bytes
    /// that is all here. Any other is for [`decode`](Self::decode).
    #[inline]
    pub(crate) fn decode_short<R>(
        &mut self,
        longest: usize,
        read: impl FnOnce(&[u8]) -> R,
    ) -> Option<R> {
        if self.taken > 0 || self.failed.is_some() {
            return None;
        }
        self.peak = self.peak.max(self.buf.capacity());
        let mut input = Input::new(&self.buf, 0);
        let data = input.whole_bulk(&self.limits)?;
        let used = input.used();
        if data.len() > longest || used > self.limits.max_reply_bytes {
            return None;
        }
        let read = read(data);
        self.buf.advance(used);
        Some(read)
    }

    fn decode_any(&mut self) -> Result<Option<Value>, CodecError> {
        let mut input = Input::new(&self.buf, self.taken);
        let decoded = self.reply.decode(&mut input, &self.limits);
        let used = input.used();
        self.buf.advance(used);
        self.taken += used;
        let value = decoded.map_err(|fault| self.fail(*fault))?;
        let seen = match &value {
            Some(_) => mem::take(&mut self.taken),
            None => self.taken + self.buf.len(),
        };
        let limit = self.limits.max_reply_bytes;
        if seen > limit {
            return Err(self.fail(CodecError::ReplyTooLong { limit }));
        }
        Ok(value)
    }

    /// True at a reply boundary: no unread bytes and no half-decoded reply.
    pub(crate) fn is_idle(&self) -> bool {
        self.buf.is_empty() && self.taken == 0 && self.failed.is_none()
    }

    /// Gives back what grew for a big reply, so that an idle connection keeps at most 2 KiB of
    /// buffer. Unread bytes stay.
    pub(crate) fn shrink(&mut self) {
        if self.peak > SMALL_READ {
            // A copy, because the allocation is as large as it ever was. The next `reserve` makes
            // the room: a connection put aside needs none.
            self.buf = BytesMut::from(&self.buf[..]);
            self.peak = self.buf.capacity();
            self.room = 0;
        }
        self.reply.shrink();
    }

    #[cold]
    fn fail(&mut self, error: CodecError) -> CodecError {
        self.reply = Reply::default();
        self.failed = Some(error.clone());
        error
    }
}

#[cfg(test)]
mod tests;
