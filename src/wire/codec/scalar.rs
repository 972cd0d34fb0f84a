//! A value from its text, once all of that is there.

use redis::{Value, VerbatimFormat};

use crate::wire::codec::error::{CodecError, Fault};

/// The types that are sent as a length and that many bytes.
#[derive(Clone, Copy)]
pub(super) enum BlobKind {
    Bulk,
    Error,
    Verbatim,
}

/// The value of a line whose type byte is `tag`, or what is wrong with it.
pub(super) fn from_line(tag: u8, text: &[u8]) -> Result<Value, &'static str> {
    let utf8 = || str::from_utf8(text).map_err(|_| "not UTF-8");
    match (tag, text) {
        (b'+', b"OK") => Ok(Value::Okay),
        (b'+', _) => utf8().map(|text| Value::SimpleString(text.to_owned())),
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
        (_, b"") => Ok(Value::Nil),
        // `redis::parse_redis_value` lets text follow.
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

pub(super) fn from_blob(kind: BlobKind, data: Vec<u8>) -> Result<Value, Fault> {
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
fn verbatim(data: &[u8]) -> Result<Value, Fault> {
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
        text: text_of(&text[1..]),
    })
}

/// The check for UTF-8 alone is several times as fast as the one that also replaces, and positions are
/// asked for often.
fn text_of(text: &[u8]) -> String {
    match str::from_utf8(text) {
        Ok(text) => text.to_owned(),
        Err(_) => String::from_utf8_lossy(text).into_owned(),
    }
}

/// Values that only the redis crate can build (errors), or whose type depends on its features (big
/// numbers).
#[cold]
fn by_redis_crate(parts: &[&[u8]]) -> Option<Value> {
    redis::parse_redis_value(&parts.concat()).ok()
}
