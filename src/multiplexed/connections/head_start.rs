//! Once in its life a pool waits with its first connection for one to a preferred node.

use std::{future, time::Duration};

use tokio::time::{Instant, sleep_until};

/// For how long, from when the first connection is there. Then reads go elsewhere.
const LENGTH: Duration = Duration::from_millis(150);

#[derive(Debug, Clone, Copy, Default)]
pub(super) enum HeadStart {
    /// There has been no connection yet.
    #[default]
    ToCome,
    Until(Instant),
    Over,
}

impl HeadStart {
    /// Whether the connections that are there are held back now. `near`: one of them leads to a preferred node.
    /// `awaited`: there is such a node.
    pub(super) fn holds_back(&mut self, near: bool, awaited: bool, now: Instant) -> bool {
        *self = match *self {
            _ if near || !awaited => Self::Over,
            Self::ToCome => Self::Until(now + LENGTH),
            Self::Until(end) if end <= now => Self::Over,
            going_on => going_on,
        };
        matches!(self, Self::Until(_))
    }

    /// A dial failed: nobody knows when it will succeed.
    pub(super) fn give_up(&mut self) {
        *self = Self::Over;
    }

    /// Ends when nothing is held back any more because of the time.
    pub(super) async fn end(self) {
        match self {
            Self::Until(end) => sleep_until(end).await,
            Self::ToCome | Self::Over => future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
