//! The lines of `INFO`, read without trusting them.

use redis::Value;

use crate::wire::value::text;

/// An id has 40 characters; a longer value than this is none.
const MAX_FIELD: usize = 64;

/// The value of one field; `None` where it is missing, empty, or not a plain word.
pub(crate) fn field(reply: &Value, name: &str) -> Option<String> {
    let value = text(reply)?
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
        .next()?
        .trim_ascii_end();
    let fit = (1..=MAX_FIELD).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fit.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests;
