//! One reply under construction: an explicit stack of aggregates that still miss elements, and a
//! bulk string that still misses bytes. A scalar that is all there touches neither.

use redis::{Value, VerbatimFormat};

use super::{
    CodecError, LINE_LIMIT, ReplyLimits,
    frame::{Frame, Kind},
    line::{self, Scan},
};

/// A bulk string starts with room for this much even if fewer bytes are at hand.
const BULK_START: usize = 4 * 1024;
/// A stack that fits here is not worth giving back.
const KEPT_FRAMES: usize = 4;

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

    fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position..]
    }
}

/// What the next bytes hold.
enum Step {
    Value(Value),
    /// The header of an aggregate of this many values.
    Open(Kind, usize),
    Starved,
}

#[derive(Default)]
pub(super) struct Reply {
    stack: Vec<Frame>,
    leaf: Leaf,
}

impl Reply {
    pub(super) fn decode(
        &mut self,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Option<Value>, CodecError> {
        let step = if self.leaf.blob.is_some() {
            self.leaf.resume_blob(input)?
        } else if self.stack.is_empty() {
            self.leaf.next(input, limits)?
        } else {
            return self.fill(input, limits);
        };
        match step {
            Step::Value(value) => match self.stack.last_mut() {
                None => return Ok(Some(value)),
                Some(frame) => frame.add(value),
            },
            Step::Open(kind, values) => self.open(kind, values, input, limits)?,
            Step::Starved => return Ok(None),
        }
        self.fill(input, limits)
    }

    /// Adds values to the innermost aggregate, until the outermost is complete.
    fn fill(
        &mut self,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Option<Value>, CodecError> {
        loop {
            let frame = self
                .stack
                .last_mut()
                .expect("BUG: filled without an aggregate");
            let open = loop {
                if frame.is_complete() {
                    break None;
                }
                match self.leaf.next(input, limits)? {
                    Step::Value(value) => frame.add(value),
                    Step::Open(kind, values) => break Some((kind, values)),
                    Step::Starved => return Ok(None),
                }
            };
            if let Some((kind, values)) = open {
                self.open(kind, values, input, limits)?;
                continue;
            }
            let complete = self
                .stack
                .pop()
                .expect("BUG: the frame just filled is gone");
            let value = complete.finish()?;
            match self.stack.last_mut() {
                None => return Ok(Some(value)),
                Some(outer) => outer.add(value),
            }
        }
    }

    fn open(
        &mut self,
        kind: Kind,
        values: usize,
        input: &Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<(), CodecError> {
        if self.stack.len() >= limits.max_depth {
            return Err(CodecError::TooDeep {
                limit: limits.max_depth,
            });
        }
        let outer = self.stack.last();
        self.stack
            .push(Frame::new(kind, values, outer, input.rest().len()));
        Ok(())
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
        let blob = self.leaf.blob.as_ref();
        frames + elements + blob.map_or(0, |blob| blob.data.capacity())
    }

    #[cfg(test)]
    pub(super) fn searched(&self) -> usize {
        self.leaf.searched
    }
}

/// What a length and that many bytes are.
#[derive(Clone, Copy)]
enum BlobKind {
    Bulk,
    Error,
    Verbatim,
}

/// A bulk string whose bytes are still coming in.
struct Blob {
    kind: BlobKind,
    data: Vec<u8>,
    length: usize,
}

/// Reads values that hold no others, and the headers of those that do.
#[derive(Default)]
struct Leaf {
    blob: Option<Box<Blob>>,
    /// Bytes of the line at the front of the input that are known not to end it.
    searched: usize,
}

impl Leaf {
    #[inline]
    fn next(&mut self, input: &mut Input<'_>, limits: &ReplyLimits) -> Result<Step, CodecError> {
        let rest = input.rest();
        let Some((&tag, body)) = rest.split_first() else {
            return Ok(Step::Starved);
        };
        match tag {
            b'$' => self.blob(BlobKind::Bulk, input, limits),
            b':' => match line::integer(body) {
                Scan::Done(number, used) => {
                    input.position += 1 + used;
                    Ok(Step::Value(Value::Int(number)))
                }
                Scan::Starved => Ok(Step::Starved),
                Scan::Malformed => Err(CodecError::malformed("not an integer", rest)),
            },
            b'+' if rest.starts_with(b"+OK\r\n") => {
                input.position += 5;
                self.searched = 0;
                Ok(Step::Value(Value::Okay))
            }
            b'_' if rest.starts_with(b"_\r\n") => {
                input.position += 3;
                self.searched = 0;
                Ok(Step::Value(Value::Nil))
            }
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

    fn line(&mut self, tag: u8, input: &mut Input<'_>) -> Result<Step, CodecError> {
        let rest = input.rest();
        let end = line::end(rest, self.searched);
        let earliest_end = end.unwrap_or(rest.len() - 1);
        if earliest_end > LINE_LIMIT {
            return Err(CodecError::LineTooLong { limit: LINE_LIMIT });
        }
        let Some(end) = end else {
            self.searched = rest.len();
            return Ok(Step::Starved);
        };
        self.searched = 0;
        input.position += end + 2;
        line_value(tag, &rest[1..end])
            .map(Step::Value)
            .map_err(|what| CodecError::malformed(what, rest))
    }

    #[inline]
    fn blob(
        &mut self,
        kind: BlobKind,
        input: &mut Input<'_>,
        limits: &ReplyLimits,
    ) -> Result<Step, CodecError> {
        let rest = input.rest();
        let (declared, header) = match line::length(&rest[1..]) {
            Scan::Done(Some(length), used) => (length, 1 + used),
            Scan::Done(None, used) if matches!(kind, BlobKind::Bulk) => {
                input.position += 1 + used;
                return Ok(Step::Value(Value::Nil));
            }
            Scan::Starved => return Ok(Step::Starved),
            _ => return Err(CodecError::malformed("not a length", rest)),
        };
        let length = bulk_length(declared, limits)?;
        let body = &rest[header..];
        match body.get(length..) {
            Some([b'\r', b'\n', ..]) => {
                input.position += header + length + 2;
                blob_value(kind, body[..length].to_vec()).map(Step::Value)
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
    ) -> Result<Step, CodecError> {
        let so_far = input.before.saturating_add(input.position);
        if length > limits.max_reply_bytes.saturating_sub(so_far) {
            return Err(CodecError::ReplyTooLong {
                limit: limits.max_reply_bytes,
            });
        }
        let room = length.min(input.rest().len() + BULK_START);
        self.blob = Some(Box::new(Blob {
            kind,
            data: Vec::with_capacity(room),
            length,
        }));
        self.resume_blob(input)
    }

    fn resume_blob(&mut self, input: &mut Input<'_>) -> Result<Step, CodecError> {
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
            [] | [b'\r'] => return Ok(Step::Starved),
            _ => {
                return Err(CodecError::malformed("no CRLF after a bulk string", after));
            }
        }
        let blob = self.blob.take().expect("BUG: the string just read is gone");
        blob_value(blob.kind, blob.data).map(Step::Value)
    }
}

#[inline]
fn bulk_length(declared: u64, limits: &ReplyLimits) -> Result<usize, CodecError> {
    match usize::try_from(declared) {
        Ok(length) if length <= limits.max_bulk_bytes => Ok(length),
        _ => Err(CodecError::BulkTooLong {
            declared,
            limit: limits.max_bulk_bytes,
        }),
    }
}

fn aggregate(kind: Kind, input: &mut Input<'_>, limits: &ReplyLimits) -> Result<Step, CodecError> {
    let rest = input.rest();
    let (declared, used) = match line::length(&rest[1..]) {
        Scan::Done(Some(length), used) => (length, used),
        // `redis::parse_redis_value` also knows null sets and empty pushes; the protocol has
        // neither, and a push without a kind means nothing.
        Scan::Done(None, used) if kind == Kind::Array => {
            input.position += 1 + used;
            return Ok(Step::Value(Value::Nil));
        }
        Scan::Starved => return Ok(Step::Starved),
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
            Ok(Step::Open(kind, elements + data))
        }
        _ => Err(CodecError::TooManyElements {
            declared: elements,
            limit,
        }),
    }
}

/// The value of a line whose type byte is `tag`, or what is wrong with it.
fn line_value(tag: u8, text: &[u8]) -> Result<Value, &'static str> {
    let utf8 = || str::from_utf8(text).map_err(|_| "not UTF-8");
    match (tag, text) {
        (b'+', _) => utf8().map(|text| match text {
            "OK" => Value::Okay,
            text => Value::SimpleString(text.to_owned()),
        }),
        (b'-', _) => {
            let text = String::from_utf8_lossy(text);
            by_redis_crate(&[b"-", text.as_bytes(), b"\r\n"]).ok_or("not an error")
        }
        (b'#', b"t") => Ok(Value::Boolean(true)),
        (b'#', b"f") => Ok(Value::Boolean(false)),
        (b'#', _) => Err("not a boolean"),
        // `redis::parse_redis_value` lets blanks surround the number.
        (b',', _) => match utf8()?.parse() {
            Ok(number) => Ok(Value::Double(number)),
            Err(_) => Err("not a double"),
        },
        // With its feature `num-bigint` off, `redis::parse_redis_value` takes any text.
        (b'(', _) if is_big_number(text) => {
            by_redis_crate(&[b"(", text, b"\r\n"]).ok_or("not a big number")
        }
        (b'(', _) => Err("not a big number"),
        // Nulls without text were read before; `redis::parse_redis_value` lets text follow.
        _ => Err("not a null"),
    }
}

fn is_big_number(text: &[u8]) -> bool {
    let digits = match text {
        [b'+' | b'-', digits @ ..] => digits,
        digits => digits,
    };
    !digits.is_empty() && digits.iter().all(u8::is_ascii_digit)
}

#[inline]
fn blob_value(kind: BlobKind, data: Vec<u8>) -> Result<Value, CodecError> {
    match kind {
        BlobKind::Bulk => Ok(Value::BulkString(data)),
        BlobKind::Error => {
            let header = format!("!{}\r\n", data.len());
            by_redis_crate(&[header.as_bytes(), &data, b"\r\n"])
                .ok_or_else(|| CodecError::malformed("not an error", &data))
        }
        BlobKind::Verbatim => verbatim(&data),
    }
}

/// Three characters of format, a colon, the text. `redis::parse_redis_value` takes a format of any
/// length.
#[cold]
fn verbatim(data: &[u8]) -> Result<Value, CodecError> {
    let (Some(3), Some((format, text))) = (memchr::memchr(b':', data), data.split_at_checked(3))
    else {
        return Err(CodecError::malformed(
            "verbatim string without a format",
            data,
        ));
    };
    let format = match format {
        b"txt" => VerbatimFormat::Text,
        b"mkd" => VerbatimFormat::Markdown,
        other => VerbatimFormat::Unknown(String::from_utf8_lossy(other).into_owned()),
    };
    Ok(Value::VerbatimString {
        format,
        text: String::from_utf8_lossy(&text[1..]).into_owned(),
    })
}

/// Values that only the redis crate can build (errors), or whose type depends on its features (big
/// numbers).
#[cold]
fn by_redis_crate(parts: &[&[u8]]) -> Option<Value> {
    redis::parse_redis_value(&parts.concat()).ok()
}
