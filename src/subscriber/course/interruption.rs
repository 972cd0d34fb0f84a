//! Since when messages may be missing, and why.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    node::Node,
    subscriber::notice::{Gap, GapCause, Refusal},
};

/// How a connection was lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lost {
    /// It was closed, or cannot be used any more.
    Closed(String),
    /// Its server owed a reply for this long.
    Silent(Duration),
}

/// From its beginning on messages may be missing, until another connection serves.
#[derive(Debug)]
pub(super) struct Interruption {
    pub(super) since: Instant,
    /// What happened first.
    why: GapCause,
    from: Node,
    /// The connection was lost while the master was being replaced.
    fenced: bool,
}

impl Interruption {
    pub(super) fn new(since: Instant, why: GapCause, from: Node, fenced: bool) -> Self {
        Self {
            since,
            why,
            from,
            fenced,
        }
    }

    /// It is over: another connection serves. `since` is where it reaches further back.
    pub(super) fn gap(
        self,
        to: Node,
        since: Option<Instant>,
        refused: Vec<Refusal>,
        now: Instant,
    ) -> Gap {
        // The old master may close its connections before the new one is known.
        let by_failover = self.fenced && to != self.from;
        let since = since.map_or(self.since, |since| since.min(self.since));
        Gap {
            from: Some(self.from),
            to,
            since: now.saturating_duration_since(since),
            why: if by_failover {
                GapCause::MasterChanged
            } else {
                self.why
            },
            refused,
        }
    }
}
