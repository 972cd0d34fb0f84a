//! Whether a connection may be written to.

/// Whether a connection may be written to now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    /// It belongs to the write pool, and the master may be about to be replaced: nothing is written
    /// to it until that is decided.
    Fenced,
    /// Its node is gone or has another role now: the connection must be replaced.
    Revoked,
}
