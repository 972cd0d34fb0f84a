//! One reply under construction: an explicit stack of the aggregates that still miss values, so
//! that it can stop anywhere and depth costs no stack of the thread.

use redis::Value;

use crate::{
    config::ReplyLimits,
    wire::codec::{
        error::{CodecError, Fault},
        frame::{Frame, Kind},
        token::{Input, Token, Tokens},
    },
};

/// A stack that fits here is not worth giving back.
const KEPT_FRAMES: usize = 4;

#[derive(Default)]
pub(super) struct Reply {
    stack: Vec<Frame>,
    tokens: Tokens,
}

impl Reply {
    /// Starts a reply, or goes on where the bytes ran out.
    pub(super) fn decode(
        &mut self,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Option<Value>, Fault> {
        // What is left of a bulk string must not be read as replies.
        if self.stack.is_empty() || self.tokens.is_within_blob() {
            let token = self.tokens.next(input, limits)?;
            match (token, self.stack.last_mut()) {
                (Token::Value(value), None) => return Ok(Some(value)),
                (Token::Value(value), Some(frame)) => frame.add(value),
                (Token::Open(kind, values), _) => self.open(kind, values, input, limits)?,
                (Token::Starved, _) => return Ok(None),
            }
        }
        self.fill(input, limits)
    }

    /// The line at the front was taken by another way.
    #[inline(always)]
    pub(super) fn forget_line(&mut self) {
        self.tokens.searched = 0;
    }

    /// Adds values to the innermost aggregate, until the outermost is complete.
    fn fill(
        &mut self,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Option<Value>, Fault> {
        while let Some(frame) = self.stack.last_mut() {
            let open = loop {
                if frame.is_complete() {
                    break None;
                }
                if let Some(data) = input.whole_bulk(limits) {
                    frame.add(Value::BulkString(data.to_vec()));
                    continue;
                }
                if let Some(number) = input.whole_integer() {
                    frame.add(Value::Int(number));
                    continue;
                }
                match self.tokens.next(input, limits)? {
                    Token::Value(value) => frame.add(value),
                    Token::Open(kind, values) => break Some((kind, values)),
                    Token::Starved => return Ok(None),
                }
            };
            if let Some((kind, values)) = open {
                self.open(kind, values, input, limits)?;
            } else if let Some(value) = self.close()? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    fn open(
        &mut self,
        kind: Kind,
        values: usize,
        input: &Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<(), Fault> {
        if self.stack.len() >= limits.max_depth {
            return Err(Box::new(CodecError::TooDeep {
                limit: limits.max_depth,
            }));
        }
        let outer = self.stack.last();
        let frame = Frame::new(kind, values, outer, input.rest().len());
        self.stack.push(frame);
        Ok(())
    }

    /// Gives the innermost aggregate to the one around it, or back if there is none.
    fn close(&mut self) -> Result<Option<Value>, Fault> {
        let Some(complete) = self.stack.pop() else {
            return Ok(None);
        };
        let value = complete.finish()?;
        Ok(match self.stack.last_mut() {
            None => Some(value),
            Some(outer) => {
                outer.add(value);
                None
            }
        })
    }

    pub(super) fn shrink(&mut self) {
        if self.stack.is_empty() && self.stack.capacity() > KEPT_FRAMES {
            self.stack = Vec::new();
        }
    }

    /// Bytes allocated for what is under construction.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        let frames = self.stack.capacity() * size_of::<Frame>();
        let elements: usize = self.stack.iter().map(Frame::held).sum();
        frames + elements + self.tokens.held()
    }

    #[cfg(test)]
    pub(super) fn searched(&self) -> usize {
        self.tokens.searched
    }
}
