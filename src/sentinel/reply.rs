//! The replies of Sentinels, parsed without trusting them.
//!
//! A Sentinel may be old, misconfigured or of another deployment. So nothing here panics, allocates
//! by a number in the reply, or passes on an impossible address. If the master is unusable, the
//! whole answer is malformed: half an answer would be worse than what is known already. An unusable
//! replica is left out and counted.

use std::time::Duration;

use redis::Value;

use crate::{
    node::{Node, announced},
    sentinel::flags::{Flag, Flags},
    topology::excluded::Excluded,
    wire::value::{Fields, Malformed, bad_address, node, plain, text, unexpected},
};

/// The flag that a master has on the Sentinel that replaces it.
pub(crate) const FAILOVER_IN_PROGRESS: &str = "failover_in_progress";

/// More nodes than any deployment has; a reply that names more is refused.
const MAX_NODES: usize = 1024;

/// What a Sentinel says of the master.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MasterInfo {
    /// As listed. On the Sentinel that leads a failover this is the old master until all replicas are
    /// repointed, although the epoch is new already. Take the address from [`master_addr`].
    pub(crate) node: Node,
    pub(crate) epoch: u64,
    pub(crate) flags: Flags,
    /// `None` until the Sentinel has seen the node's first INFO.
    pub(crate) run_id: Option<String>,
    /// Whether it has seen an INFO since it was started or reset.
    pub(crate) informed: bool,
}

#[derive(Debug, PartialEq, Eq, Default)]
pub(crate) struct Replicas {
    pub(crate) entries: Vec<ReplicaInfo>,
    /// How many entries were unusable. So an empty list does not always mean that there are no
    /// replicas.
    pub(crate) dropped: usize,
}

/// What a Sentinel says of a replica, up to ten seconds old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ReplicaInfo {
    pub(crate) node: Node,
    pub(crate) flags: Flags,
    /// Whether its link to its master is up; `None` before the first INFO, where Sentinel prints
    /// `err`.
    pub(crate) link_ok: Option<bool>,
    pub(crate) link_down_for: Option<Duration>,
    /// The master that it follows; `None` before the first INFO.
    pub(crate) master: Option<Node>,
    pub(crate) reports_master: bool,
    pub(crate) run_id: Option<String>,
}

/// Another Sentinel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) node: Node,
    pub(crate) id: Option<String>,
    pub(crate) flags: Flags,
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
        run_id: fields.id("runid"),
        informed: info_refresh(&fields).is_some(),
    })
}

/// The age of the last INFO that the Sentinel had from the node; `None` before the first one.
fn info_refresh(fields: &Fields<'_>) -> Option<Duration> {
    fields.millis("info-refresh").filter(|age| {
        // 0 is "never" since 6.2; before, it was the whole time since 1970.
        !age.is_zero() && *age < Duration::from_secs(10 * 365 * 86_400)
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
    let informed = info_refresh(&fields).is_some();
    let link = fields.get("master-link-status").filter(|_| informed);
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
            .and_then(|(host, port)| announced::node(host, port)),
        reports_master: fields.get("role-reported") == Some(b"master"),
        run_id: fields.id("runid"),
    })
}

/// `SENTINEL SENTINELS`: the others that the answering one knows. Unusable entries are left out;
/// the configured Sentinels do not depend on them.
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

impl MasterInfo {
    /// Whether this Sentinel itself gets no valid answer from the master.
    pub(crate) fn is_down(&self) -> bool {
        self.flags.has(Flag::SubjectivelyDown)
    }

    /// The flag that says that this master is being replaced, or is about to be.
    pub(crate) fn failover_flag(&self) -> Option<&'static str> {
        if self.flags.has(Flag::FailoverInProgress) {
            Some(FAILOVER_IN_PROGRESS)
        } else if self.flags.has(Flag::ObjectivelyDown) {
            Some("o_down")
        } else {
            None
        }
    }

    /// Whether it is being replaced by a failover in which it stops taking writes itself.
    pub(crate) fn is_coordinated(&self) -> bool {
        self.flags.has(Flag::FailoverInProgress) && self.flags.has(Flag::CoordinatedFailover)
    }
}

impl ReplicaInfo {
    /// The reason that Sentinel gives not to read from this replica, if any.
    ///
    /// The flag `disconnected` is no reason: right after a switch every replica has it, and a dead
    /// one does not have it while the Sentinel reconnects. Everything else is decided by the node's
    /// own ROLE.
    pub(crate) fn excluded(&self, master: &Node) -> Option<Excluded> {
        if announced::same(&self.node, master) == Some(true) {
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
    /// Whether the Sentinel that lists it gets answers from it.
    pub(crate) fn is_alive(&self) -> bool {
        !self.flags.has(Flag::SubjectivelyDown)
    }
}

fn stray(follows: &Node, master: &Node) -> Option<Excluded> {
    (announced::same(follows, master) == Some(false)).then(|| Excluded::WrongMaster {
        follows: follows.to_string(),
    })
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

impl Fields<'_> {
    fn flags(&self) -> Option<Flags> {
        self.get("flags").map(Flags::parse)
    }
}

#[cfg(test)]
mod tests;
