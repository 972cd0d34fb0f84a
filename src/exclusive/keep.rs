//! Whether a connection is kept or closed, at each moment at which that is decided.
//!
//! The rule judges a connection by itself. Whether there are too many of them is judged by
//! [`RolePool::unwanted`](crate::role_pool::RolePool::unwanted) at the return, and by the reaper.

use tokio::time::Instant;

use crate::{config::PoolLimits, status::discard::Discard, topology::admission::Admission};

/// When it is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moment {
    /// A caller is about to get it.
    Checkout,
    /// Its caller has given it back.
    Return,
    /// The reaper goes through the idle ones.
    Reap,
}

/// What the rule has to know of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    /// What its last caller left behind that no other caller must see. Asked for at its return only:
    /// an idle connection is clean.
    pub(crate) dirt: Option<Discard>,
    pub(crate) admission: Admission,
    /// The reason to give when its node is not what the pool wants any more.
    pub(crate) departed: Discard,
    /// It was made with certificates that have been replaced since, and it is its turn to go.
    pub(crate) outdated: bool,
    pub(crate) expires_at: Option<Instant>,
    /// The reason to give from then on.
    pub(crate) expiry: Discard,
    pub(crate) idle_since: Instant,
}

/// Why a connection must not be kept; `None` if it may.
///
/// `is_stale` tells whether the server has closed it or has sent something unasked. That reads the
/// socket, so it comes last.
#[inline]
pub(crate) fn reason_to_discard(
    facts: &Facts,
    moment: Moment,
    limits: &PoolLimits,
    now: Instant,
    is_stale: impl FnOnce() -> bool,
) -> Option<Discard> {
    if facts.dirt.is_some() {
        return facts.dirt;
    }
    if facts.admission == Admission::Revoked {
        return Some(facts.departed);
    }
    if facts.outdated {
        return Some(Discard::Certificates);
    }
    if facts.expires_at.is_some_and(|at| at <= now) {
        return Some(facts.expiry);
    }
    // One that comes back was in use until now.
    if moment != Moment::Return
        && limits
            .idle_timeout
            .is_some_and(|timeout| now.saturating_duration_since(facts.idle_since) >= timeout)
    {
        return Some(Discard::Idle);
    }
    is_stale().then_some(Discard::Broken)
}

/// Whether an idle connection that is kept has to prove with a PING that it works, before a caller
/// gets it.
#[inline]
pub(crate) fn is_test_due(limits: &PoolLimits, idle_since: Instant, now: Instant) -> bool {
    limits
        .test_idle_after
        .is_some_and(|after| now.saturating_duration_since(idle_since) >= after)
}

#[cfg(test)]
mod tests;
