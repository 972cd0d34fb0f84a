//! One of the two pools: a deadpool pool, and the way a connection is taken out of it.

use std::{
    future::poll_fn,
    pin::pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    task::Poll,
    time::Duration,
};

use deadpool::managed::{self, Object, PoolConfig, PoolError, QueueMode, TimeoutType, Timeouts};

use crate::{
    connection::Connection,
    dialer::Dialer,
    error::{Error, PoolName},
    manager::{self, Manager},
    pooled::Pooled,
    stats::{Discard, PoolStatus},
};

#[derive(Debug, Clone)]
pub(crate) struct Side {
    pool: managed::Pool<Manager>,
}

/// Take a free permit or fail at once: the common case pays for no timer.
const NO_WAIT: Timeouts = Timeouts {
    wait: Some(Duration::ZERO),
    create: None,
    recycle: None,
};

impl Side {
    pub(crate) fn new(dialer: Arc<Dialer>) -> Self {
        let mut config = PoolConfig::new(dialer.home().limits().max_active);
        // Writes reuse the connection returned last, so that those too many grow old and are
        // pruned; reads take turns, so that every replica gets its share.
        config.queue_mode = match dialer.home().name {
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
        match self.get(&NO_WAIT).await {
            Err(PoolError::Timeout(TimeoutType::Wait)) => self.wait().await,
            result => self.finish(result),
        }
    }

    /// Takes a connection out of deadpool, which has a limit for each step but none for all of them:
    /// here one deadline covers the wait, every test of an idle connection, and the dial.
    async fn get(&self, timeouts: &Timeouts) -> Result<Object<Manager>, PoolError<Error>> {
        let mut get = pin!(self.pool.timeout_get(timeouts));
        // An idle connection is there at once, and a timer costs more than taking it.
        if let Poll::Ready(result) = poll_fn(|cx| Poll::Ready(get.as_mut().poll(cx))).await {
            return result;
        }
        let Some(wait) = timeouts.wait else {
            return get.await;
        };
        let limit = wait + self.dialer().patience();
        match tokio::time::timeout(limit, get).await {
            Ok(result) => result,
            Err(_) => Err(PoolError::Backend(self.dialer().out_of_patience(limit))),
        }
    }

    async fn wait(&self) -> Result<Connection, Error> {
        let dialer = self.dialer();
        let wait_timeout = dialer.home().limits().wait_timeout;
        if wait_timeout == Some(Duration::ZERO) {
            let status = self.status();
            return Err(Error::Exhausted {
                pool: dialer.home().name,
                max_active: status.max_active,
                open: status.active,
                in_use: status.active - status.idle.min(status.active),
                blocker: dialer.blocker(),
            });
        }
        let waiting = dialer.home().stats.wait();
        let timeouts = Timeouts {
            wait: wait_timeout,
            ..NO_WAIT
        };
        let result = self.get(&timeouts).await;
        let waited = waiting.since.elapsed();
        drop(waiting);
        if let Err(PoolError::Timeout(TimeoutType::Wait)) = result {
            let status = self.status();
            return Err(Error::WaitTimeout {
                pool: dialer.home().name,
                waited,
                max_active: status.max_active,
                open: status.active,
                in_use: status.active - status.idle.min(status.active),
                waiting: status.waiting,
                blocker: dialer.blocker(),
            });
        }
        self.finish(result)
    }

    fn finish(
        &self,
        result: Result<Object<Manager>, PoolError<Error>>,
    ) -> Result<Connection, Error> {
        match result {
            // A checkout that had its permit when the pool was closed gets a connection all the
            // same; it must not be lent any more.
            Ok(mut object) if self.pool.is_closed() => {
                object.close(Discard::PoolClosed);
                drop(Object::take(object));
                Err(Error::Closed)
            }
            Ok(object) => Ok(Connection::new(object)),
            Err(PoolError::Backend(error)) => Err(error),
            // Without deadpool's own timeouts and hooks nothing else is left.
            Err(_) => Err(Error::Closed),
        }
    }

    pub(crate) fn dialer(&self) -> &Arc<Dialer> {
        self.pool.manager().dialer()
    }

    /// Closes every idle connection that the rule speaks against.
    pub(crate) fn sweep(&self, mut rule: impl FnMut(&Pooled) -> Option<Discard>) {
        let mut reasons = Vec::new();
        let swept = self.pool.retain(|pooled, _| match rule(pooled) {
            None => true,
            Some(reason) => {
                reasons.push(reason);
                false
            }
        });
        for (mut pooled, reason) in swept.removed.into_iter().zip(reasons) {
            pooled.close(reason);
        }
        self.dialer().sweep(rule);
    }

    /// Gives idle connections to callers who found none and wait for a dial, which may take long or
    /// fail where these are at hand.
    pub(crate) fn feed(&self) {
        manager::feed(&self.pool);
    }

    /// Connections that are open and not lent.
    pub(crate) fn idle(&self) -> usize {
        self.pool.retain(|_, _| true).retained + self.dialer().docked()
    }

    pub(crate) fn status(&self) -> PoolStatus {
        let dialer = self.dialer();
        let stats = &dialer.home().stats;
        PoolStatus {
            max_active: dialer.home().limits().max_active,
            idle: self.idle(),
            active: dialer.home().open(),
            waiting: stats.waiting.load(Relaxed),
            wait_count: stats.wait_count.load(Relaxed),
            wait_duration: Duration::from_nanos(stats.wait_nanos.load(Relaxed)),
            created: stats.created.load(Relaxed),
            dial_failures: stats.dial_failures.load(Relaxed),
            discards: stats.discards(),
        }
    }

    pub(crate) fn close(&self) {
        // First those at the dock are told, so that nothing is dialled nor kept any more. Then
        // deadpool drops what is idle, each counted as closed with the pool, and tells who waits.
        self.dialer().close();
        self.pool.close();
        self.sweep(|_| Some(Discard::PoolClosed));
    }
}
