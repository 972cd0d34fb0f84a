//! What a connection can be left in that the next caller must not inherit.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dirt {
    /// `MULTI` without a proven `EXEC` or `DISCARD`.
    Transaction,
    /// `WATCH` without a proven `EXEC`, `DISCARD` or `UNWATCH`.
    Watch,
    /// A database other than the one the handshake selected, or an unknown one.
    Database,
    /// `CLIENT REPLY OFF` or `SKIP`.
    ReplyMode,
    /// Another user, protocol or name than the handshake's.
    Identity,
    /// `CLIENT TRACKING` or `CACHING`.
    Tracking,
    /// A switch for this connection such as `READONLY`, `ASKING`, `CLIENT NO-EVICT` or `SCRIPT DEBUG`.
    Mode,
    /// The connection speaks the replication protocol, or its node was told to change its role.
    Replication,
    /// `QUIT` or `SHUTDOWN`: the server is about to close the socket.
    Closing,
}

impl Dirt {
    pub(super) const fn bit(self) -> u16 {
        1 << self as u16
    }
}
