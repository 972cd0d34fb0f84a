//! How a command fails on its connection, and what is then known about it.

use std::{error::Error, fmt, io, sync::Arc, time::Duration};

use redis::RedisError;

use crate::node::{Node, Role};

/// A failure of the connection, as opposed to an error reply of the server.
///
/// [`RedisError`] carries it as the payload of an [`io::Error`]. A caller may send the command again only
/// if the server cannot have executed it, so every text says whether it can.
#[derive(Debug, thiserror::Error)]
#[error("{peer} {node}: {cause}{fate}")]
pub(crate) struct Failure {
    pub(crate) peer: Peer,
    pub(crate) node: Node,
    pub(crate) cause: Cause,
    pub(crate) fate: Fate,
}

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    Node(Role),
    Sentinel,
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(role) => role.fmt(f),
            Self::Sentinel => f.write_str("Sentinel"),
        }
    }
}

/// What became of the command that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// No byte of it was written.
    NotExecuted,
    /// The server may have executed it.
    Unknown,
    /// It was a command of the pool's own; no caller knows of it.
    Own,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotExecuted => "; the command was not executed",
            Self::Unknown => "; the outcome is unknown",
            Self::Own => "",
        })
    }
}

/// What is left until a deadline has nine digits, which tell nobody anything.
fn to_the_millisecond(time: Duration) -> Duration {
    let millis = time.saturating_add(Duration::from_micros(500)).as_millis();
    match u64::try_from(millis) {
        Ok(millis @ 1..) => Duration::from_millis(millis),
        _ => time,
    }
}

/// Why a command failed on the connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Cause {
    #[error("no complete reply within {:?}", to_the_millisecond(*.0))]
    Timeout(Duration),
    #[error("the server closed the connection")]
    Closed,
    #[error("{0}")]
    Io(String, io::ErrorKind),
    /// The server or we want another encryption; the text says what to do.
    #[error("{0}")]
    #[cfg_attr(
        not(feature = "tls"),
        allow(dead_code, reason = "a build without TLS meets none")
    )]
    Tls(String),
    /// On a new connection, with what that may mean.
    #[error("the server closed the connection before it had said anything: {0}")]
    ClosedAtOnce(&'static str, io::ErrorKind),
    #[error("{0}")]
    Protocol(String),
    #[error("an earlier command on this connection was cancelled or failed; take a new connection")]
    Unusable,
    #[error("the master moved{}", .0.as_ref().map_or_else(String::new, |to| format!(" to {to}")))]
    Superseded(Option<Node>),
    #[error("the command continues from a reply of {0}; the connection now goes to another node")]
    Elsewhere(Node),
    #[error("the command is about earlier writes over a connection that was lost")]
    Severed,
    #[error("the master is being replaced ({0}), and no other was there within {1:?}")]
    Fenced(String, Duration),
    #[error("the node left the pool while the command was being written")]
    Withdrawn,
    #[error("other clients changed the watched keys each of {0} times; try again later")]
    Contended(u32),
    #[error("the tokio runtime that the pool was connected on has ended")]
    RuntimeEnded,
}

/// The error of a pipeline whose first part was executed and whose rest failed.
#[derive(Debug, thiserror::Error)]
#[error("a part of the pipeline was executed; this is known of the rest: {0}")]
struct Partly(RedisError);

/// The error of a pipeline whose first part was executed and whose rest failed.
pub(crate) fn partly(rest: RedisError) -> RedisError {
    io::Error::other(Partly(rest)).into()
}

/// Why the rest of a pipeline failed whose first part was executed; `None` for any other error.
pub(crate) fn rest_of_part(error: &RedisError) -> Option<&RedisError> {
    carried::<Partly>(error).map(|partly| &partly.0)
}

impl Cause {
    pub(crate) fn unasked() -> Self {
        Self::Protocol("the server sent a reply that no command asked for".to_owned())
    }

    /// Whether the peer closed the connection. What it sent last may then say why.
    pub(crate) fn is_hangup(&self) -> bool {
        match self {
            Self::Closed => true,
            Self::Io(_, kind) => is_hangup(*kind),
            Self::ClosedAtOnce(..) => true,
            _ => false,
        }
    }
}

/// Whether an I/O error says that the peer has closed the connection.
pub(crate) fn is_hangup(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset)
}

/// Why a server and we do not agree on the encryption: it would be the same again, until somebody
/// changes a certificate or a setting.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TlsRefusal(pub(crate) String);

/// Whether a server and we do not agree on the encryption.
pub(crate) fn is_tls_refusal(error: &RedisError) -> bool {
    carried::<TlsRefusal>(error).is_some()
        || Failure::of(error).is_some_and(|failure| matches!(failure.cause, Cause::Tls(_)))
}

impl Failure {
    /// The failure that an error of one of our connections carries; `None` for any other error.
    pub(crate) fn of(error: &RedisError) -> Option<&Self> {
        carried(error)
    }
}

/// This crate's own error, which the redis crate carries as the payload of an I/O error.
pub(crate) fn carried<T: Error + 'static>(error: &RedisError) -> Option<&T> {
    Payload::of(error.source()?)?.get()
}

/// The I/O error inside of a [`RedisError`].
pub(crate) struct Payload<'a>(&'a io::Error);

impl<'a> Payload<'a> {
    /// From the source of a [`RedisError`].
    pub(crate) fn of(source: &'a (dyn Error + 'static)) -> Option<Self> {
        let shared = source.downcast_ref::<Arc<dyn Error + Send + Sync>>()?;
        shared.downcast_ref().map(Self)
    }

    pub(crate) fn get<T: Error + 'static>(&self) -> Option<&'a T> {
        self.0.get_ref()?.downcast_ref()
    }
}

impl From<Failure> for RedisError {
    fn from(failure: Failure) -> Self {
        let kind = match &failure.cause {
            Cause::Timeout(_) | Cause::Fenced(..) => io::ErrorKind::TimedOut,
            Cause::Closed => io::ErrorKind::UnexpectedEof,
            Cause::Io(_, kind) | Cause::ClosedAtOnce(_, kind) => *kind,
            Cause::Protocol(_) | Cause::Tls(_) => io::ErrorKind::InvalidData,
            Cause::Unusable | Cause::Severed | Cause::RuntimeEnded => io::ErrorKind::NotConnected,
            Cause::Contended(_) => io::ErrorKind::ResourceBusy,
            Cause::Superseded(_) | Cause::Elsewhere(_) | Cause::Withdrawn => {
                io::ErrorKind::ConnectionAborted
            }
        };
        io::Error::new(kind, failure).into()
    }
}
