//! The lines of `INFO`, read without trusting them.

use redis::Value;

use crate::wire::value::text;

/// An id has 40 characters; a longer value than this is none.
const MAX_FIELD: usize = 64;

/// Longer texts are none that an administrator has written.
const MAX_TEXT: usize = 256;

/// The value of one field; `None` where it is missing, empty, or not a plain word.
pub(crate) fn field(reply: &Value, name: &str) -> Option<String> {
    let value = line(reply, name)?;
    let fit = (1..=MAX_FIELD).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fit.then(|| String::from_utf8_lossy(value).into_owned())
}

/// The value of a field that an administrator has written; `None` where it is missing or empty.
pub(crate) fn text_field(reply: &Value, name: &str) -> Option<String> {
    text_of(line(reply, name)?)
}

/// What an administrator has written; `None` where it is empty, or no text.
pub(crate) fn text_of(value: &[u8]) -> Option<String> {
    let value = std::str::from_utf8(value).ok()?;
    let fit = (1..=MAX_TEXT).contains(&value.len()) && !value.contains(char::is_control);
    fit.then(|| value.to_owned())
}

fn line<'a>(reply: &'a Value, name: &str) -> Option<&'a [u8]> {
    let line = text(reply)?
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
        .next()?;
    Some(line.trim_ascii_end())
}

#[cfg(test)]
mod tests;
