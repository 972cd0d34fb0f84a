//! Text that came from a server, made fit for a log line.

use std::fmt::Write;

/// How much of a server's text is shown: the longest that an honest error or address needs.
const MAX: usize = 256;

/// At most 256 bytes of `text` with control characters and whatever is not UTF-8 escaped, so that
/// it can neither forge a line in a log nor fill it.
pub(crate) fn printable(text: &[u8]) -> String {
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn escapes_what_a_log_line_must_not_hold() {
        for (text, shown) in [
            (&b"ERR plain"[..], "ERR plain"),
            (b"", ""),
            (b"a\r\nFAKE line", "a\\r\\nFAKE line"),
            (b"\x1b[31mred\0", "\\u{1b}[31mred\\u{0}"),
            (b"\xff\xfeab", "\\xff\\xfeab"),
            ("größe".as_bytes(), "größe"),
            (
                "a\u{202e}b\u{2028}c\u{85}".as_bytes(),
                "a\\u{202e}b\\u{2028}c\\u{85}",
            ),
        ] {
            assert_eq!(printable(text), shown);
        }
    }

    #[test]
    fn shows_256_bytes_and_cuts_what_is_longer() {
        assert_eq!(printable(&[b'a'; 256]), "a".repeat(256));
        let cut = printable(&[b'a'; 257]);
        assert_eq!(cut.len(), 256);
        assert!(cut.ends_with("a…"));
    }

    proptest! {
        #[test]
        fn is_short_and_has_no_control_characters(text: Vec<u8>) {
            let shown = printable(&text);
            prop_assert!(shown.len() <= 256);
            prop_assert!(!shown.chars().any(char::is_control));
        }
    }
}
