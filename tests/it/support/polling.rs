//! Waiting for a condition, polling futures by hand, and letting time pass.

use std::{future::poll_fn, pin::pin, task::Poll, time::Duration};

use redis_rw_pool::Pool;
use tokio::time::Instant;

/// How long a test waits for what a pool does by itself. Generous, for a machine that is busy.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// Far longer than anything here takes, also on a machine with other work.
pub(crate) const LONG: Duration = Duration::from_secs(30);

/// How long a test waits for a failover. A vote that is split costs the Sentinels some twenty seconds,
/// and may be split again.
pub(crate) const FAILOVER_LIMIT: Duration = Duration::from_secs(120);

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// Waits until a condition holds; panics with its name when it does not within the limit.
pub(crate) async fn eventually<F: Future<Output = bool>>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> F,
) {
    let deadline = Instant::now() + limit;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until so many replicas may be read from.
pub(crate) async fn readable_are(pool: &Pool, count: usize, limit: Duration) {
    let what = format!("{count} replicas are readable");
    eventually(&what, limit, || async {
        pool.topology().readable().count() == count
    })
    .await;
}

/// Polls a future at most `polls` times, whenever it is woken, and then drops it; its output if it got
/// that far.
pub(crate) async fn poll_then_drop<T>(future: impl Future<Output = T>, polls: usize) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        match future.as_mut().poll(cx) {
            Poll::Ready(value) => Poll::Ready(Some(value)),
            Poll::Pending if left == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// As [`poll_then_drop`], but drops it only when it has been woken once more: what it was waiting
/// for has come, and it does not take it.
pub(crate) async fn poll_then_drop_on_wake<T>(
    future: impl Future<Output = T>,
    polls: usize,
) -> Option<T> {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Runs futures side by side in one task and returns what they return, in their order.
pub(crate) async fn side_by_side<T>(
    all: impl IntoIterator<Item = impl Future<Output = T>>,
) -> Vec<T> {
    let mut all: Vec<_> = all.into_iter().map(Box::pin).collect();
    let mut done: Vec<Option<T>> = all.iter().map(|_| None).collect();
    poll_fn(|cx| {
        let mut pending = false;
        for (future, done) in all.iter_mut().zip(&mut done) {
            if done.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(value) => *done = Some(value),
                    Poll::Pending => pending = true,
                }
            }
        }
        if pending {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Lets time pass in no time, and the reaper see what time it is. Nothing must be under way that
/// has a deadline; needs the runtime with one thread.
pub(crate) async fn skip(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
    turn().await;
}

/// Lets the runtime see what has arrived at its sockets.
pub(crate) async fn turn() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

pub(crate) fn alive_tasks() -> usize {
    tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks()
}

/// Waits until no more tasks are left than there were before.
pub(crate) async fn tasks_are_back_to(base: usize) {
    let back = || async { alive_tasks() <= base };
    eventually("no task is left over", LONG, back).await;
}
