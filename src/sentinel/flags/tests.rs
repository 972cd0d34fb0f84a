use super::*;

#[test]
fn every_flag_is_matched_as_a_whole_token() {
    for (name, flag) in TOKENS {
        let flags = Flags::parse(name.as_bytes());
        for (_, other) in TOKENS {
            assert_eq!(flags.has(other), other == flag, "{name} {other:?}");
        }
    }
    let all = TOKENS.map(|(name, _)| name).join(",");
    assert_eq!(Flags::parse(all.as_bytes()).0.count_ones(), 16);
}

#[test]
fn ignores_what_it_does_not_know() {
    for list in [
        "", ",,,", "mast", "masters", "S_DOWN", " master", "\u{fffd}", "s_down_",
    ] {
        assert_eq!(Flags::parse(list.as_bytes()), Flags::default(), "{list}");
    }
    let flags = Flags::parse(b"brand_new,slave,\xff,disconnected");
    assert_eq!(format!("{flags:?}"), r#"{"slave", "disconnected"}"#);
}
