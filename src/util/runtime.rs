//! The tokio runtime that a pool lives on: its tasks, sockets and timers, whoever uses them.
//!
//! A web server may have a runtime for every worker. What a worker's runtime made would stand still
//! while that worker is busy, and tokio panics where a timer is polled whose runtime has ended.

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
    /// Read while a timer is polled, written when the runtime ends.
    timers: RwLock<()>,
    /// Has a receiver for every task and every socket of the pool.
    presence: watch::Sender<()>,
}

/// Held by what belongs to a pool for as long as it is there.
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

    /// To be called when the runtime ends, before its timers do: tokio drops all tasks first. From
    /// when this returns on no timer of it is polled.
    pub(crate) fn end(&self) {
        let _nobody_polls = self.timers.write();
        self.ended.store(true, Relaxed);
    }

    pub(crate) fn timer(&self, deadline: Instant) -> Pin<Box<Sleep>> {
        let _context = self.handle.enter();
        Box::pin(sleep_until(deadline))
    }

    /// Makes or polls a timer; `None` once the runtime has ended.
    pub(crate) fn with_timers<T>(&self, poll: impl FnOnce(&Self) -> T) -> Option<T> {
        // A look alone would not do: the runtime may end between the look and the poll.
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

    /// The same future, which is counted until it is dropped.
    pub(crate) fn count<F: Future>(&self, future: F) -> Counted<F> {
        Counted {
            future: Box::pin(future),
            _presence: self.presence(),
        }
    }

    pub(crate) fn presence(&self) -> Presence {
        Presence(self.presence.subscribe())
    }

    /// Waits until nothing is counted any more. Of use once nothing new can come.
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
