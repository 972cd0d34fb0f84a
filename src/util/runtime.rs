//! The tokio runtime of a pool. All its tasks, sockets and timers live there, whichever runtime its
//! callers are on.
//!
//! A web server may have a runtime for every worker. A task or socket on a worker's runtime would stand
//! still while that worker is busy. And tokio panics when a timer is polled whose runtime has ended.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
};

use parking_lot::RwLock;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, Sleep, sleep_until},
};

#[derive(Debug)]
pub(crate) struct Runtime {
    handle: Handle,
    ended: AtomicBool,
    /// Held for reading while a timer is polled, for writing when the runtime ends.
    timers: RwLock<()>,
    /// Has a receiver for every task and every socket of the pool.
    presence: watch::Sender<()>,
}

/// Held by each task and socket of a pool for as long as it exists.
#[derive(Debug)]
pub(crate) struct Presence(#[expect(dead_code, reason = "held to be counted")] watch::Receiver<()>);

impl Runtime {
    /// The runtime of the caller.
    ///
    /// # Panics
    ///
    /// Outside of a runtime.
    pub(crate) fn current() -> Arc<Self> {
        Arc::new(Self {
            handle: Handle::current(),
            ended: AtomicBool::new(false),
            timers: RwLock::new(()),
            presence: watch::Sender::new(()),
        })
    }

    #[inline]
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Relaxed)
    }

    /// To be called when the runtime ends, before its timers end: tokio drops all tasks first. No timer
    /// of the runtime is polled after this has returned.
    pub(crate) fn end(&self) {
        let _nobody_polls = self.timers.write();
        self.ended.store(true, Relaxed);
    }

    pub(crate) fn timer(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        let _context = self.handle.enter();
        Box::pin(sleep_until(deadline))
    }

    /// Creates or polls a timer; `None` once the runtime has ended.
    pub(crate) fn with_timers<T>(&self, poll: impl FnOnce(&Self) -> T) -> Option<T> {
        // The check alone is not enough: the runtime may end between the check and the poll.
        let _not_ending = self.timers.read();
        (!self.has_ended()).then(|| poll(self))
    }

    /// Starts a task that belongs to the pool.
    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.handle.spawn(self.count(future))
    }

    /// Starts a task that [`vacated`](Self::vacated) does not wait for.
    pub(crate) fn spawn_uncounted(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(future));
    }

    /// Counts the future until it is dropped.
    pub(crate) fn count<F: Future>(&self, future: F) -> Counted<F> {
        Counted {
            future: Box::pin(future),
            _presence: self.presence(),
        }
    }

    pub(crate) fn presence(&self) -> Presence {
        Presence(self.presence.subscribe())
    }

    /// Waits until nothing is counted any more. Only useful once nothing new can start.
    pub(crate) async fn vacated(&self) {
        self.presence.closed().await;
    }
}

/// A future that is counted as part of the pool.
#[derive(Debug)]
pub(crate) struct Counted<F> {
    // Dropped first, and its sockets with it.
    future: Pin<Box<F>>,
    _presence: Presence,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests;
