//! What Sentinels and nodes answer, understood without trusting it.
//!
//! A Sentinel may be old, misconfigured or somebody else's, so nothing here panics, allocates by a number it was told, or
//! passes on an address that cannot be one. A master that cannot be used makes the whole answer malformed: half of it would
//! be worse than what is known already. A replica that cannot be used is left out and counted.

use std::time::Duration;

use redis::Value;

use super::{
    address,
    flags::{Flag, Flags},
};
use crate::{excluded::Excluded, node::Node, printable::printable};

/// More nodes than any deployment has; an answer that names more is not one.
const MAX_NODES: usize = 1024;
/// Three times what the newest Sentinel sends for its wordiest entry, and more.
const MAX_FIELDS: usize = 256;

/// An answer that does not say what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("malformed reply to {command}: {reason}")]
pub(crate) struct Malformed {
    command: &'static str,
    reason: String,
}

/// What a Sentinel says of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterInfo {
    /// As listed. On the Sentinel that leads a failover this is still the old master for as long as the replicas are being
    /// repointed, beside the new epoch: take the address from [`master_addr`].
    pub(crate) node: Node,
    pub(crate) epoch: u64,
    pub(crate) flags: Flags,
    pub(crate) num_other_sentinels: Option<u64>,
    pub(crate) quorum: Option<u64>,
    /// `None` until the Sentinel has seen the node's first INFO.
    pub(crate) run_id: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Replicas {
    pub(crate) entries: Vec<ReplicaInfo>,
    /// How many entries were unusable. With all of them dropped, no entries does not mean no replicas.
    pub(crate) dropped: usize,
}

/// What a Sentinel says of a replica, up to ten seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaInfo {
    pub(crate) node: Node,
    pub(crate) flags: Flags,
    /// Whether its link to its master is up; `None` before the first INFO, where Sentinel prints `err`.
    pub(crate) link_ok: Option<bool>,
    pub(crate) link_down_for: Option<Duration>,
    /// Whom it follows; `None` before the first INFO.
    pub(crate) master: Option<Node>,
    /// 0 is never promoted.
    pub(crate) priority: Option<u64>,
    pub(crate) reports_master: bool,
    /// The age of all this; `None` before the first INFO.
    pub(crate) info_refresh: Option<Duration>,
    pub(crate) repl_offset: Option<u64>,
    pub(crate) run_id: Option<String>,
}

/// Another Sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: Node,
    pub(crate) id: Option<String>,
    pub(crate) flags: Flags,
}

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RoleReply {
    Master {
        offset: i64,
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

/// `SENTINEL GET-MASTER-ADDR-BY-NAME`; `None` means that this Sentinel does not know the name.
pub(crate) fn master_addr(reply: &Value) -> Result<Option<Node>, Malformed> {
    let malformed = |reason| Malformed::new("SENTINEL GET-MASTER-ADDR-BY-NAME", reason);
    match plain(reply) {
        Value::Nil => Ok(None),
        Value::Array(items) => match items.as_slice() {
            [host, port] => node(host, port)
                .map(Some)
                .ok_or_else(|| malformed(bad_address(text(host), text(port)))),
            items => Err(malformed(format!("{} elements instead of 2", items.len()))),
        },
        other => Err(malformed(unexpected(other))),
    }
}

/// `SENTINEL MASTER`.
pub(crate) fn master_info(reply: &Value) -> Result<MasterInfo, Malformed> {
    let malformed = |reason| Malformed::new("SENTINEL MASTER", reason);
    let fields = Fields::of(reply).map_err(malformed)?;
    let flags = fields.flags().ok_or_else(|| malformed("no flags".into()))?;
    if !flags.has(Flag::Master) {
        return Err(malformed("not flagged as a master".into()));
    }
    Ok(MasterInfo {
        node: fields.node().map_err(malformed)?,
        epoch: fields
            .number("config-epoch")
            .ok_or_else(|| malformed("no config-epoch".into()))?,
        flags,
        num_other_sentinels: fields.number("num-other-sentinels"),
        quorum: fields.number("quorum"),
        run_id: fields.id("runid"),
    })
}

/// `SENTINEL REPLICAS`.
pub(crate) fn replicas(reply: &Value) -> Result<Replicas, Malformed> {
    let mut replicas = Replicas::default();
    for entry in nodes("SENTINEL REPLICAS", reply)? {
        match replica(entry) {
            // A second entry for the same address can only contradict the first.
            Some(replica)
                if replicas
                    .entries
                    .iter()
                    .all(|known| known.node != replica.node) =>
            {
                replicas.entries.push(replica);
            }
            _ => replicas.dropped += 1,
        }
    }
    Ok(replicas)
}

fn replica(entry: &Value) -> Option<ReplicaInfo> {
    let fields = Fields::of(entry).ok()?;
    let flags = fields.flags()?;
    if !flags.has(Flag::Replica) {
        return None;
    }
    let info_refresh = fields.millis("info-refresh").filter(|age| {
        // 0 is "never" since 6.2; before, it was the whole time since 1970.
        !age.is_zero() && *age < Duration::from_secs(10 * 365 * 86_400)
    });
    let link = info_refresh.and_then(|_| fields.get("master-link-status"));
    Some(ReplicaInfo {
        node: fields.node().ok()?,
        flags,
        link_ok: link.and_then(|link| match link {
            b"ok" => Some(true),
            b"err" => Some(false),
            _ => None,
        }),
        link_down_for: fields
            .millis("master-link-down-time")
            .filter(|time| !time.is_zero()),
        // The host is "?" before the first INFO, which no address is.
        master: fields
            .get("master-host")
            .zip(fields.get("master-port"))
            .and_then(|(host, port)| address::node(host, port)),
        priority: fields.number("slave-priority"),
        reports_master: fields.get("role-reported") == Some(b"master"),
        info_refresh,
        repl_offset: fields.number("slave-repl-offset"),
        run_id: fields.id("runid"),
    })
}

/// `SENTINEL SENTINELS`: the others that the answering one knows. Unusable entries are left out; a seed list never
/// depends on them.
pub(crate) fn sentinels(reply: &Value) -> Result<Vec<Peer>, Malformed> {
    let mut peers: Vec<Peer> = Vec::new();
    for entry in nodes("SENTINEL SENTINELS", reply)? {
        let Ok(fields) = Fields::of(entry) else {
            continue;
        };
        let (Ok(node), Some(flags)) = (fields.node(), fields.flags()) else {
            continue;
        };
        if flags.has(Flag::Sentinel) && peers.iter().all(|known| known.node != node) {
            peers.push(Peer {
                node,
                id: fields.id("runid"),
                flags,
            });
        }
    }
    Ok(peers)
}

/// A node's own `ROLE`.
pub(crate) fn role(reply: &Value) -> Result<RoleReply, Malformed> {
    let malformed = |reason| Malformed::new("ROLE", reason);
    let items = match plain(reply) {
        Value::Array(items) => items.as_slice(),
        other => return Err(malformed(unexpected(other))),
    };
    match (items.first().and_then(text), items) {
        (Some(b"master"), [_, offset, ..]) => Ok(RoleReply::Master {
            offset: signed(offset).ok_or_else(|| malformed("no offset".into()))?,
        }),
        (Some(b"slave"), [_, host, port, state, offset, ..]) => Ok(RoleReply::Replica {
            master: node(host, port)
                .ok_or_else(|| malformed(bad_address(text(host), text(port))))?,
            state: match text(state) {
                Some(b"connected") => LinkState::Connected,
                Some(other) => LinkState::Other(printable(other)),
                None => return Err(malformed("no link state".into())),
            },
            offset: signed(offset).ok_or_else(|| malformed("no offset".into()))?,
        }),
        (Some(b"sentinel"), _) => Ok(RoleReply::Sentinel),
        (Some(role @ (b"master" | b"slave")), _) => Err(malformed(format!(
            "{} elements for a {}",
            items.len(),
            printable(role)
        ))),
        (Some(role), _) => Err(malformed(format!("unknown role {}", printable(role)))),
        (None, _) => Err(malformed("no role".into())),
    }
}

impl ReplicaInfo {
    /// Whether Sentinel itself gives a reason not to try this replica for reads.
    ///
    /// Being `disconnected` is none: right after a switch every replica is, and while the Sentinel reconnects a dead one
    /// is not. What remains is decided by the node's own ROLE.
    pub(crate) fn excluded(&self, master: &Node) -> Option<Excluded> {
        if address::same(&self.node, master) == Some(true) {
            Some(Excluded::IsMaster)
        } else if self.flags.has(Flag::Promoted) {
            Some(Excluded::Promoted)
        } else if self.reports_master {
            Some(Excluded::ReportsMaster)
        } else if self.flags.has(Flag::SubjectivelyDown) {
            Some(Excluded::SubjectivelyDown)
        } else if let Some(follows) = self.master.as_ref().and_then(|node| stray(node, master)) {
            Some(follows)
        } else if self.link_ok == Some(false) {
            Some(Excluded::LinkDown {
                since: self.link_down_for,
            })
        } else {
            None
        }
    }
}

impl Peer {
    /// Whether the Sentinel that lists it has lately heard from it.
    pub(crate) fn is_alive(&self) -> bool {
        !self.flags.has(Flag::SubjectivelyDown)
    }
}

impl LinkState {
    /// The state in Redis's words, unless the link is as it should be.
    pub(crate) fn trouble(&self) -> Option<&str> {
        match self {
            Self::Connected => None,
            Self::Other(state) => Some(state),
        }
    }
}

fn stray(follows: &Node, master: &Node) -> Option<Excluded> {
    (address::same(follows, master) == Some(false)).then(|| Excluded::WrongMaster {
        follows: follows.to_string(),
    })
}

impl Malformed {
    fn new(command: &'static str, reason: String) -> Self {
        Self { command, reason }
    }
}

fn nodes<'a>(command: &'static str, reply: &'a Value) -> Result<&'a [Value], Malformed> {
    match plain(reply) {
        Value::Array(entries) if entries.len() <= MAX_NODES => Ok(entries),
        Value::Array(entries) => Err(Malformed::new(
            command,
            format!("{} nodes, more than {MAX_NODES}", entries.len()),
        )),
        other => Err(Malformed::new(command, unexpected(other))),
    }
}

/// One entry's fields: a flat list of names and values in RESP2, a map in RESP3.
enum Fields<'a> {
    Flat(&'a [Value]),
    Map(&'a [(Value, Value)]),
}

impl<'a> Fields<'a> {
    fn of(entry: &'a Value) -> Result<Self, String> {
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

    fn value(&self, name: &str) -> Option<&'a Value> {
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

    fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.value(name).and_then(text)
    }

    fn number(&self, name: &str) -> Option<u64> {
        self.value(name)
            .and_then(signed)
            .and_then(|number| number.try_into().ok())
    }

    fn millis(&self, name: &str) -> Option<Duration> {
        self.number(name).map(Duration::from_millis)
    }

    fn flags(&self) -> Option<Flags> {
        self.get("flags").map(Flags::parse)
    }

    fn node(&self) -> Result<Node, String> {
        let host_and_port = self.value("ip").zip(self.value("port"));
        host_and_port
            .and_then(|(host, port)| node(host, port))
            .ok_or_else(|| bad_address(self.get("ip"), self.get("port")))
    }

    /// Run ids and Sentinel ids are 40 hex digits; a node that has not been seen yet has an empty one.
    fn id(&self, name: &str) -> Option<String> {
        let id = self.get(name)?;
        let hex = id.len() == 40 && id.iter().all(u8::is_ascii_hexdigit);
        hex.then(|| String::from_utf8_lossy(id).into_owned())
    }
}

fn node(host: &Value, port: &Value) -> Option<Node> {
    match plain(port) {
        // ROLE gives the port as an integer, Sentinel as text.
        Value::Int(port) => {
            let port = u16::try_from(*port).ok().filter(|port| *port != 0)?;
            Some(Node::new(address::host(text(host)?)?, port))
        }
        port => address::node(text(host)?, text(port)?),
    }
}

/// RESP3 may wrap anything in attributes.
fn plain(mut value: &Value) -> &Value {
    while let Value::Attribute { data, .. } = value {
        value = data;
    }
    value
}

fn text(value: &Value) -> Option<&[u8]> {
    match plain(value) {
        Value::BulkString(text) => Some(text),
        Value::SimpleString(text) | Value::VerbatimString { text, .. } => Some(text.as_bytes()),
        _ => None,
    }
}

fn signed(value: &Value) -> Option<i64> {
    match plain(value) {
        Value::Int(number) => Some(*number),
        value => std::str::from_utf8(text(value)?).ok()?.parse().ok(),
    }
}

fn bad_address(host: Option<&[u8]>, port: Option<&[u8]>) -> String {
    let shown = |part: Option<&[u8]>| part.map_or_else(|| "nothing".into(), printable);
    format!(
        "unusable address, host {}, port {}",
        shown(host),
        shown(port)
    )
}

fn unexpected(value: &Value) -> String {
    match value {
        Value::ServerError(error) => {
            let details = error.details().unwrap_or_default();
            printable(format!("error {} {details}", error.code()).as_bytes())
        }
        Value::Nil => "nothing".into(),
        Value::Array(_) | Value::Set(_) | Value::Push { .. } => "an unexpected list".into(),
        Value::Map(_) => "an unexpected map".into(),
        _ => "a single value instead of a list".into(),
    }
}

#[cfg(test)]
#[path = "reply_tests.rs"]
mod tests;
