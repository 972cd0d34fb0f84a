//! The exclusive connections of one pool (write or read): a deadpool pool, and how a connection is
//! taken out of it.

pub(crate) mod connection;
pub(crate) mod dialer;
pub(crate) mod entry;
pub(crate) mod keep;
pub(crate) mod manager;
#[cfg(test)]
mod model;
pub(crate) mod reaper;
pub(crate) mod transaction;
pub(crate) mod wait_queue;

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Arc, atomic::Ordering::Relaxed},
    task::{Context, Poll},
    time::Duration,
};

use deadpool::managed::{self, Object, PoolConfig, PoolError, QueueMode, TimeoutType, Timeouts};
use tokio::time::Instant;

use crate::{
    error::{Error, PoolName},
    exclusive::{connection::Connection, dialer::Dialer, entry::Entry, manager::Manager},
    role_pool::{RolePool, lazy_timeout::Elapsed},
    status::{PoolStatus, discard::Discard},
};

/// One for each of the two pools.
#[derive(Debug, Clone)]
pub(crate) struct ExclusivePool {
    role_pool: Arc<RolePool>,
    dialer: Arc<Dialer>,
    pool: managed::Pool<Manager>,
}

/// Wait for a permit. The limit on that is ours, not deadpool's.
const WAIT: Timeouts = Timeouts {
    wait: None,
    create: None,
    recycle: None,
};

/// Take a free permit or fail at once. Most checkouts find one, and need no place in line.
const NO_WAIT: Timeouts = Timeouts {
    wait: Some(Duration::ZERO),
    create: None,
    recycle: None,
};

/// Whether a checkout waited for its connection.
#[derive(Debug, Clone, Copy)]
enum Waited {
    No,
    Yes,
}

/// What the error of a checkout says about the pool.
#[derive(Debug)]
struct Usage {
    max_active: usize,
    open: usize,
    in_use: usize,
    waiting: usize,
}

/// What a checkout of deadpool returns.
type Taken = Result<Object<Manager>, PoolError<Error>>;

/// Polls a single time, ready or not.
async fn once<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut poll = Some(poll);
    poll_fn(|cx| match poll.take() {
        Some(poll) => Poll::Ready(poll(cx)),
        None => Poll::Pending,
    })
    .await
}

impl ExclusivePool {
    pub(crate) fn new(role_pool: Arc<RolePool>) -> Self {
        let dialer = Dialer::new(Arc::clone(&role_pool));
        let mut config = PoolConfig::new(role_pool.limits().max_active);
        // Writes reuse the connection returned last, so that connections nobody needs grow old and
        // are pruned. Reads take turns, so that every replica gets its share.
        config.queue_mode = match role_pool.name {
            PoolName::Write => QueueMode::Lifo,
            PoolName::Read => QueueMode::Fifo,
        };
        let manager = Manager::new(Arc::clone(&role_pool), Arc::clone(&dialer));
        let pool = managed::Pool::builder(manager)
            .config(config)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("BUG: a pool with a runtime can be built");
        Self {
            role_pool,
            dialer,
            pool,
        }
    }

    pub(crate) fn role_pool(&self) -> &Arc<RolePool> {
        &self.role_pool
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        &self.dialer
    }

    pub(crate) async fn checkout(&self) -> Result<Connection, Error> {
        let may_wait = self.role_pool.limits().wait_timeout != Some(Duration::ZERO);
        // While others wait there is no free permit to try for.
        if may_wait && self.role_pool.stats.waiting.load(Relaxed) > 0 {
            return self.wait_for_permit().await;
        }
        let mut get = pin!(self.pool.timeout_get(&NO_WAIT));
        // An idle connection is there at once, and a deadline costs more than taking it.
        match once(|cx| get.as_mut().poll(cx)).await {
            Poll::Ready(Err(PoolError::Timeout(TimeoutType::Wait))) if may_wait => {
                self.wait_for_permit().await
            }
            Poll::Ready(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(self.exhausted()),
            Poll::Ready(taken) => self.lend(taken, Waited::No),
            Poll::Pending => self.wait_for_connection(get, None).await,
        }
    }

    /// All connections are in use, or were a moment ago: waits in line for a permit.
    async fn wait_for_permit(&self) -> Result<Connection, Error> {
        let mut get = pin!(self.pool.timeout_get(&WAIT));
        let polled = once(|cx| manager::watch_for_permit(|| get.as_mut().poll(cx))).await;
        match polled {
            (Poll::Ready(taken), _) => return self.lend(taken, Waited::No),
            (Poll::Pending, true) => return self.wait_for_connection(get, None).await,
            (Poll::Pending, false) => {}
        }
        let waiting = self.role_pool.stats.wait();
        let began = waiting.since;
        let mut waiting = Some(waiting);
        let limit = self.role_pool.limits().wait_timeout;
        let deadline = limit.and_then(|limit| began.checked_add(limit));
        let line = self.role_pool.lazy_timeout.limit(deadline, |cx| {
            let (polled, has_permit) = manager::watch_for_permit(|| get.as_mut().poll(cx));
            if has_permit && let Some(mut waiting) = waiting.take() {
                waiting.goes_on = polled.is_pending();
            }
            match polled {
                Poll::Pending if has_permit => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        match line.await {
            Ok(Some(taken)) => self.lend(taken, Waited::Yes),
            Ok(None) => self.wait_for_connection(get, Some(began)).await,
            Err(Elapsed) => {
                drop(waiting);
                Err(self.failed(self.waited_too_long(began.elapsed())))
            }
        }
    }

    /// The caller has a permit, but no idle connection was good enough. From here on one deadline
    /// covers all tests and dials; deadpool could only limit each of them. `began` is when it came into
    /// the line for a permit, if it had to wait there.
    async fn wait_for_connection(
        &self,
        mut get: Pin<&mut impl Future<Output = Taken>>,
        began: Option<Instant>,
    ) -> Result<Connection, Error> {
        let acquire_timeout = self.role_pool.acquire_timeout();
        let now = Instant::now();
        let obtaining = self.role_pool.stats.obtain(began.unwrap_or(now), now);
        let deadline = now + acquire_timeout;
        let lazy_timeout = &self.role_pool.lazy_timeout;
        let taken = lazy_timeout.limit(Some(deadline), |cx| get.as_mut().poll(cx));
        let taken = taken.await;
        drop(obtaining);
        match taken {
            Ok(taken) => self.lend(taken, Waited::Yes),
            Err(Elapsed) => Err(self.failed(self.dialer.timed_out(acquire_timeout))),
        }
    }

    fn lend(&self, taken: Taken, waited: Waited) -> Result<Connection, Error> {
        match taken {
            // A checkout that had its permit when the pool was closed still gets a connection from
            // deadpool; it must not be lent any more.
            Ok(mut object) if self.pool.is_closed() => {
                object.close(Discard::PoolClosed);
                drop(Object::take(object));
                Err(self.role_pool.ending())
            }
            Ok(object) => {
                match waited {
                    Waited::No => self.role_pool.stats.lent_at_once(object.stripe()),
                    Waited::Yes => self.role_pool.stats.lent_after_wait(),
                }
                Ok(Connection::new(object))
            }
            Err(PoolError::Backend(error)) => Err(self.failed(error)),
            // Only `Closed` is left: deadpool's own timeouts and hooks are not used.
            Err(_) => Err(self.role_pool.ending()),
        }
    }

    #[cold]
    fn exhausted(&self) -> Error {
        let usage = self.usage();
        self.failed(Error::Exhausted {
            pool: self.role_pool.name,
            max_active: usage.max_active,
            open: usage.open,
            in_use: usage.in_use,
            dials: self.dialer.dials(),
        })
    }

    /// Counts a checkout that fails with this error.
    fn failed(&self, error: Error) -> Error {
        self.role_pool.stats.failed(&error);
        error
    }

    /// The error of a checkout that got no connection within this time.
    pub(crate) fn waited_too_long(&self, waited: Duration) -> Error {
        let usage = self.usage();
        tracing::warn!(
            pool = %self.role_pool.name,
            ?waited,
            max_active = usage.max_active,
            waiting = usage.waiting,
            "no connection came free in time"
        );
        Error::WaitTimeout {
            pool: self.role_pool.name,
            waited,
            max_active: usage.max_active,
            open: usage.open,
            in_use: usage.in_use,
            waiting: usage.waiting,
            dials: self.dialer.dials(),
        }
    }

    fn usage(&self) -> Usage {
        let (open, idle) = (self.role_pool.open(), self.idle());
        Usage {
            max_active: self.role_pool.limits().max_active,
            open,
            in_use: open.saturating_sub(idle),
            waiting: self.role_pool.stats.waiting.load(Relaxed),
        }
    }

    /// Closes every idle connection that the rule discards.
    pub(crate) fn prune(&self, mut rule: impl FnMut(&Entry) -> Option<Discard>) {
        let mut discarded = Vec::new();
        let pruned = self.pool.retain(|entry, _| match rule(entry) {
            None => true,
            Some(reason) => {
                discarded.push((reason, self.dialer.count_closing()));
                false
            }
        });
        for (mut entry, (reason, closing)) in pruned.removed.into_iter().zip(discarded) {
            self.dialer.close_counted(&mut entry, reason, closing);
        }
        self.dialer.prune(rule);
    }

    /// As [`manager::feed`].
    pub(crate) fn feed(&self) {
        manager::feed(&self.pool);
    }

    /// As [`manager::idle`].
    pub(crate) fn idle(&self) -> usize {
        manager::idle(&self.pool)
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let stats = &self.role_pool.stats;
        let limits = self.role_pool.limits();
        let failed = stats.failed_checkouts();
        PoolStatus {
            max_active: limits.max_active,
            max_idle: limits.effective_max_idle(),
            min_idle: limits.min_idle,
            idle: self.idle(),
            active: self.role_pool.open(),
            waiting: stats.waiting.load(Relaxed),
            checkouts: stats.checkouts(),
            wait_count: stats.wait_count.load(Relaxed),
            wait_duration: Duration::from_nanos(stats.wait_nanos.load(Relaxed)),
            wait: stats.waits(),
            wait_timeouts: failed.wait_timeouts,
            exhausted: failed.exhausted,
            no_master: failed.no_master,
            no_replica: failed.no_replica,
            no_connection: failed.no_connection,
            held: stats.held.snapshot(),
            created: stats.created.load(Relaxed),
            create: stats.dials.create(),
            dial_failures: stats.dials.failures(),
            last_dial_error: stats.dials.last(),
            discards: stats.discards(),
            commands: stats.answered_count(),
            failures: stats.commands.failures(),
            resent: stats.commands.resent_count(),
            refused: stats.commands.refused_count(),
        }
    }

    pub(crate) fn close(&self) {
        // The wait queue first, so that nothing is dialled and nothing that arrives is kept. deadpool
        // then drops its idle connections, each counted as closed with the pool, and ends every wait
        // for a permit.
        self.dialer.close();
        self.pool.close();
        self.prune(|_| Some(Discard::PoolClosed));
    }
}
