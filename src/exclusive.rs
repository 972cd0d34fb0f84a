//! One of the two pools: a deadpool pool, and the way a connection is taken out of it.

pub(crate) mod connection;
pub(crate) mod dialer;
pub(crate) mod entry;
pub(crate) mod keep;
pub(crate) mod manager;
#[cfg(test)]
mod model;
pub(crate) mod reaper;
pub(crate) mod retry_write;
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
    role_pool::lazy_timeout::Elapsed,
    status::{PoolStatus, discard::Discard},
};

#[derive(Debug, Clone)]
pub(crate) struct ExclusivePool {
    pool: managed::Pool<Manager>,
}

/// Stand in line for a permit; the limit is ours.
const IN_LINE: Timeouts = Timeouts {
    wait: None,
    create: None,
    recycle: None,
};

/// Take a free permit or fail at once: the common case pays for no line.
const NO_WAIT: Timeouts = Timeouts {
    wait: Some(Duration::ZERO),
    create: None,
    recycle: None,
};

/// What comes of a checkout from deadpool.
type Taken = Result<Object<Manager>, PoolError<Error>>;

/// Polls once, whatever comes of it.
async fn once<T>(poll: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut poll = Some(poll);
    poll_fn(|cx| match poll.take() {
        Some(poll) => Poll::Ready(poll(cx)),
        None => Poll::Pending,
    })
    .await
}

impl ExclusivePool {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        let mut config = PoolConfig::new(dialer.role_pool().limits().max_active);
        // Writes reuse the connection returned last, so that those too many grow old and are
        // pruned; reads take turns, so that every replica gets its share.
        config.queue_mode = match dialer.role_pool().name {
            PoolName::Write => QueueMode::Lifo,
            PoolName::Read => QueueMode::Fifo,
        };
        let pool = managed::Pool::builder(Manager::new(dialer))
            .config(config)
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .expect("BUG: a pool with a runtime can be built");
        Self { pool }
    }

    pub(crate) async fn checkout(&self) -> Result<Connection, Error> {
        let role_pool = self.dialer().role_pool();
        let may_wait = role_pool.limits().wait_timeout != Some(Duration::ZERO);
        // Where others stand in line there is no free permit to try for.
        if may_wait && role_pool.stats.waiting.load(Relaxed) > 0 {
            return self.stand_in_line().await;
        }
        let mut get = pin!(self.pool.timeout_get(&NO_WAIT));
        // An idle connection is there at once, and a deadline costs more than taking it.
        match once(|cx| get.as_mut().poll(cx)).await {
            Poll::Ready(Err(PoolError::Timeout(TimeoutType::Wait))) if may_wait => {
                self.stand_in_line().await
            }
            Poll::Ready(Err(PoolError::Timeout(TimeoutType::Wait))) => Err(self.exhausted()),
            Poll::Ready(result) => self.finish(result),
            Poll::Pending => self.dialled(get).await,
        }
    }

    /// All connections are in use, or were a moment ago: waits in line for one of them.
    async fn stand_in_line(&self) -> Result<Connection, Error> {
        let role_pool = self.dialer().role_pool();
        let mut get = pin!(self.pool.timeout_get(&IN_LINE));
        let polled = once(|cx| manager::watch_for_permit(|| get.as_mut().poll(cx))).await;
        match polled {
            (Poll::Ready(result), _) => return self.finish(result),
            (Poll::Pending, true) => return self.dialled(get).await,
            (Poll::Pending, false) => {}
        }
        let waiting = role_pool.stats.wait();
        let began = waiting.since;
        let mut waiting = Some(waiting);
        let limit = role_pool.limits().wait_timeout;
        let deadline = limit.and_then(|limit| began.checked_add(limit));
        let line = role_pool.lazy_timeout.limit(deadline, |cx| {
            let (polled, served) = manager::watch_for_permit(|| get.as_mut().poll(cx));
            if served {
                waiting = None;
            }
            match polled {
                Poll::Pending if served => Poll::Ready(None),
                polled => polled.map(Some),
            }
        });
        match line.await {
            Ok(Some(result)) => self.finish(result),
            Ok(None) => self.dialled(get).await,
            Err(Elapsed) => {
                drop(waiting);
                Err(self.waited_too_long(began.elapsed()))
            }
        }
    }

    /// Out of the line, with a permit, and no idle connection was good enough: from here one
    /// deadline covers every test and dial, of which deadpool limits only each.
    async fn dialled(
        &self,
        mut get: Pin<&mut impl Future<Output = Taken>>,
    ) -> Result<Connection, Error> {
        let acquire_timeout = self.dialer().acquire_timeout();
        let deadline = Instant::now() + acquire_timeout;
        let lazy_timeout = &self.dialer().role_pool().lazy_timeout;
        let taken = lazy_timeout.limit(Some(deadline), |cx| get.as_mut().poll(cx));
        match taken.await {
            Ok(result) => self.finish(result),
            Err(Elapsed) => Err(self.dialer().timed_out(acquire_timeout)),
        }
    }

    fn exhausted(&self) -> Error {
        let status = self.status();
        Error::Exhausted {
            pool: self.dialer().role_pool().name,
            max_active: status.max_active,
            open: status.active,
            in_use: status.active.saturating_sub(status.idle),
            dials: self.dialer().dials(),
        }
    }

    /// What kept a checkout waiting that has been given up.
    pub(crate) fn waited_too_long(&self, waited: Duration) -> Error {
        let status = self.status();
        tracing::warn!(
            pool = %self.dialer().role_pool().name,
            ?waited,
            max_active = status.max_active,
            waiting = status.waiting,
            "no connection came free in time"
        );
        Error::WaitTimeout {
            pool: self.dialer().role_pool().name,
            waited,
            max_active: status.max_active,
            open: status.active,
            in_use: status.active.saturating_sub(status.idle),
            waiting: status.waiting,
            dials: self.dialer().dials(),
        }
    }

    fn finish(&self, result: Taken) -> Result<Connection, Error> {
        match result {
            // A checkout that had its permit when the pool was closed gets a connection all the
            // same; it must not be lent any more.
            Ok(mut object) if self.pool.is_closed() => {
                object.close(Discard::PoolClosed);
                drop(Object::take(object));
                Err(self.dialer().role_pool().ending())
            }
            Ok(object) => Ok(Connection::new(object)),
            Err(PoolError::Backend(error)) => Err(error),
            // Without deadpool's own timeouts and hooks nothing else is left.
            Err(_) => Err(self.dialer().role_pool().ending()),
        }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        self.pool.manager().dialer()
    }

    /// Closes every idle connection that the rule speaks against.
    pub(crate) fn prune(&self, mut rule: impl FnMut(&Entry) -> Option<Discard>) {
        let dialer = self.dialer();
        let mut discarded = Vec::new();
        let pruned = self.pool.retain(|entry, _| match rule(entry) {
            None => true,
            Some(reason) => {
                discarded.push((reason, dialer.hold()));
                false
            }
        });
        for (mut entry, (reason, held)) in pruned.removed.into_iter().zip(discarded) {
            dialer.close_held(&mut entry, reason, held);
        }
        dialer.prune(rule);
    }

    /// As [`manager::feed`].
    pub(crate) fn feed(&self) {
        manager::feed(&self.pool);
    }

    /// Connections that are open and not lent.
    pub(crate) fn idle(&self) -> usize {
        manager::idle(&self.pool)
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let dialer = self.dialer();
        let stats = &dialer.role_pool().stats;
        PoolStatus {
            max_active: dialer.role_pool().limits().max_active,
            idle: self.idle(),
            active: dialer.role_pool().open(),
            waiting: stats.waiting.load(Relaxed),
            wait_count: stats.wait_count.load(Relaxed),
            wait_duration: Duration::from_nanos(stats.wait_nanos.load(Relaxed)),
            created: stats.created.load(Relaxed),
            dial_failures: stats.dial_failures.load(Relaxed),
            discards: stats.discards(),
        }
    }

    pub(crate) fn close(&self) {
        // First those at the wait queue are told, so that nothing is dialled nor kept any more. Then
        // deadpool drops what is idle, each counted as closed with the pool, and tells who waits.
        self.dialer().close();
        self.pool.close();
        self.prune(|_| Some(Discard::PoolClosed));
    }
}
