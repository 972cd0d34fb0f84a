//! A handle that does not keep its pool running.

use std::sync::{Arc, Weak};

use crate::pool::{Inner, Pool};

/// A handle to a [`Pool`] that does not keep it running, from [`Pool::downgrade`].
///
/// It is for what has no end of its own or lives longer than the pool: a callback of a metrics library, a
/// registry, a task that looks at the numbers every so often.
///
/// ```no_run
/// # fn example(pool: &redis_rw_pool::Pool) {
/// let weak = pool.downgrade();
/// let in_use = move || {
///     let write = weak.upgrade()?.status().write;
///     Some(write.active.saturating_sub(write.idle))
/// };
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct WeakPool {
    inner: Weak<Inner>,
}

impl WeakPool {
    /// The pool; `None` after its last handle was dropped. Multiplexed handles and sessions count, guards do
    /// not. A pool that was closed is there as long as somebody has it.
    pub fn upgrade(&self) -> Option<Pool> {
        let inner = self.inner.upgrade()?;
        Some(Pool { inner })
    }
}

impl Pool {
    /// A handle that does not keep the pool running.
    pub fn downgrade(&self) -> WeakPool {
        let inner = Arc::downgrade(&self.inner);
        WeakPool { inner }
    }
}
