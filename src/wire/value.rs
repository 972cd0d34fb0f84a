//! Reading a reply without trusting it.

use std::time::Duration;

use redis::Value;

use crate::{
    node::{Node, announced},
    util::escape::escape,
};

/// More than three times the fields of the longest entry that the newest Sentinel sends.
const MAX_FIELDS: usize = 256;

/// A reply that does not have the form that its command promises.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply to {command}: {reason}")]
pub(crate) struct Malformed {
    command: &'static str,
    reason: String,
}

impl Malformed {
    pub(crate) fn new(command: &'static str, reason: String) -> Self {
        Self { command, reason }
    }
}

/// Named fields: a flat list of names and values in RESP2, a map in RESP3.
pub(crate) enum Fields<'a> {
    Flat(&'a [Value]),
    Map(&'a [(Value, Value)]),
}

impl<'a> Fields<'a> {
    pub(crate) fn of(entry: &'a Value) -> Result<Self, String> {
        let (fields, whole) = match plain(entry) {
            Value::Array(items) => (Self::Flat(items), items.len().is_multiple_of(2)),
            Value::Map(pairs) => (Self::Map(pairs), true),
            other => return Err(unexpected(other)),
        };
        match fields.len() {
            _ if !whole => Err("a field without a value".into()),
            0..=MAX_FIELDS => Ok(fields),
            len => Err(format!("{len} fields, more than {MAX_FIELDS}")),
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Flat(items) => items.len() / 2,
            Self::Map(pairs) => pairs.len(),
        }
    }

    pub(crate) fn value(&self, name: &str) -> Option<&'a Value> {
        let named = |field: &Value| text(field) == Some(name.as_bytes());
        match self {
            Self::Flat(items) => items
                .chunks_exact(2)
                .find(|pair| named(&pair[0]))
                .map(|pair| &pair[1]),
            Self::Map(pairs) => pairs
                .iter()
                .find(|(field, _)| named(field))
                .map(|(_, value)| value),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.value(name).and_then(text)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.value(name)
            .and_then(signed)
            .and_then(|number| number.try_into().ok())
    }

    pub(crate) fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    pub(crate) fn node(&self) -> Result<Node, String> {
        let host_and_port = self.value("ip").zip(self.value("port"));
        host_and_port
            .and_then(|(host, port)| node(host, port))
            .ok_or_else(|| bad_address(self.get("ip"), self.get("port")))
    }

    /// A run id or a Sentinel id: 40 hex digits. A node that a Sentinel has not reached yet has an empty
    /// one.
    pub(crate) fn id(&self, name: &str) -> Option<String> {
        let id = self.get(name)?;
        let hex = id.len() == 40 && id.iter().all(u8::is_ascii_hexdigit);
        hex.then(|| String::from_utf8_lossy(id).into_owned())
    }
}

/// The address of a host and a port, if it can be connected to.
pub(crate) fn node(host: &Value, port: &Value) -> Option<Node> {
    match plain(port) {
        // ROLE gives the port as an integer, Sentinel as text.
        Value::Int(port) => {
            let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
            Some(Node::new(announced::host(text(host)?)?, port))
        }
        port => announced::node(text(host)?, text(port)?),
    }
}

/// RESP3 may wrap anything in attributes.
pub(crate) fn plain(mut value: &Value) -> &Value {
    while let Value::Attribute { data, .. } = value {
        value = data;
    }
    value
}

pub(crate) fn text(value: &Value) -> Option<&[u8]> {
    match plain(value) {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

pub(crate) fn signed(value: &Value) -> Option<i64> {
    match plain(value) {
        Value::Int(number) => Some(*number),
        value => std::str::from_utf8(text(value)?).ok()?.parse().ok(),
    }
}

pub(crate) fn bad_address(host: Option<&[u8]>, port: Option<&[u8]>) -> String {
    let shown = |part: Option<&[u8]>| part.map_or_else(|| "nothing".into(), escape);
    format!(
        "unusable address, host {}, port {}",
        shown(host),
        shown(port)
    )
}

pub(crate) fn unexpected(value: &Value) -> String {
    match value {
        Value::ServerError(error) => {
            let details = error.details().unwrap_or_default();
            escape(format!("error {} {details}", error.code()).as_bytes())
        }
        Value::Nil => "nothing".into(),
        Value::Array(_) | Value::Set(_) | Value::Push { .. } => "an unexpected list".into(),
        Value::Map(_) => "an unexpected map".into(),
        _ => "a single value instead of a list".into(),
    }
}
