//! What deadpool asks of us: make a connection, and say whether an idle one may be lent again.

use std::{cell::Cell, collections::HashMap, sync::Arc};

use deadpool::managed::{self, Metrics, RecycleError, RecycleResult};
use parking_lot::Mutex;
use redis::{Value, cmd};
use tokio::time::Instant;

use crate::{
    config::PoolLimits,
    error::{Error, denies_command},
    exclusive::{dialer::Dialer, entry::Entry, keep::Moment},
    node::Node,
    status::discard::Discard,
};

thread_local! {
    /// Set when deadpool turns to its manager, which it does once a checkout has its permit.
    static PERMIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs one poll of a deadpool checkout, and says whether it has left the line. deadpool does not
/// tell, and both the wait statistics and the deadline depend on it.
pub(crate) fn watch_for_permit<T>(poll: impl FnOnce() -> T) -> (T, bool) {
    PERMIT.set(false);
    let polled = poll();
    (polled, PERMIT.get())
}

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
    async fn test(&self, entry: &mut Entry) -> Option<Discard> {
        let node = entry.target.node.clone();
        let silent = self.silent_since.lock().get(&node).copied();
        if silent.is_some_and(|silent| entry.idle_since < silent) {
            return Some(Discard::TestFailed);
        }
        // Half the caller's time at most: the other half is for the dial that follows a failure.
        let connect_timeout = self.dialer.role_pool().config.connect_timeout;
        let began = Instant::now();
        let deadline = began + connect_timeout.min(self.dialer.acquire_timeout() / 2);
        let pong = entry.wire().exchange(&[cmd("PING")], deadline).await;
        match pong.as_deref() {
            Ok([reply]) if proves_alive(reply) => None,
            failed => {
                self.silent_since.lock().insert(node.clone(), began);
                let topology = &self.dialer.role_pool().topology;
                match failed {
                    Err(error) if error.is_timeout() => topology.silence(&node, deadline - began),
                    _ => topology.suspect(&node),
                }
                Some(Discard::TestFailed)
            }
        }
    }
}

/// What takes long is boxed: in place, the future of every checkout would have room for it, and a
/// caller who waits in line would take twice the memory.
impl managed::Manager for Manager {
    /// Boxed, since deadpool moves it by value again and again.
    type Type = Box<Entry>;
    type Error = Error;

    async fn create(&self) -> Result<Box<Entry>, Error> {
        PERMIT.set(true);
        loop {
            let (mut entry, untaken) = Box::pin(self.dialer.obtain()).await?;
            let role_pool = self.dialer.role_pool();
            // One that was dialled ahead of demand may have been idle for as long as any other.
            let due = is_test_due(role_pool.limits(), entry.idle_since, role_pool.clock.now());
            if untaken
                && due
                && let Some(reason) = Box::pin(self.test(&mut entry)).await
            {
                entry.close(reason);
                continue;
            }
            return Ok(entry);
        }
    }

    /// Free checks only, unless the connection has been idle for longer than `test_idle_after`.
    /// deadpool drops what is refused without a word, so the reason is counted here.
    async fn recycle(&self, entry: &mut Box<Entry>, _: &Metrics) -> RecycleResult<Error> {
        PERMIT.set(true);
        self.dialer.exchange(entry);
        let now = self.dialer.role_pool().clock.now();
        let mut reason = entry.reason_to_discard(Moment::Checkout, now);
        if reason.is_none() && is_test_due(self.dialer.role_pool().limits(), entry.idle_since, now)
        {
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

/// Gives idle connections to callers who found none and wait for a dial, which may take long or
/// fail where these are at hand.
pub(crate) fn feed(pool: &managed::Pool<Manager>) {
    pool.manager().dialer().feed(|| {
        loop {
            let mut taken = false;
            let swept = pool.retain(|_, _| std::mem::replace(&mut taken, true));
            let idle = swept.removed.into_iter().next()?;
            // As at every checkout: its node may have been replaced, or have closed it.
            if let Some(good) = pool.manager().dialer().still_good(idle) {
                return Some(good);
            }
        }
    });
}

/// Whether the reply to a PING comes from a server that would take a caller's command.
///
/// Some take others and refuse PING: to a user who lacks the permission, where it was renamed away,
/// and a master that cannot save (`MISCONF`). While a script runs too long (`BUSY`) a fresh
/// connection would be no better. `LOADING` and `MASTERDOWN` are said to almost every command, and
/// what else is said comes from something that is no Redis, or cannot reach it.
fn proves_alive(reply: &Value) -> bool {
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

/// The rule of `test_idle_after`.
fn is_test_due(limits: &PoolLimits, idle_since: Instant, now: Instant) -> bool {
    limits
        .test_idle_after
        .is_some_and(|after| now.saturating_duration_since(idle_since) >= after)
}

#[cfg(test)]
mod tests;
