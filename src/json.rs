//! Values that are stored as JSON text.

use std::{
    any,
    ops::{Deref, DerefMut},
};

use redis::{FromRedisValue, ParsingError, RedisWrite, ToRedisArgs, ToSingleRedisArg, Value};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, IgnoredAny},
};
use serde_json::error::Category;

/// Any value of serde, stored in Redis as JSON text. Feature `json`.
///
/// It is one argument of a command, and it is read from one text: from a string, from an element of a
/// list, from a field of a hash. A key that is not there is `None` in an [`Option`].
///
/// ```no_run
/// use std::collections::HashMap;
///
/// use redis_rw_pool::{Json, Pool, redis::{AsyncCommands, RedisResult}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct User {
///     name: String,
/// }
///
/// async fn examples(pool: &Pool, user: &User) -> RedisResult<()> {
///     let mut writer = pool.writer();
///     let () = writer.set_ex("user:7", Json(user), 300).await?;
///     let () = writer.rpush("joined", &[Json(user), Json(user)]).await?;
///     let () = writer.hset("users", 7, Json(user)).await?;
///
///     let mut reader = pool.reader();
///     if let Some(Json(user)) = reader.get::<_, Option<Json<User>>>("user:7").await? {
///         println!("{}", user.name);
///     }
///     let both: Vec<Option<Json<User>>> = reader.mget(&["user:7", "user:8"]).await?;
///     let joined: Vec<Json<User>> = reader.lrange("joined", 0, -1).await?;
///     let users: HashMap<u64, Json<User>> = reader.hgetall("users").await?;
///     Ok(())
/// }
/// ```
///
/// # A type that is always JSON
///
/// The derive macros of the [`redis-macros`](https://docs.rs/redis-macros) crate do the same once for a
/// type, so that no value needs to be wrapped. They need `redis` (of the version that [`redis`] is) and
/// `serde_json` among your dependencies, and their errors show the value.
///
/// ```ignore
/// use redis_macros::{FromRedisValue, ToRedisArgs};
/// use redis_rw_pool::{Pool, redis::{AsyncCommands, RedisResult}};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, FromRedisValue, ToRedisArgs)]
/// struct User {
///     name: String,
/// }
///
/// async fn example(pool: &Pool, user: &User) -> RedisResult<Option<User>> {
///     let () = pool.writer().set("user:7", user).await?;
///     pool.reader().get("user:7").await
/// }
/// ```
///
/// The commands of the RedisJSON module (`JSON.GET` and others) answer in a form of their own. They are in
/// the redis crate's feature `json`, and work on the connections of this crate too.
///
/// # Errors
///
/// A text that is no JSON, or does not fit into `T`, fails with an error of the kind
/// [`Parse`](redis::ErrorKind). It names `T` and the place, and never shows the text or a part of it. The
/// command was executed then: its [`outcome`](crate::outcome()) is
/// [`Executed`](crate::Outcome::Executed).
///
/// # Panics
///
/// A command is built without a way to fail. So it panics when a `Json` becomes an argument whose value
/// cannot be JSON, such as a map whose keys are neither texts nor numbers.
/// [`to_bytes`](Self::to_bytes) makes an error of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[allow(
    clippy::exhaustive_structs,
    reason = "it wraps one value, and is matched on"
)]
pub struct Json<T>(pub T);

impl<T> Json<T> {
    /// The value itself.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T: Serialize> Json<T> {
    /// The JSON text, as it is sent to Redis.
    ///
    /// # Errors
    ///
    /// Where the value cannot be JSON. A command that takes such a value panics.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(&self.0)
    }
}

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for Json<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::deserialize(deserializer).map(Self)
    }
}

impl<T: Serialize> ToRedisArgs for Json<T> {
    fn write_redis_args<W: ?Sized + RedisWrite>(&self, out: &mut W) {
        match self.to_bytes() {
            Ok(text) => out.write_arg(&text),
            // Without the argument, those behind it would take its place.
            Err(error) => panic!(
                "a {} cannot be stored as JSON, check it with Json::to_bytes: {error}",
                any::type_name::<T>()
            ),
        }
    }
}

impl<T: Serialize> ToSingleRedisArg for Json<T> {}

impl<T: DeserializeOwned> FromRedisValue for Json<T> {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Self::from_redis_value_ref(&value)
    }

    fn from_redis_value_ref(value: &Value) -> Result<Self, ParsingError> {
        let text = match value {
            Value::BulkString(text) => text.as_slice(),
            Value::SimpleString(text) | Value::VerbatimString { text, .. } => text.as_bytes(),
            Value::Attribute { data, .. } => return Self::from_redis_value_ref(data),
            other => return Err(no_text::<T>(other)),
        };
        let parsed = serde_json::from_slice(text);
        parsed.map(Self).map_err(|error| misfit::<T>(text, &error))
    }
}

fn no_text<T>(value: &Value) -> ParsingError {
    let what = match value {
        Value::Nil => "the reply is nil; read it as Option<Json<_>>",
        Value::Array(_) | Value::Set(_) => {
            "the reply has several elements; read it as Vec<Json<_>>"
        }
        Value::Map(_) => "the reply has fields; read it as HashMap<String, Json<_>>",
        _ => "the reply is no text",
    };
    format!("no JSON of a {}: {what}", any::type_name::<T>()).into()
}

/// serde's own text may show the value (`invalid type: string "..."`), so only its place is taken.
fn misfit<T>(text: &[u8], error: &serde_json::Error) -> ParsingError {
    // One element too many is a fault of the syntax to serde_json. What it ignores need not be UTF-8 for it.
    let ignored = |text| serde_json::from_str::<IgnoredAny>(text).is_ok();
    let is_json = || str::from_utf8(text).is_ok_and(ignored);
    let what = match error.classify() {
        Category::Data => "the JSON does not fit",
        Category::Syntax if is_json() => "the JSON does not fit",
        Category::Eof => "the JSON ends too early",
        Category::Syntax | Category::Io => "this is no JSON",
    };
    let (line, column) = (error.line(), error.column());
    let name = any::type_name::<T>();
    format!("no JSON of a {name}: {what} at line {line}, column {column}").into()
}

#[cfg(test)]
mod tests;
