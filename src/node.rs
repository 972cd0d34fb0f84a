//! A Redis server's address and the role it plays.

pub(crate) mod announced;

use std::{fmt, sync::Arc};

/// The role of a data node, in Sentinel's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(
    clippy::exhaustive_enums,
    reason = "Redis replication knows two roles and a match on both should stay complete"
)]
pub enum Role {
    /// Takes writes; there is one at a time.
    Master,
    /// Follows a master and serves reads.
    Replica,
}

impl Role {
    /// `master` or `replica`, for a metric's label or a log. These names are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Master => "master",
            Self::Replica => "replica",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The address of one server: a host and a port, or the path of a Unix socket.
///
/// Two nodes are equal when host and port are equal as written. A host name is kept as a name and
/// resolved again for every new connection, so a node whose IP address changes stays the same node.
///
/// ```
/// use redis_rw_pool::Node;
///
/// assert_eq!(Node::new("10.0.0.7", 6379).to_string(), "10.0.0.7:6379");
/// assert_eq!(Node::new("::1", 6379).to_string(), "[::1]:6379");
/// assert_eq!(Node::unix("/run/redis.sock").to_string(), "/run/redis.sock");
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node {
    host: Arc<str>,
    port: u16,
}

impl Node {
    /// A node reached over TCP. `host` is a name or an IP address, IPv6 without brackets.
    pub fn new(host: impl AsRef<str>, port: u16) -> Self {
        Self {
            host: host.as_ref().into(),
            port,
        }
    }

    /// A node reached over a Unix socket at this absolute path.
    ///
    /// Sentinels announce TCP addresses only; use this as the target of an
    /// [`AddressMap`](crate::AddressMap). [`Config::nodes`](crate::Config::nodes) takes such a path as
    /// it is.
    pub fn unix(path: impl AsRef<str>) -> Self {
        Self::new(path, 0)
    }

    /// The host name or IP address, or the path of a Unix socket.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The TCP port; 0 for a Unix socket.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether this is the path of a Unix socket.
    pub fn is_unix(&self) -> bool {
        self.host.starts_with('/')
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_unix() {
            f.write_str(&self.host)
        } else if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// By its name, see [`as_str`](Self::as_str).
#[cfg(feature = "serde")]
impl serde::Serialize for Role {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// As text: `10.0.0.7:6379`.
#[cfg(feature = "serde")]
impl serde::Serialize for Node {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}
