//! Why connections are closed.

use std::fmt;

/// Why the pool closed a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// It was idle for longer than `idle_timeout`.
    Idle,
    /// It was open for longer than `max_lifetime`.
    Lifetime,
    /// It was returned while `max_idle` connections were idle already.
    MaxIdle,
    /// More were open than were ever in use at once during `idle_timeout`.
    Surplus,
    /// Its replica had more connections than its share, or is not preferred
    /// ([`Config::prefer`](crate::Config::prefer)) while one that is can be read from again.
    Rebalance,
    /// Its node is no longer the master.
    RoleChanged,
    /// Its node is no longer one from which the pool reads.
    NodeGone,
    /// The server closed it, it timed out, or it broke the protocol.
    Broken,
    /// A command on it, or its test, was cancelled before the whole reply was read.
    Cancelled,
    /// The caller left it in a state no other caller must see: MULTI, WATCH, SELECT, CLIENT TRACKING, …
    Dirty,
    /// It failed the PING that `test_idle_after` asks for.
    TestFailed,
    /// It was made with older credentials than its node has accepted since. See
    /// [`CredentialsSource`](crate::CredentialsSource).
    Credentials,
    /// The pool was closed.
    PoolClosed,
    /// It was made with certificates that have been replaced since, by a reload, and its server has
    /// accepted the new ones.
    Certificates,
}

impl Discard {
    /// Every reason, in the order in which [`Discards`] counts them.
    pub const ALL: &'static [Self] = &[
        Self::Idle,
        Self::Lifetime,
        Self::MaxIdle,
        Self::Surplus,
        Self::Rebalance,
        Self::RoleChanged,
        Self::NodeGone,
        Self::Broken,
        Self::Cancelled,
        Self::Dirty,
        Self::TestFailed,
        Self::Credentials,
        Self::PoolClosed,
        Self::Certificates,
    ];

    /// Its name in lower snake case, for a metric's label or a log: `idle`, `lifetime`, …
    ///
    /// Names are stable: a minor release adds names for new reasons and changes none.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::Lifetime => "lifetime",
            Self::MaxIdle => "max_idle",
            Self::Surplus => "surplus",
            Self::Rebalance => "rebalance",
            Self::RoleChanged => "role_changed",
            Self::NodeGone => "node_gone",
            Self::Broken => "broken",
            Self::Cancelled => "cancelled",
            Self::Dirty => "dirty",
            Self::TestFailed => "test_failed",
            Self::Credentials => "credentials",
            Self::PoolClosed => "pool_closed",
            Self::Certificates => "certificates",
        }
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many connections were closed, by reason.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Discards(pub(crate) [u64; Discard::ALL.len()]);

impl Discards {
    /// How many were closed for this reason.
    pub fn get(&self, reason: Discard) -> u64 {
        self.0[reason as usize]
    }

    pub(crate) fn add(&mut self, reason: Discard) {
        self.0[reason as usize] += 1;
    }

    /// How many were closed for any reason.
    pub fn total(&self) -> u64 {
        self.0.iter().sum()
    }

    /// Every reason with its count, also those that are zero.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> {
        Discard::ALL.iter().copied().zip(self.0)
    }
}

impl fmt::Debug for Discards {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().filter(|(_, count)| *count > 0))
            .finish()
    }
}

/// By its name, see [`as_str`](Self::as_str).
#[cfg(feature = "serde")]
impl serde::Serialize for Discard {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// A map with every reason, also those that are zero.
#[cfg(feature = "serde")]
impl serde::Serialize for Discards {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}
