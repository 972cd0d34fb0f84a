//! Deadlines for waits that are mostly over before a timer would have been worth its cost.
//!
//! A timer takes two clock readings and two turns of the runtime's timer lock, as much as the whole
//! checkout it guards. So a wait begins without one: it listens for the next tick of its pool's
//! alarm, and only a wait that is still there when the tick comes sets a timer, an exact one.

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

/// Longer than nearly every wait for a connection, shorter than any limit that somebody would set;
/// the documentation of `wait_timeout` names it.
const TICK: Duration = Duration::from_millis(20);

#[derive(Debug, Default)]
pub(crate) struct LazyTimeout {
    /// Somebody listens for a tick that has not come yet.
    wanted: AtomicBool,
    called: Notify,
    tick: Notify,
}

/// That the deadline passed before the future was ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl LazyTimeout {
    /// Ticks a little after somebody has begun to listen, and rests while nobody does.
    pub(crate) async fn run(&self) {
        loop {
            self.called.notified().await;
            tokio::time::sleep(TICK).await;
            self.wanted.store(false, SeqCst);
            self.tick.notify_waiters();
        }
    }

    /// Polls until there is a result or the deadline has passed; without one, until there is a
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
                // First listen, then call: whoever finds the alarm called already is sure to hear
                // the tick, since the alarm forgets the call before it ticks.
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
