//! Deadlines for waits that are mostly over before a timer would be worth its cost.
//!
//! A timer reads the clock twice and takes the runtime's timer lock twice: that costs as much as the
//! whole checkout. So a wait begins without a timer. It listens for the last step of a coarse clock
//! before its own deadline, and only then sets a timer of its own, an exact one. The clock is one for
//! all waits of a pool, and its other steps wake nobody: with hundreds in line, waking all of them at
//! every step would cost more than their timers.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    sync::Notify,
    time::{Instant, Sleep},
};

/// A wait that has lasted all but a step of its limit sets a timer.
const STEPS_PER_LIMIT: u32 = 32;
/// Longer than nearly every wait for a connection. A wait with a shorter limit sets its timer at once.
const SHORTEST_STEP: Duration = Duration::from_millis(20);
const LONGEST_STEP: Duration = Duration::from_secs(1);
/// Step n is announced to those in slot n modulo `SLOTS`. A wait that goes on for more steps than that
/// is woken too early, and sets its timer then.
const SLOTS: u64 = 64;

#[derive(Debug)]
pub(crate) struct LazyTimeout {
    step: Duration,
    /// When step 0 began.
    epoch: Instant,
    /// The last step that has been announced.
    announced: AtomicU64,
    /// The last step that a wait listens for.
    wanted: AtomicU64,
    called: Notify,
    /// Apart from what every checkout reads: each wait writes to one of them.
    slots: Box<[Notify]>,
}

/// The deadline passed before the future was ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl LazyTimeout {
    /// `limit` is how long a wait may last.
    pub(crate) fn new(limit: Option<Duration>) -> Self {
        let step = limit.map_or(LONGEST_STEP, |limit| limit / STEPS_PER_LIMIT);
        Self {
            step: step.clamp(SHORTEST_STEP, LONGEST_STEP),
            epoch: Instant::now(),
            announced: AtomicU64::new(0),
            wanted: AtomicU64::new(0),
            called: Notify::new(),
            slots: (0..SLOTS).map(|_| Notify::new()).collect(),
        }
    }

    /// Announces each step when it begins, up to the last one that a wait has asked for.
    pub(crate) async fn run(&self) {
        loop {
            self.called.notified().await;
            loop {
                let now = self.step_at(Instant::now());
                // The number first: a wait listens first, and looks at the number then.
                let before = self.announced.swap(now, SeqCst);
                // Each slot once, even if it has slept for long.
                for step in before + 1..=now.min(before + SLOTS) {
                    self.slot(step).notify_waiters();
                }
                if self.wanted.load(SeqCst) <= now {
                    break;
                }
                tokio::time::sleep_until(self.beginning_of(now + 1)).await;
            }
        }
    }

    /// Polls until there is a result or the deadline has passed. Without a deadline, until there is a
    /// result.
    pub(crate) async fn limit<T>(
        &self,
        deadline: Option<Instant>,
        mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Result<T, Elapsed> {
        let Some(deadline) = deadline else {
            return Ok(poll_fn(poll).await);
        };
        let last_step = self.step_at(deadline);
        let mut announced = pin!(self.slot(last_step).notified());
        let mut timer: Option<Pin<Box<Sleep>>> = None;
        poll_fn(|cx| {
            if let Poll::Ready(result) = poll(cx) {
                return Poll::Ready(Ok(result));
            }
            if timer.is_none() && announced.as_mut().poll(cx).is_pending() {
                self.want(last_step);
                if self.announced.load(SeqCst) < last_step {
                    return Poll::Pending;
                }
            }
            let timer = timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
            timer.as_mut().poll(cx).map(|()| Err(Elapsed))
        })
        .await
    }

    /// Has this step announced. Those who came in the same step have mostly asked for it already.
    fn want(&self, step: u64) {
        if self.wanted.load(SeqCst) < step && self.wanted.fetch_max(step, SeqCst) < step {
            self.called.notify_one();
        }
    }

    /// The step that this moment is in.
    fn step_at(&self, moment: Instant) -> u64 {
        let since = moment.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since / self.step.as_nanos()).unwrap_or(u64::MAX)
    }

    fn beginning_of(&self, step: u64) -> Instant {
        let nanos = u64::try_from(self.step.as_nanos()).expect("BUG: a step is at most a second");
        self.epoch + Duration::from_nanos(nanos.saturating_mul(step))
    }

    fn slot(&self, step: u64) -> &Notify {
        let slot = usize::try_from(step % SLOTS).expect("BUG: less than `SLOTS`");
        &self.slots[slot]
    }
}

#[cfg(test)]
mod tests;
