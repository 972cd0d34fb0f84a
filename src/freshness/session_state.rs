//! What became of the writes of a session.

/// What became of the writes that the reads of a session are to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SessionState {
    /// Nothing is known to be missing: the session's reads have seen its writes.
    #[default]
    Consistent,
    /// A failover, or a restart of the master, lost the last write of the session or one that was executed
    /// in the same moment. Reads see what is left.
    WriteLost,
    /// The session went on with a token whose history nobody here knows: it is from before two failovers, of
    /// another deployment, of a session with a write of unknown outcome, or forged. Or it wrote before two
    /// failovers and read nothing in between. Reads see everything that the master had when it was asked, which
    /// includes all that has survived.
    Unknown,
}

impl SessionState {
    /// Its name in lower snake case, for a metric's label or a log: `consistent`, `write_lost` or
    /// `unknown`. These names are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Consistent => "consistent",
            Self::WriteLost => "write_lost",
            Self::Unknown => "unknown",
        }
    }

    /// Both. What is known to be lost stays lost.
    pub(crate) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::WriteLost, _) | (_, Self::WriteLost) => Self::WriteLost,
            (Self::Unknown, _) | (_, Self::Unknown) => Self::Unknown,
            (Self::Consistent, Self::Consistent) => Self::Consistent,
        }
    }
}
