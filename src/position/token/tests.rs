use proptest::prelude::*;

use super::*;

const ID: &str = "8371b4fb1155b71f4a04d3e1bc3e18c4a990aeeb";

fn reason(text: &str) -> String {
    text.parse::<Token>().unwrap_err().reason().to_owned()
}

#[test]
fn the_longest_token_is_read_and_shown() {
    for text in [
        format!("1.{ID}.0.0"),
        format!("1.{ID}.123456789.7"),
        format!("1.{ID}.9223372036854775807.18446744073709551615"),
    ] {
        let token: Token = text.parse().unwrap();
        assert_eq!(token.to_string(), text);
        assert!(text.len() <= MAX_LEN);
    }
    assert_eq!(MAX_LEN, 83, "the docs and the error name it");
}

#[test]
fn a_token_has_the_parts_of_its_text() {
    let token: Token = format!("1.{ID}.12.7").parse().unwrap();
    let timeline = Timeline::parse(ID.as_bytes()).unwrap();
    let offset = 12;
    assert_eq!(token, Token::new(Position { timeline, offset }, 7));
    assert_eq!((token.position().offset, token.epoch()), (12, 7));
}

#[test]
fn the_error_says_which_part_is_wrong() {
    for (text, part) in [
        (String::new(), "begin"),
        (format!("2.{ID}.12.7"), "begin"),
        (format!("01.{ID}.12.7"), "begin"),
        (format!(" 1.{ID}.12.7"), "begin"),
        (format!("{ID}.12.7"), "begin"),
        (format!("1{ID}.12.7"), "begin"),
        (format!("\u{feff}1.{ID}.12.7"), "begin"),
        ("1".to_owned(), "four parts"),
        (format!("1.{ID}.12"), "four parts"),
        (format!("1.{ID}.12.7."), "four parts"),
        (format!("1.{ID}.12.7.7"), "four parts"),
        (format!("1,{ID},12,7"), "begin"),
        (format!("1.{}.12.7", &ID[1..]), "id"),
        (format!("1.{}.12.7", ID.to_uppercase()), "id"),
        (format!("1.{}.12.7", "0".repeat(40)), "id"),
        (format!("1..{ID}.12"), "id"),
        (format!("1.{ID}..7"), "offset"),
        (format!("1.{ID}.-1.7"), "offset"),
        (format!("1.{ID}.012.7"), "offset"),
        (format!("1.{ID}.9223372036854775808.7"), "offset"),
        (format!("1.{ID}.12."), "epoch"),
        (format!("1.{ID}.12.7\n"), "epoch"),
        (format!("1.{ID}.12.+7"), "epoch"),
        (format!("1.{ID}.12.18446744073709551616"), "epoch"),
        (format!("1.{ID}.12.{}", "7".repeat(100)), "83 bytes"),
        (format!("1.{}", "é".repeat(40)), "four parts"),
    ] {
        assert!(reason(&text).contains(part), "{text:?}: {}", reason(&text));
    }
    assert!(reason(&"1.".repeat(1 << 20)).contains("83 bytes"));
}

proptest! {
    #[test]
    fn any_text_is_a_token_of_exactly_this_text_or_an_error(text: String) {
        if let Ok(token) = text.parse::<Token>() {
            prop_assert_eq!(token.to_string(), text);
        }
    }

    #[test]
    fn a_token_with_one_byte_changed_is_another_token_or_an_error(
        offset in 0..=MAX_OFFSET,
        epoch: u64,
        at in 0_usize..MAX_LEN,
        byte in 0_u8..128,
    ) {
        let text = format!("1.{ID}.{offset}.{epoch}");
        let token: Token = text.parse().unwrap();
        prop_assert_eq!(&token.to_string(), &text);
        let mut changed = text.clone().into_bytes();
        let at = at % changed.len();
        changed[at] = byte;
        let changed = String::from_utf8(changed).unwrap();
        if let Ok(other) = changed.parse::<Token>() {
            prop_assert_eq!(other == token, changed == text);
            prop_assert_eq!(other.to_string(), changed);
        }
    }
}

#[cfg(feature = "serde")]
#[test]
fn in_json_a_token_is_its_text() {
    let text = format!("1.{ID}.12.7");
    let token: Token = text.parse().unwrap();
    let json = serde_json::to_string(&token).unwrap();
    assert_eq!(json, format!("\"{text}\""));
    assert_eq!(serde_json::from_str::<Token>(&json).unwrap(), token);
    // With an escape the text is no part of the input.
    let escaped = json.replacen("\"1", "\"\\u0031", 1);
    assert_eq!(serde_json::from_str::<Token>(&escaped).unwrap(), token);
    for other in ["12", "null", "[]", "\"\"", "\"secret\""] {
        let error = serde_json::from_str::<Token>(other).unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
