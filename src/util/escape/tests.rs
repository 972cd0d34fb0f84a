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
        assert_eq!(escape(text), shown);
    }
}

#[test]
fn shows_256_bytes_and_cuts_what_is_longer() {
    assert_eq!(escape(&[b'a'; 256]), "a".repeat(256));
    let cut = escape(&[b'a'; 257]);
    assert_eq!(cut.len(), 256);
    assert!(cut.ends_with("a…"));
}

proptest! {
    #[test]
    fn is_short_and_has_no_control_characters(text: Vec<u8>) {
        let shown = escape(&text);
        prop_assert!(shown.len() <= 256);
        prop_assert!(!shown.chars().any(char::is_control));
    }
}
