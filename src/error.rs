//! What can go wrong, in words that tell the reader what to do.

pub(crate) mod code;
pub(crate) mod failure;
pub(crate) mod label;
pub(crate) mod outcome;
pub(crate) mod reply_class;

use std::{fmt, io, sync::Arc, time::Duration};

use redis::RedisError;

use crate::{
    config::ConfigError,
    error::{code::Setup, failure::Failure},
    node::{Node, Role},
    position::token::Token,
};

/// Why a pool could not be connected or could not lend a connection, or why a read is not fresh.
///
/// Commands on a lent connection fail with [`redis::RedisError`], as everywhere in the redis crate;
/// an [`Error`] converts into one, so a function that returns [`redis::RedisResult`] can use `?` on
/// both.
///
/// Texts name the role, the node, the limit and the reason, never a secret.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration contradicts itself or names something impossible.
    #[error(transparent)]
    Config(#[from] ConfigError),

    /// No Sentinel answered, or every one of them refused.
    #[error("no Sentinel of {master_name:?} {}: {reports}", no_sentinel(*refused))]
    #[non_exhaustive]
    NoSentinel {
        /// The master name that was asked for.
        master_name: String,
        /// Whether every one of them was reached and refused us: our credentials, or our questions.
        refused: bool,
        /// What each Sentinel said, or why it could not be asked.
        reports: Reports,
    },

    /// Sentinels answered, and none of them monitors this master name.
    #[error("no Sentinel monitors a master named {master_name:?}, check the name: {reports}")]
    #[non_exhaustive]
    UnknownMaster {
        /// The master name that was asked for.
        master_name: String,
        /// What each Sentinel said.
        reports: Reports,
    },

    /// No node proved in time to be the master that the Sentinels name, or one of the configured nodes
    /// to be a master; or the master could not be reached.
    #[error("no node proved to be the master{} within {waited:?}: {reports}", of(.master_name))]
    #[non_exhaustive]
    NoMaster {
        /// The master name that was asked for; empty where there are no Sentinels.
        master_name: String,
        /// How long the call waited for a master to exist.
        waited: Duration,
        /// What the Sentinels and the nodes themselves said.
        reports: Reports,
    },

    /// The read policy allows replicas only, and none is readable.
    #[error("no replica is readable: {reports}")]
    #[non_exhaustive]
    NoReplica {
        /// Every known replica and why it is left out.
        reports: Reports,
    },

    /// A node could not be connected to, or refused the handshake.
    #[error("cannot connect to the {role} at {node}: {}", reason(.source))]
    #[non_exhaustive]
    Connect {
        /// The role the node should have had.
        role: Role,
        /// The node's address as the Sentinels announce it, or as it was configured.
        node: Node,
        /// What the node, or the operating system, said.
        source: RedisError,
    },

    /// Every connection is in use, and the pool was told not to wait.
    #[error(
        "all {max_active} {pool} connections are taken ({open} open, {in_use} in use) and wait_timeout is zero{dials}"
    )]
    #[non_exhaustive]
    Exhausted {
        /// Which pool.
        pool: PoolName,
        /// The limit.
        max_active: usize,
        /// How many connections were open.
        open: usize,
        /// How many of them were lent.
        in_use: usize,
        /// What the pool's dials were doing.
        dials: DialState,
    },

    /// No connection came free within `wait_timeout`.
    #[error(
        "no {pool} connection came free within {waited:?}: {open} of {max_active} open, {in_use} in use, {waiting} still waiting{dials}"
    )]
    #[non_exhaustive]
    WaitTimeout {
        /// Which pool.
        pool: PoolName,
        /// How long the call waited.
        waited: Duration,
        /// The limit.
        max_active: usize,
        /// How many connections were open.
        open: usize,
        /// How many of them were lent.
        in_use: usize,
        /// How many other callers were waiting.
        waiting: usize,
        /// What the pool's dials were doing.
        dials: DialState,
    },

    /// A read was to see a certain write, and no node that it may go to had it in time. Nothing was
    /// returned.
    ///
    /// Only for reads that ask for it; [`FreshnessLimits`](crate::FreshnessLimits) has the times, and what
    /// happens instead.
    #[error("no node had what the read was to see ({wanted}) within {waited:?}: {reports}")]
    #[non_exhaustive]
    Stale {
        /// What the read was to see.
        wanted: Token,
        /// How long the call waited for it.
        waited: Duration,
        /// How far each node had got that was asked.
        reports: Reports,
    },

    /// A read was to see a certain write, and a failover or a restart of the master lost the write.
    ///
    /// Only with [`OnLost::Fail`](crate::OnLost::Fail), and from [`Pool::confirm`](crate::Pool::confirm).
    #[error(
        "a failover lost the write that was to be seen ({token}); read without its token to see what is left"
    )]
    #[non_exhaustive]
    Lost {
        /// What was to be seen.
        token: Token,
    },

    /// A node does not let our user ask how far its data goes, so nothing about a read can be proven there.
    ///
    /// Only for calls that ask for freshness.
    #[error(
        "the {role} at {node} does not let our user ask for its position: grant `+info`, or read without freshness: {}", reason(.source)
    )]
    #[non_exhaustive]
    PositionRefused {
        /// The role of the node.
        role: Role,
        /// The node's address as the Sentinels announce it, or as it was configured.
        node: Node,
        /// What the node said.
        source: RedisError,
    },

    /// Fewer replicas than wanted confirmed in time that they have a write. The write itself was executed.
    #[error(
        "the write was executed, but only {have} of {wanted} replicas had it within {waited:?}: {reports}"
    )]
    #[non_exhaustive]
    TooFewCopies {
        /// How many replicas have it.
        have: usize,
        /// How many were to have it.
        wanted: usize,
        /// How long the call waited for them.
        waited: Duration,
        /// How far each replica had got.
        reports: Reports,
    },

    /// No server confirmed a subscription in time. It stays wanted: it is made as soon as a server takes
    /// it.
    ///
    /// Only from a [`Subscriber`](crate::Subscriber).
    #[error(
        "no server confirmed the subscription within {waited:?}, it is made as soon as one does: {reports}"
    )]
    #[non_exhaustive]
    NotSubscribed {
        /// How long the call waited.
        waited: Duration,
        /// What kept the nodes from it.
        reports: Reports,
    },

    /// [`Pool::close`](crate::Pool::close) was called.
    #[error("the pool is closed")]
    Closed,

    /// The tokio runtime that the pool lives on has ended, and its connections with it.
    ///
    /// A pool lives on the runtime that [`Pool::connect`](crate::Pool::connect) was called on.
    #[error(
        "the tokio runtime that the pool was connected on has ended; connect the pool on a runtime that lives as long as the pool is used"
    )]
    RuntimeEnded,
}

impl Error {
    /// The pool's own error inside of the error of a command.
    ///
    /// A command over a [`Multiplexed`](crate::Multiplexed) handle fails with a [`RedisError`] also where
    /// the pool had no connection for it; and `?` turns an [`Error`] into a [`RedisError`]. This gives
    /// the [`Error`] back, so that an alert can tell a pool that is too small from a failover. It is
    /// `None` for a command that failed on its connection, for an error reply, and for a server that
    /// refused our user (`WRONGPASS`, `NOAUTH`, `NOPERM`), whose reply stands for itself.
    ///
    /// ```
    /// use redis_rw_pool::{Error, redis::RedisError};
    ///
    /// fn label(error: &RedisError) -> &'static str {
    ///     match Error::of(error) {
    ///         Some(Error::WaitTimeout { .. } | Error::Exhausted { .. }) => "pool too small",
    ///         Some(Error::NoMaster { .. }) => "no master",
    ///         Some(_) => "pool",
    ///         None => "command",
    ///     }
    /// }
    ///
    /// assert_eq!(label(&RedisError::from(Error::Closed)), "pool");
    /// ```
    pub fn of(error: &RedisError) -> Option<&Self> {
        failure::carried(error)
    }

    /// Whether the call ran out of time: a wait for a connection, a dial, a wait for a master, or for a
    /// replica that is behind.
    pub fn is_timeout(&self) -> bool {
        match self {
            Self::WaitTimeout { .. }
            | Self::NoMaster { .. }
            | Self::Stale { .. }
            | Self::TooFewCopies { .. }
            | Self::NotSubscribed { .. } => true,
            Self::Connect { source, .. } => source.is_timeout(),
            _ => false,
        }
    }

    /// Whether the pool was closed.
    pub fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }

    /// Whether the same call may succeed later without anybody changing the configuration.
    ///
    /// False for a bad configuration, a closed pool, one whose runtime has ended, an unknown master
    /// name, a write that was lost, a missing permission, where every Sentinel refuses us, and where a node
    /// refuses the credentials, the database or, in protected mode, everybody. Also false where a node and
    /// the pool do not accept each other's certificates, which only
    /// [`Pool::connect`](crate::Pool::connect) fails with: a pool that runs waits for others, and what runs
    /// out then is time.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Config(_)
            | Self::UnknownMaster { .. }
            | Self::Lost { .. }
            | Self::PositionRefused { .. }
            | Self::Closed
            | Self::RuntimeEnded => false,
            Self::NoSentinel { refused, .. } => !refused,
            Self::Connect { source, .. } => !is_refusal(source),
            _ => true,
        }
    }
}

fn of(master_name: &str) -> String {
    if master_name.is_empty() {
        String::new()
    } else {
        format!(" of {master_name:?}")
    }
}

fn no_sentinel(refused: bool) -> &'static str {
    if refused {
        "lets us in, check the credentials and permissions of the Sentinel user"
    } else {
        "could be reached"
    }
}

/// Whether the server understood a command of ours and refused it, so that the next try would only
/// repeat the refusal.
pub(crate) fn is_refusal(error: &RedisError) -> bool {
    use redis::ErrorKind::{AuthenticationFailed, InvalidClientConfig};
    matches!(error.kind(), AuthenticationFailed | InvalidClientConfig)
        || failure::is_tls_refusal(error)
        || error.code().is_some_and(|code| {
            code::setup(code, error.detail().unwrap_or_default()) != Setup::MayPass
        })
}

#[cfg(feature = "tls")]
impl From<crate::config::tls::TlsError> for Error {
    fn from(error: crate::config::tls::TlsError) -> Self {
        Self::Config(error.into())
    }
}

/// What went wrong, for a text that names the node already.
pub(crate) fn reason(error: &RedisError) -> String {
    if let Some(failure) = Failure::of(error) {
        return failure.cause.to_string();
    }
    // The redis crate writes the name of its kind between a text and its detail.
    let kind = format!(" - {:?}: ", error.kind());
    error.to_string().replacen(&kind, ": ", 1)
}

impl From<Error> for RedisError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            // The server's own error, where a command would get the same one.
            Error::Connect { source, .. }
                if matches!(source.code(), Some("WRONGPASS" | "NOAUTH" | "NOPERM")) =>
            {
                return source.clone();
            }
            Error::Connect { source, .. } if is_refusal(source) => io::ErrorKind::PermissionDenied,
            Error::PositionRefused { .. } => io::ErrorKind::PermissionDenied,
            Error::Config(_) => io::ErrorKind::InvalidInput,
            // The connections are well.
            Error::Lost { .. } => io::ErrorKind::Other,
            error if error.is_timeout() => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::NotConnected,
        };
        io::Error::new(kind, error).into()
    }
}

/// One of the two pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "the crate is about exactly two pools"
)]
pub enum PoolName {
    /// The pool of connections to the master.
    Write,
    /// The pool of connections for reads.
    Read,
}

impl PoolName {
    /// `write` or `read`, for a metric's label or a log. These names are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
        }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What Sentinels and nodes said, one entry each: `127.0.0.1:26379: connection refused`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reports(pub(crate) Arc<[(String, String)]>);

impl Reports {
    /// Pairs: the address of a Sentinel or node, and what it said.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(who, what)| (who.as_str(), what.as_str()))
    }
}

impl FromIterator<(String, String)> for Reports {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(reports: I) -> Self {
        Self(reports.into_iter().collect())
    }
}

impl fmt::Display for Reports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody said anything");
        }
        for (i, (who, what)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{who}: {what}")?;
        }
        Ok(())
    }
}

/// What a pool's dials are doing, while a caller waits for a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DialState {
    /// No dial is under way: the connections are in use.
    Idle,
    /// This many connections are being dialled.
    Dialing(usize),
    /// Connections are being dialled, and the last dial failed for this reason.
    Failing(String),
}

impl fmt::Display for DialState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Idle => Ok(()),
            Self::Dialing(dials) => write!(f, "; {dials} being dialled"),
            Self::Failing(reason) => write!(f, "; the last dial failed: {reason}"),
        }
    }
}

/// By its name, see [`as_str`](Self::as_str).
#[cfg(feature = "serde")]
impl serde::Serialize for PoolName {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// A list of `{"from": "127.0.0.1:26379", "text": "connection refused"}`.
#[cfg(feature = "serde")]
impl serde::Serialize for Reports {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Report<'a> {
            from: &'a str,
            text: &'a str,
        }
        to.collect_seq(self.iter().map(|(from, text)| Report { from, text }))
    }
}

#[cfg(test)]
mod tests;
