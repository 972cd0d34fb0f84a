//! What deadpool asks of us: make a connection, and say whether an idle one may be lent again.

use std::{collections::HashMap, sync::Arc};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use redis::{Value, cmd};
use tokio::time::Instant;

use crate::{
    config::PoolLimits, dialer::Dialer, error::Error, node::Node, pooled::Pooled, stats::Discard,
};

/// One type for both pools; which of them it serves is data in its [`Dialer`].
#[derive(Debug)]
pub(crate) struct Manager {
    dialer: Arc<Dialer>,
    /// When a node last failed a test: what has been idle since before then would only fail too,
    /// one timeout after another.
    silent_since: Mutex<HashMap<Node, Instant>>,
}

impl Manager {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        Self {
            dialer,
            silent_since: Mutex::default(),
        }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    /// The PING that `test_idle_after` asks for.
    async fn test(&self, pooled: &mut Pooled, now: Instant) -> Option<Discard> {
        let node = pooled.target.node.clone();
        let silent = self.silent_since.lock().get(&node).copied();
        if silent.is_some_and(|silent| pooled.idle_since < silent) {
            return Some(Discard::TestFailed);
        }
        let deadline = now + self.dialer.config().connect_timeout;
        let pong = pooled.wire().exchange(&[cmd("PING")], deadline).await;
        match pong.as_deref() {
            // Any reply but PONG, even an error, comes from a server that would serve nobody.
            Ok([Value::SimpleString(pong)]) if pong == "PONG" => None,
            _ => {
                self.silent_since.lock().insert(node.clone(), now);
                self.dialer.suspect(&node);
                Some(Discard::TestFailed)
            }
        }
    }
}

impl managed::Manager for Manager {
    type Type = Pooled;
    type Error = Error;

    async fn create(&self) -> Result<Pooled, Error> {
        self.dialer.obtain().await
    }

    /// Free checks only, unless the connection has been idle for longer than `test_idle_after`.
    /// deadpool drops what is refused without a word, so the reason is counted here.
    async fn recycle(&self, pooled: &mut Pooled, _: &Metrics) -> RecycleResult<Error> {
        self.dialer.exchange(pooled);
        let now = Instant::now();
        let mut reason = discard_reason(pooled, now);
        if reason.is_none() && is_test_due(self.dialer.limits(), pooled.idle_since, now) {
            reason = self.test(pooled, now).await;
        }
        match reason {
            None => Ok(()),
            Some(reason) => {
                pooled.close(reason);
                Err(RecycleError::message("discarded"))
            }
        }
    }
}

/// Why an idle connection must not be lent again; `None` if it may. Free checks come first.
pub(crate) fn discard_reason(pooled: &mut Pooled, now: Instant) -> Option<Discard> {
    if !pooled.vet() {
        return Some(pooled.home().departed());
    }
    let limits = pooled.home().limits();
    expiry(limits, pooled.expires_at, pooled.idle_since, now)
        .or_else(|| pooled.is_stale().then_some(Discard::Broken))
}

/// The rule of `max_lifetime` and `idle_timeout`.
pub(crate) fn expiry(
    limits: &PoolLimits,
    expires_at: Option<Instant>,
    idle_since: Instant,
    now: Instant,
) -> Option<Discard> {
    if expires_at.is_some_and(|at| at <= now) {
        Some(Discard::Lifetime)
    } else if limits
        .idle_timeout
        .is_some_and(|timeout| now.saturating_duration_since(idle_since) >= timeout)
    {
        Some(Discard::Idle)
    } else {
        None
    }
}

/// The rule of `test_idle_after`.
fn is_test_due(limits: &PoolLimits, idle_since: Instant, now: Instant) -> bool {
    limits
        .test_idle_after
        .is_some_and(|after| now.saturating_duration_since(idle_since) >= after)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn a_connection_expires_by_age_before_idleness_and_at_the_very_moment() {
        let base = Instant::now() + 100 * SECOND;
        let mut limits = PoolLimits::default();
        limits.idle_timeout = Some(10 * SECOND);
        let at = |seconds: u32| base + seconds * SECOND;
        let table = [
            // expires_at, idle_since, now, expected
            (Some(50), 0, 9, None),
            (Some(50), 0, 10, Some(Discard::Idle)),
            (Some(50), 45, 49, None),
            (Some(50), 45, 50, Some(Discard::Lifetime)),
            (Some(5), 0, 10, Some(Discard::Lifetime)),
            (None, 0, 9, None),
            // The clock of another core may be a little behind.
            (None, 9, 8, None),
        ];
        for (expires_at, idle_since, now, expected) in table {
            let got = expiry(&limits, expires_at.map(at), at(idle_since), at(now));
            assert_eq!(got, expected, "{expires_at:?} {idle_since} {now}");
        }
        limits.idle_timeout = None;
        assert_eq!(expiry(&limits, None, at(0), at(1_000_000)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_test_is_due_only_after_the_threshold_and_never_without_one() {
        let since = Instant::now();
        let mut limits = PoolLimits::default();
        limits.test_idle_after = Some(SECOND);
        assert!(!is_test_due(&limits, since, since));
        assert!(is_test_due(&limits, since, since + SECOND));
        limits.test_idle_after = Some(Duration::ZERO);
        assert!(is_test_due(&limits, since, since));
        limits.test_idle_after = None;
        assert!(!is_test_due(&limits, since, since + 1_000_000 * SECOND));
    }
}
