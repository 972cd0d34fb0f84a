use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use redis::{RedisError, VerbatimFormat, from_redis_value};

use super::*;
use crate::{Outcome, outcome};

#[derive(Debug, Clone, PartialEq)]
struct User {
    name: String,
    age: u8,
}

// By hand, since the crate itself needs no derive of serde's.
impl Serialize for User {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, self.age).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, age) = Deserialize::deserialize(deserializer)?;
        Ok(Self { name, age })
    }
}

fn ann() -> User {
    User {
        name: "Ann".to_owned(),
        age: 7,
    }
}

fn bulk(text: &str) -> Value {
    Value::BulkString(text.into())
}

fn args(value: impl ToRedisArgs) -> Vec<String> {
    let args = value.to_redis_args().into_iter();
    args.map(|arg| String::from_utf8(arg).unwrap()).collect()
}

#[test]
fn a_value_is_one_argument() {
    const ANN: &str = r#"["Ann",7]"#;
    assert_eq!(args(Json(ann())), [ANN]);
    assert_eq!(args(Json(&ann())), [ANN]);
    assert_eq!(args(Json(vec![1, 2])), ["[1,2]"]);
    assert_eq!(args(Json(None::<u8>)), ["null"]);
    assert_eq!(args(Json("")), ["\"\""]);
    assert_eq!(args([Json(1), Json(2)].as_slice()), ["1", "2"]);
    assert_eq!(
        args(vec![("a", Json(ann())), ("b", Json(ann()))]),
        ["a", ANN, "b", ANN]
    );
    assert_eq!(args(BTreeMap::from([("a", Json(1))])), ["a", "1"]);
    assert_eq!(args(None::<Json<u8>>), [""; 0]);
    assert_eq!(Json(1).num_of_args(), 1);
}

#[test]
fn a_value_is_read_from_every_kind_of_text() {
    const TEXT: &str = r#" ["Ann", 7] "#;
    let verbatim = Value::VerbatimString {
        format: VerbatimFormat::Text,
        text: TEXT.to_owned(),
    };
    let attribute = Value::Attribute {
        data: Box::new(bulk(TEXT)),
        attributes: vec![],
    };
    for value in [
        bulk(TEXT),
        Value::SimpleString(TEXT.to_owned()),
        verbatim,
        attribute,
    ] {
        assert_eq!(Json::from_redis_value_ref(&value).unwrap(), Json(ann()));
        assert_eq!(from_redis_value::<Json<User>>(value).unwrap(), Json(ann()));
    }
}

#[test]
fn what_is_not_there_is_none() {
    let nothing: Option<Json<User>> = from_redis_value(Value::Nil).unwrap();
    assert_eq!(nothing, None);
    let null: Option<Json<Option<u8>>> = from_redis_value(bulk("null")).unwrap();
    assert_eq!(null, Some(Json(None)));
    let holes = Value::Array(vec![bulk("1"), Value::Nil, bulk("3")]);
    let holes: Vec<Option<Json<u8>>> = from_redis_value(holes).unwrap();
    assert_eq!(holes, [Some(Json(1)), None, Some(Json(3))]);
}

#[test]
fn lists_sets_and_fields_hold_values() {
    let list = || vec![bulk("1"), bulk("2")];
    for value in [Value::Array(list()), Value::Set(list())] {
        let numbers: Vec<Json<u8>> = from_redis_value(value).unwrap();
        assert_eq!(numbers, [Json(1), Json(2)]);
    }
    let expected = HashMap::from([("a".to_owned(), Json(ann()))]);
    let user = || bulk(r#"["Ann",7]"#);
    // As RESP2 and RESP3 have it.
    for value in [
        Value::Array(vec![bulk("a"), user()]),
        Value::Map(vec![(bulk("a"), user())]),
    ] {
        let fields: HashMap<String, Json<User>> = from_redis_value(value).unwrap();
        assert_eq!(fields, expected);
    }
    let both: (Json<u8>, Option<Json<u8>>) =
        from_redis_value(Value::Array(vec![bulk("1"), Value::Nil])).unwrap();
    assert_eq!(both, (Json(1), None));
}

/// The text of the error, which shows nothing of the value.
fn refused<T: FromRedisValue>(value: Value) -> String {
    let Err(error) = from_redis_value::<T>(value) else {
        panic!("it does not fit");
    };
    let error = RedisError::from(error);
    assert_eq!(outcome(&error), Outcome::Executed);
    for text in [format!("{error}"), format!("{error:?}")] {
        assert!(!text.contains("canary"), "{text}");
    }
    error.to_string()
}

#[test]
fn an_error_names_the_type_and_the_place_and_shows_nothing() {
    let table = [
        ("", "ends too early at line 1, column 0"),
        ("canary", "this is no JSON at line 1, column 1"),
        (
            "[\"canary\",\n7",
            "the JSON ends too early at line 2, column 1",
        ),
        ("[\"canary\",\n 7}", "this is no JSON at line 2, column 3"),
        (
            "[\"a\", \"canary\"]",
            "the JSON does not fit at line 1, column 14",
        ),
        ("\"canary\"", "the JSON does not fit at line 1, column 8"),
        (
            "{\"canary\": 1}",
            "the JSON does not fit at line 1, column 0",
        ),
        (
            "[\"canary\", 300]",
            "the JSON does not fit at line 1, column 14",
        ),
        ("[\"a\", 1] canary", "this is no JSON at line 1, column 10"),
        (
            "[\"canary\", 1, 2]",
            "the JSON does not fit at line 1, column 15",
        ),
    ];
    for (text, expected) in table {
        let said = refused::<Json<User>>(bulk(text));
        assert!(said.contains("json::tests::User"), "{text}: {said}");
        assert!(said.ends_with(expected), "{text}: {said}");
        // The same where it is one of several.
        let list = || Value::Array(vec![bulk("[\"a\",1]"), bulk(text)]);
        assert_eq!(refused::<Vec<Json<User>>>(list()), said);
        assert_eq!(refused::<Vec<Option<Json<User>>>>(list()), said);
        assert_eq!(refused::<Vec<Json<User>>>(bulk(text)), said);
        let fields = Value::Map(vec![(bulk("field"), bulk(text))]);
        assert_eq!(refused::<HashMap<String, Json<User>>>(fields), said);
    }
    let said = refused::<Json<User>>(Value::BulkString(b"[\"canary\xff\", 1]".to_vec()));
    assert!(said.contains("this is no JSON at line 1"), "{said}");
}

#[test]
fn a_reply_that_is_no_text_says_how_to_read_it() {
    let canary = || bulk("canary");
    let table = [
        (Value::Nil, "nil; read it as Option<Json<_>>"),
        (Value::Array(vec![canary()]), "read it as Vec<Json<_>>"),
        (Value::Set(vec![canary()]), "read it as Vec<Json<_>>"),
        (
            Value::Map(vec![(canary(), canary())]),
            "read it as HashMap<String, Json<_>>",
        ),
        (Value::Int(1), "the reply is no text"),
        (Value::Okay, "the reply is no text"),
        (Value::Double(1.0), "the reply is no text"),
        (Value::Boolean(true), "the reply is no text"),
    ];
    for (value, expected) in table {
        let said = refused::<Json<u8>>(value);
        assert!(said.contains("no JSON of a u8: "), "{said}");
        assert!(said.ends_with(expected), "{said}");
    }
}

#[test]
fn what_cannot_be_json_is_told_before_a_command_is_built() {
    let map = Json(BTreeMap::from([((1, 2), 3)]));
    assert!(map.to_bytes().is_err());
    let panic = std::panic::catch_unwind(|| map.to_redis_args()).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(
        text.contains("cannot be stored as JSON, check it with Json::to_bytes"),
        "{text}"
    );
}

proptest! {
    #[test]
    fn what_was_stored_is_what_is_read(
        value in any::<(String, Vec<i64>, Option<bool>, HashMap<String, char>)>()
    ) {
        let stored = Json(&value).to_redis_args();
        prop_assert_eq!(stored.len(), 1);
        let read = from_redis_value(Value::BulkString(stored[0].clone()));
        prop_assert_eq!(read, Ok(Json(value)));
    }
}
