//! Work that is done again until it succeeds: for work that does no harm if it is done twice.

pub(crate) mod work_error;

use std::{future::Future, sync::Arc, time::Duration};

use redis::RedisError;
use tokio::time::Instant;

use crate::{
    error::{
        Error,
        failure::{Cause, Failure, Fate, Peer},
        outcome::Verdict,
    },
    exclusive::{ExclusivePool, connection::Connection},
    multiplexed::{
        Multiplexed,
        connections::{SharedConnection, SharedConnections},
    },
    node::{Node, Role},
    retry_write::work_error::{WorkError, verdict},
    topology::admission::Admission,
    util::backoff,
};

/// How long and how often [`Pool::retry_write`](crate::Pool::retry_write) and
/// [`Pool::retry_writer`](crate::Pool::retry_writer) try.
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

/// An error of the work, and what it says.
#[derive(Debug)]
struct Failed<E> {
    error: E,
    /// `None` for an error that has to do neither with Redis nor with the pool.
    verdict: Option<Verdict>,
}

impl<E> Failed<E> {
    fn of_pool(error: Error) -> Self
    where
        E: From<Error>,
    {
        let verdict = Some(Verdict::of_pool(&error));
        let error = error.into();
        Self { error, verdict }
    }

    fn of<View: ?Sized>(error: E) -> Self
    where
        E: WorkError<View>,
    {
        let verdict = verdict(error.view());
        Self { error, verdict }
    }

    /// Nobody can have executed anything.
    fn is_harmless(&self) -> bool {
        matches!(self.verdict, Some(Verdict::Hindered | Verdict::Refused))
    }
}

/// The error that the caller gets for all attempts: the last one. But an error that says "not executed"
/// must not hide an earlier one of an attempt that may have been executed.
fn overall<E>(earlier: Option<Failed<E>>, last: Failed<E>) -> Failed<E> {
    match earlier {
        Some(earlier) if last.is_harmless() && !earlier.is_harmless() => earlier,
        _ => last,
    }
}

/// Where the work gets what it sends its commands over.
pub(crate) trait Lender {
    type Lent;

    /// Waits until a command can be sent. No command that is sent over it waits beyond `until`, where
    /// that can be had.
    fn lend(
        &self,
        until: Option<Instant>,
    ) -> impl Future<Output = Result<(Self::Lent, Node), Error>> + Send;

    /// The error when there was nothing to be lent in this time.
    fn waited_too_long(&self, waited: Duration) -> Error;
}

impl Lender for ExclusivePool {
    type Lent = Connection;

    async fn lend(&self, until: Option<Instant>) -> Result<(Connection, Node), Error> {
        let connection = self.checkout().await?;
        let node = connection.node();
        Ok((connection.until(until), node))
    }

    fn waited_too_long(&self, waited: Duration) -> Error {
        self.waited_too_long(waited)
    }
}

/// A handle to the master, and the connections behind it.
#[derive(Debug)]
pub(crate) struct SharedLender {
    pub(crate) handle: Multiplexed,
    pub(crate) connections: Arc<SharedConnections>,
}

impl SharedLender {
    /// The connection that the handle's next command most likely goes over.
    fn connection(&self) -> Option<Arc<SharedConnection>> {
        let set = self.connections.newest();
        let mut open = set.open.iter();
        open.find(|connection| connection.mux.is_open()).cloned()
    }
}

impl Lender for SharedLender {
    type Lent = Multiplexed;

    /// Waits here for a connection and for the end of a fence, and not in the first command: when the
    /// time is up here, nothing was sent.
    async fn lend(&self, until: Option<Instant>) -> Result<(Multiplexed, Node), Error> {
        let since = Instant::now();
        let role_pool = self.connections.role_pool();
        let longest = role_pool.acquire_timeout();
        let left = until.map(|until| until.saturating_duration_since(since));
        let limit = left.map_or(longest, |left| left.min(longest));
        let mut topologies = role_pool.topology.subscribe();
        let mut sets = self.connections.subscribe();
        loop {
            topologies.mark_unchanged();
            sets.mark_unchanged();
            let Some(connection) = self.connection() else {
                let waited = self.connections.wait(since, limit).await;
                waited.map_err(|error| {
                    let own = Error::of(&error).cloned();
                    own.unwrap_or_else(|| self.waited_too_long(since.elapsed()))
                })?;
                continue;
            };
            if role_pool.admission(&connection.target) != Admission::Fenced {
                return Ok((self.handle.clone(), connection.target.node.clone()));
            }
            tokio::select! {
                _ = topologies.changed() => {}
                // The pool may be closed meanwhile.
                _ = sets.changed() => {}
                () = tokio::time::sleep_until(since + limit) => {
                    return Err(self.waited_too_long(since.elapsed()));
                }
            }
        }
    }

    fn waited_too_long(&self, waited: Duration) -> Error {
        self.connections.role_pool().timed_out(None, waited)
    }
}

/// Does the work over what is lent, again and again as the policy says.
pub(crate) async fn run<T, E, View, L, F, Fut>(
    lender: &L,
    policy: &Retry,
    mut work: F,
) -> Result<T, E>
where
    View: ?Sized,
    E: WorkError<View>,
    L: Lender,
    F: FnMut(L::Lent) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let began = Instant::now();
    let mut failures = 0_u32;
    let mut so_far = None;
    loop {
        let failed = match attempt(lender, policy, began, &mut work).await {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        failures = failures.saturating_add(1);
        let longest = failed
            .verdict
            .and_then(|verdict| again(policy, failures, verdict));
        let pause = longest.map(|longest| policy.backoff().draw(longest));
        let failed = overall(so_far.take(), failed);
        let left = policy.deadline.saturating_sub(began.elapsed());
        match pause {
            Some(pause) if pause + policy.slack() < left => tokio::time::sleep(pause).await,
            _ => return Err(failed.error),
        }
        so_far = Some(failed);
    }
}

async fn attempt<T, E, View, L, F, Fut>(
    lender: &L,
    policy: &Retry,
    began: Instant,
    work: &mut F,
) -> Result<T, Failed<E>>
where
    View: ?Sized,
    E: WorkError<View>,
    L: Lender,
    F: FnMut(L::Lent) -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let left = policy.deadline.saturating_sub(began.elapsed());
    // A command that only waits ends a little earlier than the work, and says that it was not
    // executed.
    let until = began.checked_add(policy.deadline - policy.slack());
    let mut lent_to = None;
    let attempt = async {
        let lent = lender.lend(until).await;
        let (lent, node) = lent.map_err(Failed::of_pool)?;
        lent_to = Some(node);
        work(lent).await.map_err(Failed::of)
    };
    let ended = tokio::time::timeout(left, attempt).await;
    ended.unwrap_or_else(|_| {
        Err(match lent_to {
            None => Failed::of_pool(lender.waited_too_long(policy.deadline)),
            // The work was cut off, and may have sent a command.
            Some(node) => {
                let failure = Failure {
                    peer: Peer::Node(Role::Master),
                    node,
                    cause: Cause::Timeout(policy.deadline),
                    fate: Fate::Unknown,
                };
                Failed {
                    error: RedisError::from(failure).into(),
                    verdict: Some(Verdict::Lost),
                }
            }
        })
    })
}

#[cfg(test)]
mod tests;
