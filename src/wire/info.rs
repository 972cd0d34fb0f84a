//! The lines of `INFO`, read without trusting them.

use redis::Value;

use crate::wire::value::text;

/// An id has 40 characters; whatever is much longer is none.
const MAX_FIELD: usize = 64;

/// The value of one field; `None` where it is not there, empty, or no plain word.
pub(crate) fn field(reply: &Value, name: &str) -> Option<String> {
    let value = text(reply)?
        .split(|b| *b == b'\n')
        .filter_map(|line| line.strip_prefix(name.as_bytes())?.strip_prefix(b":"))
        .next()?
        .trim_ascii_end();
    let fit = (1..=MAX_FIELD).contains(&value.len()) && value.iter().all(u8::is_ascii_graphic);
    fit.then(|| String::from_utf8_lossy(value).into_owned())
}

#[cfg(test)]
mod tests {
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
}
