//! Why a replica is not read from.

use std::{fmt, time::Duration};

/// Why a replica that Sentinel knows takes no reads.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Excluded {
    /// It is the current master.
    IsMaster,
    /// A failover is promoting it.
    Promoted,
    /// It says of itself that it is a master.
    ReportsMaster,
    /// It gave Sentinel no valid answer for `down-after-milliseconds`.
    SubjectivelyDown,
    /// Its link to its master is down.
    #[non_exhaustive]
    LinkDown {
        /// For how long, where Sentinel knows.
        since: Option<Duration>,
    },
    /// It follows another master than the current one.
    #[non_exhaustive]
    WrongMaster {
        /// The address of the master it follows.
        follows: String,
    },
    /// It is copying its master's data or has not begun to.
    #[non_exhaustive]
    Syncing {
        /// The state of its link to the master, in Redis's words.
        state: String,
    },
    /// It has a link to its master, and has yet to apply the data that the master had when the link
    /// came up.
    ///
    /// Redis 8 and Valkey 8 serve their old data while they take over a large data set.
    CatchingUp,
    /// It missed a deadline, and has not answered since.
    ///
    /// It is asked for its role at once and is read from again as soon as it answers.
    #[non_exhaustive]
    Silent {
        /// How long it had to answer.
        within: Duration,
    },
    /// No connection to it could be made, or it did not answer as a data node does.
    #[non_exhaustive]
    Unreachable {
        /// What happened instead.
        error: String,
    },
    /// It has not yet been asked for its role.
    NotProven,
}

impl Excluded {
    /// Its name in lower snake case, without the details: `link_down`, `silent`, …
    ///
    /// Names are stable: a minor release adds names for new reasons and changes none. For a metric's
    /// label or a log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::IsMaster => "is_master",
            Self::Promoted => "promoted",
            Self::ReportsMaster => "reports_master",
            Self::SubjectivelyDown => "subjectively_down",
            Self::LinkDown { .. } => "link_down",
            Self::WrongMaster { .. } => "wrong_master",
            Self::Syncing { .. } => "syncing",
            Self::CatchingUp => "catching_up",
            Self::Silent { .. } => "silent",
            Self::Unreachable { .. } => "unreachable",
            Self::NotProven => "not_proven",
        }
    }

    /// Whether it is likely to end by itself, so that the next refresh should come soon.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Promoted
                | Self::ReportsMaster
                | Self::LinkDown { .. }
                | Self::WrongMaster { .. }
                | Self::Syncing { .. }
                | Self::CatchingUp
                | Self::NotProven
        )
    }
}

impl fmt::Display for Excluded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::IsMaster => f.write_str("is the master"),
            Self::Promoted => f.write_str("is being promoted"),
            Self::ReportsMaster => f.write_str("reports the role master"),
            Self::SubjectivelyDown => f.write_str("is down according to sentinel"),
            Self::LinkDown { since: None } => f.write_str("has lost its master"),
            Self::LinkDown { since: Some(since) } => {
                write!(f, "has lost its master for {since:?}")
            }
            Self::WrongMaster { follows } => write!(f, "follows another master, {follows}"),
            Self::Syncing { state } => write!(f, "is not in sync with its master: {state}"),
            Self::CatchingUp => f.write_str("has yet to apply what its master had before"),
            Self::Silent { within } => write!(f, "did not answer within {within:?}"),
            Self::Unreachable { error } => write!(f, "is unreachable: {error}"),
            Self::NotProven => f.write_str("has not yet proved its role"),
        }
    }
}

/// `{"reason": "silent", "text": "did not answer within 2s"}`: its name, and what a reader is told.
#[cfg(feature = "serde")]
impl serde::Serialize for Excluded {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct;

        let mut excluded = to.serialize_struct("Excluded", 2)?;
        excluded.serialize_field("reason", self.as_str())?;
        excluded.serialize_field("text", &self.to_string())?;
        excluded.end()
    }
}

#[cfg(test)]
mod tests;
