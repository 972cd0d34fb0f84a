//! The next token of a reply: a value that holds no others, or the header of an aggregate.
//!
//! Moving a `Value` or a token from hand to hand costs more than reading it. So the commonest
//! replies have a way of their own when they are all there (`Input::whole_…`), inlined into the
//! place where the value is to stay; the rest comes as a token.

use redis::Value;

use crate::{
    config::ReplyLimits,
    wire::codec::{
        error::{CodecError, Fault},
        frame::Kind,
        line::{self, Scan},
        scalar::{self, BlobKind},
    },
};

/// A line is a status, an error or a number; Redis's own are far below 1 KiB.
pub(super) const LINE_LIMIT: usize = 64 * 1024;
/// A bulk string starts with room for this much even if fewer bytes are at hand.
const BULK_START: usize = 4 * 1024;

/// The bytes at hand and how far they are used.
pub(super) struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
    /// Bytes of the same reply that came before these.
    before: usize,
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], before: usize) -> Self {
        Self {
            bytes,
            position: 0,
            before,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.position
    }

    #[inline(always)]
    pub(super) fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }

    /// An integer, if it comes next and is all there. Any other case is for `Tokens`.
    #[inline(always)]
    pub(super) fn whole_integer(&mut self) -> Option<i64> {
        if let [b':', body @ ..] = self.rest()
            && let Scan::Done(number, used) = line::integer(body)
        {
            self.position += 1 + used;
            return Some(number);
        }
        None
    }

    /// `+OK`, if it comes next and is all there. The caller tells `Tokens`, which may have looked
    /// at the beginning of that line.
    #[inline(always)]
    pub(super) fn whole_ok(&mut self) -> bool {
        const OK: &[u8] = b"+OK\r\n";
        let found = self.rest().starts_with(OK);
        if found {
            self.position += OK.len();
        }
        found
    }

    /// A bulk string, if it comes next, is all there and is not null. Any other case is for
    /// `Tokens`.
    #[inline(always)]
    pub(super) fn whole_bulk(&mut self, limits: &ReplyLimits) -> Option<&'a [u8]> {
        if let [b'$', body @ ..] = self.rest()
            && let Scan::Done(Some(declared), header) = line::length(body)
            && let Ok(length) = usize::try_from(declared)
            && length <= limits.max_bulk_bytes
            && let Some((data, [b'\r', b'\n', ..])) = body[header..].split_at_checked(length)
        {
            self.position += 1 + header + length + 2;
            return Some(data);
        }
        None
    }
}

pub(super) enum Token {
    Value(Value),
    /// The header of an aggregate of this many values.
    Open(Kind, usize),
    Starved,
}

/// A bulk string whose bytes are still coming in.
struct Blob {
    kind: BlobKind,
    data: Vec<u8>,
    length: usize,
}

/// Reads tokens, and remembers what of one was read when the bytes ran out.
#[derive(Default)]
pub(super) struct Tokens {
    blob: Option<Box<Blob>>,
    /// Bytes of the line at the front of the input that are known not to end it.
    pub(super) searched: usize,
}

impl Tokens {
    pub(super) fn is_within_blob(&self) -> bool {
        self.blob.is_some()
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.blob.as_ref().map_or(0, |blob| blob.data.capacity())
    }

    pub(super) fn next(
        &mut self,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Token, Fault> {
        if self.blob.is_some() {
            return self.resume_blob(input);
        }
        let rest = input.rest();
        let Some((&tag, body)) = rest.split_first() else {
            return Ok(Token::Starved);
        };
        match tag {
            b'$' => self.blob(BlobKind::Bulk, input, limits),
            b':' => match line::integer(body) {
                Scan::Done(number, used) => {
                    input.position += 1 + used;
                    Ok(Token::Value(Value::Int(number)))
                }
                Scan::Starved => Ok(Token::Starved),
                Scan::Malformed => Err(CodecError::malformed("not an integer", rest)),
            },
            b'*' => aggregate(Kind::Array, input, limits),
            b'%' => aggregate(Kind::Map, input, limits),
            b'~' => aggregate(Kind::Set, input, limits),
            b'>' => aggregate(Kind::Push, input, limits),
            b'|' => aggregate(Kind::Attribute, input, limits),
            b'!' => self.blob(BlobKind::Error, input, limits),
            b'=' => self.blob(BlobKind::Verbatim, input, limits),
            b'+' | b'-' | b'_' | b',' | b'#' | b'(' => self.line(tag, input),
            _ => Err(CodecError::malformed("unknown type of reply", rest)),
        }
    }

    fn line(&mut self, tag: u8, input: &mut Input<'_>) -> Result<Token, Fault> {
        let rest = input.rest();
        let end = line::end(rest, self.searched);
        let earliest_end = end.unwrap_or(rest.len() - 1);
        if earliest_end > LINE_LIMIT {
            return Err(Box::new(CodecError::LineTooLong { limit: LINE_LIMIT }));
        }
        let Some(end) = end else {
            self.searched = rest.len();
            return Ok(Token::Starved);
        };
        self.searched = 0;
        input.position += end + 2;
        scalar::from_line(tag, &rest[1..end])
            .map(Token::Value)
            .map_err(|what| CodecError::malformed(what, rest))
    }

    fn blob(
        &mut self,
        kind: BlobKind,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Token, Fault> {
        let rest = input.rest();
        let (declared, header) = match line::length(&rest[1..]) {
            Scan::Done(Some(length), used) => (length, 1 + used),
            Scan::Done(None, used) if matches!(kind, BlobKind::Bulk) => {
                input.position += 1 + used;
                return Ok(Token::Value(Value::Nil));
            }
            Scan::Starved => return Ok(Token::Starved),
            _ => return Err(CodecError::malformed("not a length", rest)),
        };
        let length = bulk_length(declared, limits)?;
        let body = &rest[header..];
        match body.get(length..) {
            Some([b'\r', b'\n', ..]) => {
                input.position += header + length + 2;
                scalar::from_blob(kind, body[..length].to_vec()).map(Token::Value)
            }
            _ => {
                input.position += header;
                self.start_blob(kind, length, input, limits)
            }
        }
    }

    #[cold]
    fn start_blob(
        &mut self,
        kind: BlobKind,
        length: usize,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Token, Fault> {
        let so_far = input.before.saturating_add(input.position);
        if length > limits.max_reply_bytes.saturating_sub(so_far) {
            return Err(Box::new(CodecError::ReplyTooLong {
                limit: limits.max_reply_bytes,
            }));
        }
        let room = length.min(input.rest().len() + BULK_START);
        self.blob = Some(Box::new(Blob {
            kind,
            data: Vec::with_capacity(room),
            length,
        }));
        self.resume_blob(input)
    }

    fn resume_blob(&mut self, input: &mut Input<'_>) -> Result<Token, Fault> {
        let blob = self.blob.as_mut().expect("BUG: no bulk string to resume");
        let rest = input.rest();
        let missing = blob.length - blob.data.len();
        let (more, after) = rest.split_at(missing.min(rest.len()));
        if blob.data.capacity() - blob.data.len() < more.len() {
            // Doubling keeps the copies linear; exact, so that a whole string has no slack.
            let grow = blob.data.len().max(more.len()).min(missing);
            blob.data.reserve_exact(grow);
        }
        blob.data.extend_from_slice(more);
        input.position += more.len();
        match after {
            [b'\r', b'\n', ..] => input.position += 2,
            [] | [b'\r'] => return Ok(Token::Starved),
            _ => {
                return Err(CodecError::malformed("no CRLF after a bulk string", after));
            }
        }
        let blob = self.blob.take().expect("BUG: the string just read is gone");
        scalar::from_blob(blob.kind, blob.data).map(Token::Value)
    }
}

fn bulk_length(declared: u64, limits: &ReplyLimits) -> Result<usize, Fault> {
    match usize::try_from(declared) {
        Ok(length) if length <= limits.max_bulk_bytes => Ok(length),
        _ => Err(Box::new(CodecError::BulkTooLong {
            declared,
            limit: limits.max_bulk_bytes,
        })),
    }
}

fn aggregate(kind: Kind, input: &mut Input<'_>, limits: &ReplyLimits) -> Result<Token, Fault> {
    let rest = input.rest();
    let (declared, used) = match line::length(&rest[1..]) {
        Scan::Done(Some(length), used) => (length, used),
        // `redis::parse_redis_value` also knows null sets and empty pushes; the protocol has
        // neither, and a push without a kind means nothing.
        Scan::Done(None, used) if kind == Kind::Array => {
            input.position += 1 + used;
            return Ok(Token::Value(Value::Nil));
        }
        Scan::Starved => return Ok(Token::Starved),
        _ => return Err(CodecError::malformed("not a length", rest)),
    };
    if declared == 0 && kind == Kind::Push {
        return Err(CodecError::malformed("push without a kind", rest));
    }
    let elements = declared.saturating_mul(kind.values_per_entry());
    let limit = limits.max_elements;
    match usize::try_from(elements) {
        Ok(elements) if elements <= limit => {
            input.position += 1 + used;
            // The data that an attribute describes follows its entries.
            let data = usize::from(kind == Kind::Attribute);
            Ok(Token::Open(kind, elements.saturating_add(data)))
        }
        _ => Err(Box::new(CodecError::TooManyElements {
            declared: elements,
            limit,
        })),
    }
}
