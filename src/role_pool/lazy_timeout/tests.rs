use std::sync::Arc;

use super::*;

const TICK: Duration = SHORTEST_STEP;

fn lazy_timeout() -> Arc<LazyTimeout> {
    lazy_timeout_for(Duration::from_millis(100))
}

fn lazy_timeout_for(limit: Duration) -> Arc<LazyTimeout> {
    let lazy_timeout = Arc::new(LazyTimeout::new(Some(limit)));
    let running = Arc::clone(&lazy_timeout);
    tokio::spawn(async move { running.run().await });
    lazy_timeout
}

async fn never(lazy_timeout: &LazyTimeout, limit: Duration) -> Duration {
    let began = Instant::now();
    let result = lazy_timeout.limit(Some(began + limit), |_| Poll::<()>::Pending);
    assert_eq!(result.await, Err(Elapsed));
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_at_its_deadline_and_not_at_a_tick() {
    let lazy_timeout = lazy_timeout();
    for millis in [1, 7, 20, 21, 50, 5000] {
        let limit = Duration::from_millis(millis);
        assert_eq!(never(&lazy_timeout, limit).await, limit);
    }
    // Below the tick it is the tick that ends it.
    assert!(
        never(&lazy_timeout, Duration::from_millis(1)).await <= TICK + Duration::from_millis(1)
    );
}

#[tokio::test(start_paused = true)]
async fn many_waits_each_end_at_their_own_deadline() {
    let lazy_timeout = lazy_timeout();
    let waits = (0..50_u32).map(|i| {
        let lazy_timeout = Arc::clone(&lazy_timeout);
        let limit = TICK + Duration::from_millis(7) * i;
        tokio::spawn(async move { (never(&lazy_timeout, limit).await, limit) })
    });
    for wait in waits.collect::<Vec<_>>() {
        let (waited, limit) = wait.await.expect("no panic");
        assert_eq!(waited, limit);
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_ready_in_time_comes_through() {
    let lazy_timeout = lazy_timeout();
    let second = Duration::from_secs(1);
    let began = Instant::now();
    let mut ready = pin!(tokio::time::sleep(second));
    let wait = lazy_timeout.limit(Some(began + 2 * second), |cx| {
        ready.as_mut().poll(cx).map(|()| 7)
    });
    assert_eq!(wait.await, Ok(7));
    assert_eq!(began.elapsed(), second);
}

#[tokio::test(start_paused = true)]
async fn without_a_deadline_a_wait_goes_on() {
    let lazy_timeout = lazy_timeout();
    let wait = lazy_timeout.limit(None, |_| Poll::<()>::Pending);
    let hour = Duration::from_secs(3600);
    assert!(tokio::time::timeout(hour, wait).await.is_err());
}

/// How often a wait is polled that is not over before its deadline.
async fn polls(lazy_timeout: &LazyTimeout, limit: Duration) -> usize {
    let mut polls = 0;
    let result = lazy_timeout.limit(Some(Instant::now() + limit), |_| {
        polls += 1;
        Poll::<()>::Pending
    });
    assert_eq!(result.await, Err(Elapsed));
    polls
}

#[tokio::test(start_paused = true)]
async fn a_wait_is_woken_for_its_last_step_only() {
    let limit = Duration::from_secs(5);
    let lazy_timeout = lazy_timeout_for(limit);
    // Others begin all the time, and the clock goes on for each of them.
    let others: Vec<_> = (0..100_u32)
        .map(|i| {
            let lazy_timeout = Arc::clone(&lazy_timeout);
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(47) * i).await;
                polls(&lazy_timeout, limit).await
            })
        })
        .collect();
    for other in others {
        // At the beginning, when the last step begins if that is before the deadline, and at the deadline.
        // The first wait of all starts the clock, which may wake it once more.
        let polls = other.await.expect("no panic");
        assert!((2..=4).contains(&polls), "{polls}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_longer_than_all_steps_ends_at_its_deadline() {
    let lazy_timeout = lazy_timeout_for(Duration::from_millis(100));
    let limit = SHORTEST_STEP * u32::try_from(SLOTS).expect("small") * 3 + Duration::from_millis(7);
    assert_eq!(never(&lazy_timeout, limit).await, limit);
}

#[tokio::test(start_paused = true)]
async fn the_clock_rests_while_nobody_waits_and_goes_on_after_a_long_rest() {
    let lazy_timeout = lazy_timeout();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(100_000)).await;
        let limit = Duration::from_millis(93);
        assert_eq!(never(&lazy_timeout, limit).await, limit);
    }
}
