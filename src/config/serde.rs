//! Configuration files: everything in a [`Config`] can be deserialized.
//!
//! A file is read into a tree of values first, which takes text for numbers and numbers for text as the
//! formats give them. Then each value is set by its name, as the options of a URL are. So there is one
//! vocabulary and one place that knows it.

use std::{borrow::Cow, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};

use crate::{
    config::{
        AddressMap, Adopt, Config, ConfigError, FreshnessLimits, Measure, MultiplexedLimits,
        OnLost, Otherwise, PoolLimits, Protocol, ReadFrom, ReplyLimits, Secret, Trace,
        given::{self, Given},
        settings::{self, Kind, NAMES, Refusal, Value},
    },
    node::Node,
};

/// A value as the format gives it. It may be a secret, so it cannot be shown.
enum Raw {
    Scalar(String, Kind),
    List(Vec<Self>),
    Table(Vec<(String, Self)>),
}

/// What a file gives for one setting: its name with dots, and its value as text.
type Flat = Result<Vec<Given>, ConfigError>;

impl Raw {
    fn text(text: impl Into<String>) -> Self {
        Self::Scalar(text.into(), Kind::Text)
    }

    /// One text for a list or a table, as it would be written in a URL.
    fn joined(self) -> Result<(String, Kind), &'static str> {
        let joined = |items: Vec<(Option<String>, Self)>| {
            let item = |(key, item): (Option<String>, Self)| match item {
                Self::Scalar(text, kind) if kind != Kind::Null => {
                    let key = key.map(|key| key + "=");
                    Ok(key.unwrap_or_default() + &text)
                }
                _ => Err("must not have lists or tables in it"),
            };
            let items: Result<Vec<String>, _> = items.into_iter().map(item).collect();
            Ok((items?.join(","), Kind::Text))
        };
        match self {
            Self::Scalar(text, kind) => Ok((text, kind)),
            Self::List(items) => joined(items.into_iter().map(|item| (None, item)).collect()),
            Self::Table(items) => joined(
                items
                    .into_iter()
                    .map(|(key, item)| (Some(key), item))
                    .collect(),
            ),
        }
    }

    fn flatten(self, name: String, flat: &mut Vec<Given>) -> Result<(), ConfigError> {
        match self {
            // Its keys are addresses.
            Self::Table(items) if name != "address_map" => {
                // Even an empty table asks for TLS: nobody writes one for plain text.
                if name == "tls" {
                    let (name, text) = (name.clone(), "true".to_owned());
                    let kind = Kind::Text;
                    flat.push(Given { name, text, kind });
                }
                for (key, item) in items {
                    // As `envy` and the `config` crate without a separator leave it.
                    let key = key.replace("__", ".");
                    let name = if name.is_empty() {
                        key
                    } else {
                        format!("{name}.{key}")
                    };
                    item.flatten(name, flat)?;
                }
            }
            raw => {
                let joined = raw.joined();
                let (text, kind) =
                    joined.map_err(|reason| ConfigError::new(short(&name), reason))?;
                flat.push(Given { name, text, kind });
            }
        }
        Ok(())
    }

    fn settings(self) -> Flat {
        let mut flat = Vec::new();
        self.flatten(String::new(), &mut flat)?;
        for given in &flat {
            if given.name != "url" && !settings::knows(&given.name) {
                return Err(unknown(&given.name));
            }
        }
        Ok(flat)
    }
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting: text, a number, a list or a table")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::text(value.to_string()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_i128<E: Error>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string(), Kind::Number))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Scalar(value.to_string(), Kind::Inexact))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::text(value))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::text(value))
    }

    fn visit_bytes<E: Error>(self, value: &[u8]) -> Result<Raw, E> {
        let text = std::str::from_utf8(value).map_err(|_| E::custom("text is not UTF-8"))?;
        Ok(Raw::text(text))
    }

    fn visit_unit<E: Error>(self) -> Result<Raw, E> {
        Ok(Raw::Scalar(String::new(), Kind::Null))
    }

    fn visit_none<E: Error>(self) -> Result<Raw, E> {
        self.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Raw, D::Error> {
        Raw::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Raw::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut items: A) -> Result<Raw, A::Error> {
        let mut table = Vec::new();
        while let Some(item) = items.next_entry()? {
            table.push(item);
        }
        Ok(Raw::Table(table))
    }
}

/// From a URL as text, or from a table: `url`, and settings named as the options of the URL, with
/// `sentinels`, `master_name`, `nodes`, `username`, `password` and `db`. `write`, `read`, `multiplexed`,
/// `reply_limits` and `tls` are tables in it. `tls` may also be `true`; the files that it names are read
/// at once.
///
/// Settings in the table override those of its `url`. A duration is text with a unit (`500ms`, `5s`),
/// a null means the default or, where that is possible, `none`. What is not known is refused. The
/// configuration is validated. No error of ours shows a value that is text; the format's own parser
/// may show the line.
impl<'de> Deserialize<'de> for Config {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let made = match Raw::deserialize(deserializer)? {
            Raw::Scalar(url, Kind::Text) => Self::from_url(&url),
            raw @ Raw::Table(_) => raw
                .settings()
                .and_then(|given| given::assemble(&given, str::to_owned)),
            _ => Err(ConfigError::new(
                "url",
                "must be a URL, or a table of settings",
            )),
        };
        made.map_err(D::Error::custom)
    }
}

/// From a table of the limits that should differ from their defaults.
macro_rules! limits_from_table {
    ($($limits:ty, $set:path;)*) => {$(
        /// From a table of those that should differ from their defaults. They are not validated.
        impl<'de> Deserialize<'de> for $limits {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let mut limits = Self::default();
                let mut flat = Vec::new();
                Raw::deserialize(deserializer)?
                    .flatten(String::new(), &mut flat)
                    .map_err(D::Error::custom)?;
                for Given { name, text, kind } in flat {
                    let error = match $set(&mut limits, &name, Value::of(&text, kind)) {
                        Ok(()) => continue,
                        Err(Refusal::Invalid(_)) if kind.is_null() => continue,
                        Err(Refusal::Invalid(reason)) => ConfigError::new(name, reason),
                        Err(Refusal::Unknown) => unknown(&name),
                    };
                    return Err(D::Error::custom(error));
                }
                Ok(limits)
            }
        }
    )*};
}

limits_from_table! {
    PoolLimits, settings::set_limit;
    MultiplexedLimits, settings::set_multiplexed_limit;
    FreshnessLimits, settings::set_freshness;
    ReplyLimits, settings::set_reply_limit;
}

/// From text, as in a URL.
macro_rules! value_from_text {
    ($($value:ty, $name:literal, $read:expr;)*) => {$(
        impl<'de> Deserialize<'de> for $value {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let joined = Raw::deserialize(deserializer)?.joined();
                let read: fn(Value<'_>) -> Result<Self, &'static str> = $read;
                joined
                    .and_then(|(text, kind)| read(Value::of(&text, kind)))
                    .map_err(|reason| D::Error::custom(ConfigError::new($name, reason)))
            }
        }
    )*};
}

value_from_text! {
    ReadFrom, "read_from", |value| value.read_from();
    Protocol, "protocol", |value| value.protocol();
    Measure, "measure", |value| value.measure();
    Trace, "trace", |value| value.trace();
    Adopt, "adopt", |value| value.adopt();
    Otherwise, "otherwise", |value| value.otherwise();
    OnLost, "lost", |value| value.on_lost();
    Secret, "secret", |value| value.secret();
    AddressMap, "address_map", |value| value.address_map();
    Node, "node", |value| value.node();
}

fn unknown(name: &str) -> ConfigError {
    let reason: Cow<'static, str> = match nearest(name) {
        Some(nearest) => format!("is not known; did you mean `{nearest}`?").into(),
        None => "is not known".into(),
    };
    ConfigError::new(short(name), reason)
}

/// The known name that is spelled most like this one.
fn nearest(name: &str) -> Option<String> {
    let (pool, limit) = match name.split_once('.') {
        Some((pool @ ("write" | "read"), limit)) => (Some(pool), limit),
        _ => (None, name),
    };
    let (distance, known) = NAMES
        .iter()
        .map(|known| (distance(limit, known), known))
        .min()?;
    (distance <= 1 + limit.len() / 4).then(|| match pool {
        Some(pool) => format!("{pool}.{known}"),
        None => (*known).to_owned(),
    })
}

/// How many characters must be changed to make one of the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(64).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

fn short(name: &str) -> String {
    name.chars().take(64).flat_map(char::escape_debug).collect()
}

// They give the settings of TLS too.
#[cfg(test)]
#[cfg(feature = "tls")]
mod tests;
