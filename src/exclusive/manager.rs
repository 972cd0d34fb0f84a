//! What deadpool asks for: a new connection, and whether an idle one may be lent again. And what is
//! asked of deadpool beyond its checkout.

use std::{cell::Cell, collections::HashMap, mem, sync::Arc};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use redis::{Value, cmd};
use tokio::time::Instant;

use crate::{
    error::{Error, code::denies_command},
    exclusive::{
        dialer::Dialer,
        entry::Entry,
        keep::{self, Moment},
    },
    node::Node,
    role_pool::RolePool,
    status::discard::Discard,
};

thread_local! {
    /// Set when deadpool calls its manager, which it does once a checkout has its permit.
    static PERMIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs one poll of a deadpool checkout, and says whether it has its permit. deadpool does not tell,
/// and both the wait statistics and the deadline depend on it.
pub(crate) fn watch_for_permit<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    PERMIT.set(false);
    let polled = poll();
    (polled, PERMIT.get())
}

/// One type for both pools: which of them it serves is data in its [`RolePool`].
#[derive(Debug)]
pub(crate) struct Manager {
    role_pool: Arc<RolePool>,
    dialer: Arc<Dialer>,
    /// When a node last failed a test. Connections that have been idle since before then would only
    /// fail too, one timeout after another.
    silent_since: Mutex<HashMap<Node, Instant>>,
}

impl Manager {
    pub(crate) fn new(role_pool: Arc<RolePool>, dialer: Arc<Dialer>) -> Self {
        Self {
            role_pool,
            dialer,
            silent_since: Mutex::default(),
        }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    fn is_test_due(&self, entry: &Entry, now: Instant) -> bool {
        keep::is_test_due(self.role_pool.limits(), entry.idle_since, now)
    }

    /// Whether an idle connection can be lent at once.
    fn is_ready(&self, idle: &Entry) -> bool {
        let now = self.role_pool.clock.now();
        self.role_pool.admits(&idle.target) && !self.is_test_due(idle, now)
    }

    /// The PING that `test_idle_after` asks for.
    async fn test(&self, entry: &mut Entry) -> Option<Discard> {
        let node = entry.target.node.clone();
        let silent_since = self.silent_since.lock().get(&node).copied();
        if silent_since.is_some_and(|since| entry.idle_since < since) {
            return Some(Discard::TestFailed);
        }
        // Half the caller's time at most: the other half is for the dial that follows a failure.
        let connect_timeout = self.role_pool.config.connect_timeout;
        let began = Instant::now();
        let deadline = began + connect_timeout.min(self.role_pool.acquire_timeout() / 2);
        let pong = entry.wire().exchange(&[cmd("PING")], deadline).await;
        match pong.as_deref() {
            Ok([reply]) if proves_alive(reply) => None,
            failed => {
                self.silent_since.lock().insert(node.clone(), began);
                let topology = &self.role_pool.topology;
                match failed {
                    Err(error) if error.is_timeout() => {
                        topology.exclude_silent(&node, deadline - began)
                    }
                    _ => topology.suspect(&node),
                }
                Some(Discard::TestFailed)
            }
        }
    }
}

/// Long futures are boxed. Inline, the future of every checkout would have room for them, and a
/// waiting caller would take twice the memory.
impl managed::Manager for Manager {
    /// Boxed, since deadpool moves it by value again and again.
    type Type = Box<Entry>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Entry>, Error> {
        PERMIT.set(true);
        loop {
            let (mut entry, untaken) = Box::pin(self.dialer.obtain()).await?;
            // It may have been idle in the wait queue for as long as any in deadpool's.
            if untaken
                && self.is_test_due(&entry, self.role_pool.clock.now())
                && let Some(reason) = Box::pin(self.test(&mut entry)).await
            {
                entry.close(reason);
                continue;
            }
            return Ok(entry);
        }
    }

    /// Checks without a round trip, unless the connection has been idle for `test_idle_after`.
    /// deadpool drops a connection that is refused here, so it is closed with its reason before.
    async fn recycle(&self, entry: &mut Box<Entry>, _: &Metrics) -> RecycleResult<Error> {
        PERMIT.set(true);
        self.dialer.exchange(entry);
        let now = self.role_pool.clock.now();
        let mut reason = entry.reason_to_discard(Moment::Checkout, now);
        if reason.is_none() && self.is_test_due(entry, now) {
            reason = Box::pin(self.test(entry)).await;
        }
        match reason {
            None => Ok(()),
            Some(reason) => {
                entry.close(reason);
                Err(RecycleError::message("discarded"))
            }
        }
    }
}

/// Connections that are open and not lent: those in deadpool's queue, and those in the wait queue that
/// nobody has taken yet.
pub(crate) fn idle(pool: &managed::Pool<Manager>) -> usize {
    pool.retain(|_, _| true).retained + pool.manager().dialer().untaken()
}

/// Gives idle connections to callers that found none and wait for a dial: a dial may take long, or
/// fail.
pub(crate) fn feed(pool: &managed::Pool<Manager>) {
    let dialer = pool.manager().dialer();
    let first_idle = || {
        let mut taken = false;
        let split = pool.retain(|_, _| mem::replace(&mut taken, true));
        split.removed.into_iter().next()
    };
    dialer.feed(|| {
        loop {
            // As at every checkout: its node may have been replaced, or have closed it.
            if let Some(good) = dialer.still_good(first_idle()?) {
                return Some(good);
            }
        }
    });
}

/// Whether there is an idle connection that fits and can be taken without a test.
pub(crate) fn has_idle(pool: &managed::Pool<Manager>, fits: impl Fn(&Entry) -> bool) -> bool {
    let manager = pool.manager();
    let is_good = |idle: &Entry| fits(idle) && manager.is_ready(idle);
    if manager.dialer.has_untaken(is_good) {
        return true;
    }
    let mut found = false;
    pool.retain(|idle, _| {
        found = found || is_good(idle);
        true
    });
    found
}

/// Exchanges a clean connection for an idle one that fits and needs no test. Says whether there was one.
pub(crate) fn exchange(
    pool: &managed::Pool<Manager>,
    entry: &mut Box<Entry>,
    fits: impl Fn(&Entry) -> bool,
) -> bool {
    let manager = pool.manager();
    let is_good = |idle: &Entry| fits(idle) && manager.is_ready(idle);
    entry.wire().trim();
    entry.idle_since = manager.role_pool.clock.now();
    if manager.dialer.exchange_for(entry, is_good) {
        return true;
    }
    let mut counted = None;
    let split = pool.retain(|idle, _| {
        let is_taken = counted.is_none() && is_good(idle);
        if is_taken {
            // It counts as idle until now, and as held from then on. So does the one that is brought.
            counted = Some(manager.dialer.count_closing());
        }
        !is_taken
    });
    let (Some(mut other), Some(counted)) = (split.removed.into_iter().next(), counted) else {
        return false;
    };
    mem::swap(entry, &mut other);
    counted.bring(other);
    true
}

/// Whether the reply to a PING comes from a server that would take a caller's command.
///
/// A server may refuse PING and take other commands: where the user lacks the permission, where PING
/// was renamed, and on a master that cannot save (`MISCONF`). While a script runs too long (`BUSY`) a
/// fresh connection would be no better. `LOADING` and `MASTERDOWN` are the reply to almost every
/// command. Any other error comes from something that is no Redis, or cannot reach one.
pub(crate) fn proves_alive(reply: &Value) -> bool {
    match reply {
        Value::SimpleString(pong) => pong == "PONG",
        Value::ServerError(error) => {
            let code = error.code();
            matches!(code, "MISCONF" | "BUSY")
                || denies_command(code, error.details().unwrap_or_default())
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
