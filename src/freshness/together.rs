//! Waits for several nodes at once, on the caller's task.

use std::{future::poll_fn, pin::Pin, task::Poll};

/// What comes of one node, if anything does.
pub(crate) type OfNode<'a, T> = Pin<Box<dyn Future<Output = Option<T>> + Send + 'a>>;

pub(crate) fn boxed<'a, T>(future: impl Future<Output = Option<T>> + Send + 'a) -> OfNode<'a, T> {
    Box::pin(future)
}

/// Takes the results in the order in which they come, until all are there or one is enough.
///
/// # Cancel safety
///
/// Dropping the future drops all of them.
pub(crate) async fn together<T>(
    mut futures: Vec<OfNode<'_, T>>,
    mut is_enough: impl FnMut(T) -> bool,
) {
    poll_fn(|cx| {
        let mut enough = false;
        futures.retain_mut(|future| {
            if enough {
                return true;
            }
            match future.as_mut().poll(cx) {
                Poll::Ready(result) => {
                    enough = result.is_some_and(&mut is_enough);
                    false
                }
                Poll::Pending => true,
            }
        });
        if enough || futures.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn after(millis: u64, result: Option<u64>) -> OfNode<'static, u64> {
        boxed(async move {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            result
        })
    }

    #[tokio::test(start_paused = true)]
    async fn results_come_in_their_order_and_the_slow_are_not_waited_for() {
        let began = tokio::time::Instant::now();
        let mut seen = Vec::new();
        let futures = vec![
            after(3000, Some(1)),
            after(20, Some(2)),
            after(5, None),
            after(10, Some(3)),
        ];
        together(futures, |result| {
            seen.push(result);
            seen.len() == 2
        })
        .await;
        assert_eq!(seen, [3, 2]);
        assert_eq!(began.elapsed(), Duration::from_millis(20));
        together(vec![after(5, None), after(7, Some(1))], |_| false).await;
        assert_eq!(began.elapsed(), Duration::from_millis(27));
        together(Vec::new(), |()| true).await;
    }
}
