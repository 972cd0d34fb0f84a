//! Makes a server's text fit for a log line.

use std::fmt::Write;

/// How many bytes of a server's text are shown: enough for every honest error or address.
const MAX: usize = 256;

/// At most 256 bytes of `text`, with control characters and invalid UTF-8 escaped, so that it can
/// neither forge a line in a log nor fill the log.
pub(crate) fn escape(text: &[u8]) -> String {
    let mut shown = String::with_capacity(text.len().min(MAX));
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            let start = shown.len();
            // Line and paragraph separators and bidirectional marks change how a line reads, as a
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

/// Whether the text has grown too long. If so its last character, from `start` on, is cut off.
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
