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
pub(crate) struct Alarm {
    /// Somebody listens for a tick that has not come yet.
    wanted: AtomicBool,
    called: Notify,
    tick: Notify,
}

/// That the deadline passed before the future was ready.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Elapsed;

impl Alarm {
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
mod tests {
    use std::sync::Arc;

    use super::*;

    fn alarm() -> Arc<Alarm> {
        let alarm = Arc::new(Alarm::default());
        let running = Arc::clone(&alarm);
        tokio::spawn(async move { running.run().await });
        alarm
    }

    async fn never(alarm: &Alarm, limit: Duration) -> Duration {
        let began = Instant::now();
        let result = alarm.limit(Some(began + limit), |_| Poll::<()>::Pending);
        assert_eq!(result.await, Err(Elapsed));
        began.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_at_its_deadline_and_not_at_a_tick() {
        let alarm = alarm();
        for millis in [20, 21, 50, 5000] {
            let limit = Duration::from_millis(millis);
            assert_eq!(never(&alarm, limit).await, limit);
        }
        // Below the tick it is the tick that ends it.
        assert!(never(&alarm, Duration::from_millis(1)).await <= TICK + Duration::from_millis(1));
    }

    #[tokio::test(start_paused = true)]
    async fn many_waits_each_end_at_their_own_deadline() {
        let alarm = alarm();
        let waits = (0..50_u32).map(|i| {
            let alarm = Arc::clone(&alarm);
            let limit = TICK + Duration::from_millis(7) * i;
            tokio::spawn(async move { (never(&alarm, limit).await, limit) })
        });
        for wait in waits.collect::<Vec<_>>() {
            let (waited, limit) = wait.await.expect("no panic");
            assert_eq!(waited, limit);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_ready_in_time_comes_through() {
        let alarm = alarm();
        let second = Duration::from_secs(1);
        let began = Instant::now();
        let mut ready = pin!(tokio::time::sleep(second));
        let wait = alarm.limit(Some(began + 2 * second), |cx| {
            ready.as_mut().poll(cx).map(|()| 7)
        });
        assert_eq!(wait.await, Ok(7));
        assert_eq!(began.elapsed(), second);
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_deadline_a_wait_goes_on() {
        let alarm = alarm();
        let wait = alarm.limit(None, |_| Poll::<()>::Pending);
        let hour = Duration::from_secs(3600);
        assert!(tokio::time::timeout(hour, wait).await.is_err());
    }
}
