//! The parts of a reply that end in CRLF.

use memchr::memchr;

/// A number of 19 digits always fits `u64`, and every `i64` has at most 19.
const MOST_DIGITS: usize = 19;

/// The result of scanning the bytes at hand.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<T> {
    /// The value, and the number of bytes it took, CRLF included.
    Done(T, usize),
    /// No fault so far, but the end is missing.
    Starved,
    Malformed,
}

/// A signed integer. `redis::parse_redis_value` also takes blanks around it and any number of
/// leading zeros; here more than 19 digits are malformed, which bounds what is read again when the
/// line is cut.
#[inline(always)]
pub(super) fn integer(bytes: &[u8]) -> Scan<i64> {
    let sign = match bytes.first() {
        Some(b'-' | b'+') => 1,
        Some(_) => 0,
        None => return Scan::Starved,
    };
    match digits(&bytes[sign..]) {
        Scan::Done(magnitude, used) => {
            let number = if bytes[0] == b'-' {
                0_i64.checked_sub_unsigned(magnitude)
            } else {
                i64::try_from(magnitude).ok()
            };
            match number {
                Some(number) => Scan::Done(number, sign + used),
                None => Scan::Malformed,
            }
        }
        Scan::Starved => Scan::Starved,
        Scan::Malformed => Scan::Malformed,
    }
}

/// A length; `None` stands for the `-1` of a null. `redis::parse_redis_value` takes every negative
/// length for a null, or casts it to a huge positive one.
#[inline(always)]
pub(super) fn length(bytes: &[u8]) -> Scan<Option<u64>> {
    match digits(bytes) {
        Scan::Done(length, used) => Scan::Done(Some(length), used),
        Scan::Starved => Scan::Starved,
        Scan::Malformed => null(bytes),
    }
}

#[cold]
fn null(bytes: &[u8]) -> Scan<Option<u64>> {
    const NULL: &[u8] = b"-1\r\n";
    if bytes.starts_with(NULL) {
        Scan::Done(None, NULL.len())
    } else if NULL.starts_with(bytes) {
        Scan::Starved
    } else {
        Scan::Malformed
    }
}

#[inline(always)]
fn digits(bytes: &[u8]) -> Scan<u64> {
    let mut number = 0_u64;
    let mut count = 0;
    for &byte in bytes.iter().take(MOST_DIGITS) {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        number = number * 10 + u64::from(digit);
        count += 1;
    }
    match &bytes[count..] {
        [b'\r', b'\n', ..] if count > 0 => Scan::Done(number, count + 2),
        [b'\r'] if count > 0 => Scan::Starved,
        [] => Scan::Starved,
        _ => Scan::Malformed,
    }
}

/// Finds the CRLF of the line that starts at `bytes[0]`, of which the first `searched` bytes are
/// known not to hold it. A lone CR or LF is text, as it is to `redis::parse_redis_value`.
pub(super) fn end(bytes: &[u8], searched: usize) -> Option<usize> {
    let mut from = searched;
    while let Some(found) = memchr(b'\n', &bytes[from..]) {
        let newline = from + found;
        if newline > 0 && bytes[newline - 1] == b'\r' {
            return Some(newline - 1);
        }
        from = newline + 1;
    }
    None
}
