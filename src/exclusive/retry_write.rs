//! Work that is done again until it succeeds: for work that does no harm if it is done twice.

use std::{future::Future, time::Duration};

use redis::{RedisError, RedisResult};
use tokio::time::Instant;

use crate::{
    error::{
        failure::{Cause, Failure, Fate, Peer},
        outcome::{Outcome, Verdict, outcome},
    },
    exclusive::{ExclusivePool, connection::Connection},
    node::Role,
    util::backoff,
};

/// How long and how often [`Pool::retry_write`](crate::Pool::retry_write) tries.
///
/// ```
/// use std::time::Duration;
///
/// use redis_rw_pool::Retry;
///
/// let mut policy = Retry::within(Duration::from_secs(3));
/// policy.max_delay = Duration::from_millis(100);
/// assert_eq!(policy.first_delay, Duration::from_millis(10));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Retry {
    /// The time for everything: all attempts, the last one included, and the pauses between them. A
    /// command that still waits by then for a master, or for a master that is loading, ends as not
    /// executed. Defaults to 10 s.
    pub deadline: Duration,
    /// The limit of the first pause; each later limit is twice the one before. The pause itself is
    /// drawn at random from zero to the limit, so that many callers that failed together do not come
    /// back together. Defaults to 10 ms.
    pub first_delay: Duration,
    /// No pause is longer than this. Defaults to 500 ms.
    pub max_delay: Duration,
}

impl Retry {
    /// The default policy with this deadline.
    pub fn within(deadline: Duration) -> Self {
        Self {
            deadline,
            ..Self::default()
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(10),
            first_delay: Duration::from_millis(10),
            max_delay: Duration::from_millis(500),
        }
    }
}

/// No command is sent, and none waits, this shortly before the deadline. It is more than timers are late
/// by, and leaves time for the reply to the command that was sent last.
const SLACK: Duration = Duration::from_millis(50);

impl Retry {
    fn backoff(&self) -> backoff::Policy {
        backoff::retry_write(self.first_delay, self.max_delay)
    }

    fn slack(&self) -> Duration {
        SLACK.min(self.deadline / 10)
    }
}

/// The longest pause before the next attempt, after this many failures; `None` if there must be no
/// next attempt.
fn again(policy: &Retry, failures: u32, verdict: Verdict) -> Option<Duration> {
    match verdict {
        Verdict::Refused | Verdict::Answered => None,
        Verdict::Hindered | Verdict::Lost | Verdict::Torn => Some(policy.backoff().after(failures)),
    }
}

/// The error that the caller gets for all attempts: the last one. But an error that says "not executed"
/// must not hide an earlier one of an attempt that may have been executed.
fn overall(earlier: Option<RedisError>, last: RedisError) -> RedisError {
    match earlier {
        Some(earlier) if outcome(&last) == Outcome::NotExecuted => {
            if outcome(&earlier) == Outcome::NotExecuted {
                last
            } else {
                earlier
            }
        }
        _ => last,
    }
}

/// Does the work on a connection of this pool, again and again as the policy says.
pub(crate) async fn run<T, F, Fut>(
    pool: &ExclusivePool,
    policy: &Retry,
    mut work: F,
) -> RedisResult<T>
where
    F: FnMut(Connection) -> Fut,
    Fut: Future<Output = RedisResult<T>>,
{
    let began = Instant::now();
    let mut failures = 0_u32;
    let mut so_far = None;
    loop {
        let error = match attempt(pool, policy, began, &mut work).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        let longest = again(policy, failures, Verdict::of(&error));
        let pause = longest.map(|longest| policy.backoff().draw(longest));
        let error = overall(so_far.take(), error);
        let left = policy.deadline.saturating_sub(began.elapsed());
        match pause {
            Some(pause) if pause + policy.slack() < left => tokio::time::sleep(pause).await,
            _ => return Err(error),
        }
        so_far = Some(error);
    }
}

async fn attempt<T, F, Fut>(
    pool: &ExclusivePool,
    policy: &Retry,
    began: Instant,
    work: &mut F,
) -> RedisResult<T>
where
    F: FnMut(Connection) -> Fut,
    Fut: Future<Output = RedisResult<T>>,
{
    let left = policy.deadline.saturating_sub(began.elapsed());
    // A command that only waits ends a little earlier than the work, and says that it was not
    // executed.
    let until = began.checked_add(policy.deadline - policy.slack());
    let mut lent = None;
    let attempt = async {
        let connection = pool.checkout().await?;
        lent = Some(connection.node());
        work(connection.until(until)).await
    };
    let ended = tokio::time::timeout(left, attempt).await;
    ended.unwrap_or_else(|_| {
        Err(match lent {
            None => pool.waited_too_long(policy.deadline).into(),
            // The work was cut off, and may have sent a command.
            Some(node) => {
                let failure = Failure {
                    peer: Peer::Node(Role::Master),
                    node,
                    cause: Cause::Timeout(policy.deadline),
                    fate: Fate::Unknown,
                };
                failure.into()
            }
        })
    })
}

#[cfg(test)]
mod tests;
