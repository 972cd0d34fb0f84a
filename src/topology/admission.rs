//! What may be done on a connection.

/// What may be done on a connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    Open,
    /// Its node is the master and is being replaced: nothing is written to it until that is decided.
    Fenced,
    /// Its node is not what the pool wants any more.
    Revoked,
}
