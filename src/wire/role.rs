//! The reply to `ROLE`, read without trusting it.

use redis::Value;

use crate::{
    node::Node,
    util::escape::escape,
    wire::value::{Malformed, bad_address, node, plain, signed, text, unexpected},
};

/// A node's role, as the node itself reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleReply {
    Master {
        offset: i64,
        /// How many replicas are connected to it and in sync.
        replicas: usize,
    },
    Replica {
        master: Node,
        state: LinkState,
        /// -1 while it has no link.
        offset: i64,
    },
    Sentinel,
}

/// A replica's link to its master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LinkState {
    Connected,
    Other(String),
}

/// Reads the reply to `ROLE`.
pub(crate) fn parse(reply: &Value) -> Result<RoleReply, Malformed> {
    let malformed = |reason| Malformed::new("ROLE", reason);
    let items = match plain(reply) {
        Value::Array(items) => items.as_slice(),
        other => return Err(malformed(unexpected(other))),
    };
    match (items.first().and_then(text), items) {
        (Some(b"master"), [_, offset, rest @ ..]) => Ok(RoleReply::Master {
            offset: signed(offset).ok_or_else(|| malformed("no offset".into()))?,
            replicas: match rest.first().map(plain) {
                Some(Value::Array(replicas)) => replicas.len(),
                _ => 0,
            },
        }),
        (Some(b"slave"), [_, host, port, state, offset, ..]) => Ok(RoleReply::Replica {
            master: node(host, port)
                .ok_or_else(|| malformed(bad_address(text(host), text(port))))?,
            state: match text(state) {
                Some(b"connected") => LinkState::Connected,
                Some(other) => LinkState::Other(escape(other)),
                None => return Err(malformed("no link state".into())),
            },
            offset: signed(offset).ok_or_else(|| malformed("no offset".into()))?,
        }),
        (Some(b"sentinel"), _) => Ok(RoleReply::Sentinel),
        (Some(role @ (b"master" | b"slave")), _) => Err(malformed(format!(
            "{} elements for a {}",
            items.len(),
            escape(role)
        ))),
        (Some(role), _) => Err(malformed(format!("unknown role {}", escape(role)))),
        (None, _) => Err(malformed("no role".into())),
    }
}

impl LinkState {
    /// The state in Redis's words, unless the link is connected.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Connected => None,
            Self::Other(state) => Some(state),
        }
    }
}
