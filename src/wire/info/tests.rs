use redis::VerbatimFormat;

use super::*;

#[test]
fn finds_a_field_by_its_whole_name() {
    let text = "# Replication\r\nrole:master\r\nmaster_replid:8f2a\r\nmaster_replid2:0000\r\n";
    for reply in [
        Value::BulkString(text.into()),
        Value::VerbatimString {
            format: VerbatimFormat::Text,
            text: text.into(),
        },
    ] {
        assert_eq!(field(&reply, "master_replid").as_deref(), Some("8f2a"));
        assert_eq!(field(&reply, "role").as_deref(), Some("master"));
        assert_eq!(field(&reply, "master_repl"), None);
        assert_eq!(field(&reply, "replid"), None);
    }
}

#[test]
fn what_is_no_word_is_no_value() {
    for reply in [
        "run_id:\r\n",
        "run_id:a b\r\n",
        "run_id",
        &"run_id:x".repeat(99),
    ] {
        assert_eq!(field(&Value::BulkString(reply.into()), "run_id"), None);
    }
    assert_eq!(field(&Value::Nil, "run_id"), None);
}

#[test]
fn what_an_administrator_has_written_may_have_spaces() {
    let reply =
        |value: &str| Value::BulkString(format!("availability_zone:{value}\r\nx:1\r\n").into());
    for (value, expected) in [
        ("eu-central-1a", Some("eu-central-1a")),
        ("Room 7", Some("Room 7")),
        ("Zürich", Some("Zürich")),
        ("", None),
        ("a\tb", None),
        (&"x".repeat(300), None),
    ] {
        let zone = text_field(&reply(value), "availability_zone");
        assert_eq!(zone.as_deref(), expected, "{value}");
    }
    assert_eq!(text_field(&Value::Nil, "availability_zone"), None);
}
