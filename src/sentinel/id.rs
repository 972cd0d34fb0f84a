//! Which Sentinel it is.

use std::{cmp::Ordering, fmt};

use crate::node::Node;

/// A Sentinel, identified by its own id at every address. Where its id is not known, its address
/// identifies it.
///
/// One address may lead to several Sentinels (a Kubernetes service, HAProxy), and one Sentinel may
/// have several addresses (a host name in the configuration, an IP address among the announced).
#[derive(Debug, Clone)]
pub(crate) struct SentinelId {
    id: Option<String>,
    address: Node,
}

impl SentinelId {
    pub(crate) fn new(id: Option<String>, address: Node) -> Self {
        Self { id, address }
    }

    /// What `SENTINEL MYID` answers, where it is known.
    pub(crate) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Where it was reached, or is announced to be.
    pub(crate) fn address(&self) -> &Node {
        &self.address
    }

    fn key(&self) -> (Option<&str>, Option<&Node>) {
        let address = self.id.is_none().then_some(&self.address);
        (self.id(), address)
    }
}

impl From<Node> for SentinelId {
    fn from(address: Node) -> Self {
        Self::new(None, address)
    }
}

impl PartialEq for SentinelId {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for SentinelId {}

impl PartialOrd for SentinelId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for SentinelId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

impl fmt::Display for SentinelId {
    /// Its address: it tells a reader more than forty hexadecimal digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

#[cfg(test)]
mod tests;
