use super::*;

#[test]
fn text_is_escaped_and_shortened() {
    let error = ConfigError::new("master_name", "no").with_text("a\r\nb");
    assert_eq!(error.value(), Some(r#""a\r\nb""#));
    assert_eq!(error.to_string(), r#"invalid `master_name` ("a\r\nb"): no"#);

    let error = ConfigError::new("master_name", "no").with_text(&"x".repeat(1_000));
    assert!(error.to_string().chars().count() < 120, "{error}");
}

#[test]
fn text_that_looks_like_a_url_with_credentials_is_left_out() {
    let error = ConfigError::new("sentinels[0]", "no").with_text("redis://:canary@host");
    assert_eq!(error.value(), None);
    assert_eq!(error.to_string(), "invalid `sentinels[0]`: no");
}

#[test]
fn dropping_text_keeps_numbers() {
    let error = ConfigError::new("db", "no").with_value(-1);
    assert_eq!(error.clone().without_text(), error);
    let error = ConfigError::new("db", "no").with_text("x");
    assert_eq!(error.without_text().value(), None);
}
