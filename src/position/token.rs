//! What a read must have seen.

mod error;
#[cfg(feature = "serde")]
mod serde;

use std::{fmt, str::FromStr};

use crate::position::{MAX_OFFSET, Position, decimal, timeline::Timeline};

pub use crate::position::token::error::TokenError;

/// What a read must have seen: how far the master's data went at some moment, such as right after a
/// write.
///
/// A token is a short text that fits into a cookie, an HTTP header or a message as it is, so that a read in
/// another process sees the write too. [`Display`](fmt::Display) writes it and [`FromStr`] reads it:
///
/// ```
/// use redis_rw_pool::Token;
///
/// let text = "1.8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb.123456789.7";
/// let token: Token = text.parse()?;
/// assert_eq!(token.to_string(), text);
/// assert!("a cookie of somebody else".parse::<Token>().is_err());
/// # Ok::<(), redis_rw_pool::TokenError>(())
/// ```
///
/// With the feature `serde` it is that text there, too.
///
/// The parts, separated by dots, are the version of this form (`1`), the master's replication id (40
/// lower-case hexadecimal digits), its replication offset in bytes (as `INFO replication` has them in
/// `master_replid` and `master_repl_offset`), and the configuration epoch under which the Sentinels
/// announced the master. There are no spaces, and the text has at most 83 bytes. Every token has exactly
/// one text, and any other text is an error.
///
/// # Security
///
/// A token grants nothing, and tells no more than an id and two counters. A forged one can change nothing
/// but which node serves the reads of those who hold it, and has the master asked where it is. A session's own
/// writes are seen whatever else it goes on with. Sign it, like the rest of a cookie, if that
/// matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Token {
    position: Position,
    epoch: u64,
}

/// Of the form of the text. A later version may mean something else by the same parts.
const VERSION: &str = "1";

/// The version, 40 digits of the timeline, 19 of the offset, 20 of the epoch, and three dots.
const MAX_LEN: usize = VERSION.len() + 40 + 19 + 20 + 3;

impl Token {
    /// That of a master at this position, announced under this epoch.
    pub(crate) fn new(position: Position, epoch: u64) -> Self {
        Self { position, epoch }
    }

    /// What a node must have reached.
    pub(crate) fn position(&self) -> Position {
        self.position
    }

    /// Whether both were made by the same master, so that the offset alone tells which goes further.
    pub(crate) fn is_beside(&self, other: &Self) -> bool {
        self.position.timeline == other.position.timeline && self.epoch == other.epoch
    }

    /// The epoch under which the master was announced. It orders tokens whose timelines have nothing
    /// to do with each other.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Position { timeline, offset } = self.position;
        write!(f, "{VERSION}.{timeline}.{offset}.{}", self.epoch)
    }
}

impl FromStr for Token {
    type Err = TokenError;

    /// # Errors
    ///
    /// When the text is not exactly what [`Display`](fmt::Display) writes for some token.
    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut parts = text.split('.');
        if parts.next() != Some(VERSION) {
            return Err(TokenError::new("it does not begin with `1.`"));
        }
        if text.len() > MAX_LEN {
            return Err(TokenError::new("it has more than 83 bytes"));
        }
        let (Some(timeline), Some(offset), Some(epoch), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::new("it has not four parts, separated by dots"));
        };
        let timeline = Timeline::parse(timeline.as_bytes());
        let offset = decimal(offset.as_bytes(), MAX_OFFSET);
        let epoch = decimal(epoch.as_bytes(), u64::MAX);
        let position = Position {
            timeline: timeline.ok_or(TokenError::new(
                "its replication id is not 40 lower-case hexadecimal digits, or it is all zeros",
            ))?,
            offset: offset.ok_or(TokenError::new(
                "its offset is not a number from 0 to 9223372036854775807, written without a sign or leading zeros",
            ))?,
        };
        let epoch = epoch.ok_or(TokenError::new(
            "its epoch is not a number from 0 to 18446744073709551615, written without a sign or leading zeros",
        ))?;
        Ok(Self::new(position, epoch))
    }
}

#[cfg(test)]
mod tests;
