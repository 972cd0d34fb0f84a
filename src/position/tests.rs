use super::*;

#[test]
fn a_number_is_written_in_one_way_only() {
    for (text, number) in [
        ("0", Some(0)),
        ("7", Some(7)),
        ("1000", Some(1000)),
        ("9223372036854775807", Some(MAX_OFFSET)),
        ("9223372036854775808", None),
        ("99999999999999999999999999", None),
        ("", None),
        ("00", None),
        ("07", None),
        ("+7", None),
        ("-1", None),
        ("7 ", None),
        (" 7", None),
        ("7a", None),
        ("0x7", None),
        ("1_000", None),
        ("٧", None),
    ] {
        assert_eq!(decimal(text.as_bytes(), MAX_OFFSET), number, "{text:?}");
    }
    assert_eq!(decimal(b"18446744073709551615", u64::MAX), Some(u64::MAX));
    assert_eq!(decimal(b"18446744073709551616", u64::MAX), None);
    assert_eq!(decimal(&[b'1', 0xff], u64::MAX), None);
}
