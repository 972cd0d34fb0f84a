//! Text that came from a server, made fit for a log line.

use std::fmt::Write;

/// How much of a server's text is shown: the longest that an honest error or address needs.
const MAX: usize = 256;

/// At most 256 bytes of `text` with control characters and whatever is not UTF-8 escaped, so that
/// it can neither forge a line in a log nor fill it.
pub(crate) fn escape(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX));
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let start = shown.len();
            // Line and paragraph separators and the bidirectional marks rewrite a line as well as a
            // newline does.
            if c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
            {
                shown.extend(c.escape_default());
            } else {
                shown.push(c);
            }
            if full(&mut shown, start) {
                return shown;
            }
        }
        for byte in chunk.invalid() {
            let start = shown.len();
            // Writing to a String cannot fail.
            let _ = write!(shown, "\\x{byte:02x}");
            if full(&mut shown, start) {
                return shown;
            }
        }
    }
    shown
}

/// Cuts a text that grew too long back to `start`, where its last character begins.
fn full(shown: &mut String, start: usize) -> bool {
    if shown.len() <= MAX {
        return false;
    }
    shown.truncate(start);
    while shown.len() > MAX - '…'.len_utf8() {
        shown.pop();
    }
    shown.push('…');
    true
}

#[cfg(test)]
mod tests;
