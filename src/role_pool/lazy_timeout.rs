//! Deadlines for waits that are mostly over before a timer would be worth its cost.
//!
//! A timer reads the clock twice and takes the runtime's timer lock twice: that costs as much as the
//! whole checkout. So a wait begins without a timer and listens for the next tick, which is one for all
//! waits of a pool. A wait that is not over at the tick sets a timer of its own, an exact one.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicBool, Ordering::SeqCst},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, Sleep},
};

/// Longer than nearly every wait for a connection, shorter than any sensible limit. The documentation
/// of `wait_timeout` names it.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(crate) struct LazyTimeout {
    /// A wait listens for a tick that has not come yet.
    wanted: AtomicBool,
    called: Notify,
    tick: Notify,
}

/// The deadline passed before the future was ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl LazyTimeout {
    /// Ticks a little after a wait has begun to listen, and sleeps while none does.
    pub(crate) async fn run(&self) {
        loop {
            self.called.notified().await;
            tokio::time::sleep(TICK).await;
            self.wanted.store(false, SeqCst);
            self.tick.notify_waiters();
        }
    }

    /// Polls until there is a result or the deadline has passed. Without a deadline, until there is a
    /// result.
    pub(crate) async fn limit<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Elapsed> {
        let mut tick = pin!(self.tick.notified());
        let mut listening = false;
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(result) = poll(cx) {
                return Poll::Ready(Ok(result));
            }
            if timer.is_none() && tick.as_mut().poll(cx).is_pending() {
                // First listen, then call. A wait that finds the tick called for already will hear
                // it, since the call is forgotten before the tick.
                if !listening && !self.wanted.swap(true, SeqCst) {
                    self.called.notify_one();
                }
                listening = true;
                return Poll::Pending;
            }
            let Some(until) = deadline else {
                return Poll::Pending;
            };
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(until)));
            timer.as_mut().poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }
}

#[cfg(test)]
mod tests;
