//! Optimistic locking: work on watched keys, done again until no other client changed them meanwhile.

use std::{future::Future, sync::Arc, time::Duration};

use parking_lot::Mutex;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, RedisResult, ToRedisArgs, Value, cmd, pipe};
use tokio::time::Instant;

use crate::{
    error::{
        failure::{Cause, Failure, Fate},
        outcome::{Outcome, Verdict, outcome},
    },
    exclusive::connection::Connection,
    retry::request::Request,
    status::discard::Discard,
    util::backoff::TRANSACTION,
};

/// The work is done at most this many times. The documentation of `transaction` names this number.
const MOST_ROUNDS: u32 = 100;

/// What became of the commands that were sent since the keys were watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Effect {
    /// They changed nothing.
    Nothing,
    Executed,
    /// They may have changed something: a reply was lost.
    Unknown,
}

impl Effect {
    pub(crate) fn of<R: Request>(request: R, result: &RedisResult<R::Reply>) -> Self {
        if request.is_read() {
            return Self::Nothing;
        }
        match result {
            Ok(reply) if request.has_effect(reply) => Self::Executed,
            Err(error) if outcome(error) != Outcome::NotExecuted => Self::Unknown,
            _ => Self::Nothing,
        }
    }
}

/// How the work ended that was done under watched keys.
enum Ended<T> {
    Done(T),
    /// Another client changed a watched key, so nothing was executed.
    Conflict,
    /// Nothing was executed, and the work may succeed over another connection.
    Hindered(RedisError),
    Failed(RedisError),
}

impl Connection {
    /// Does work on keys that no other client must change meanwhile. It uses `WATCH`, and does the work
    /// again until no other client has changed them.
    ///
    /// Watches the keys and calls `work` with this connection and an empty atomic pipeline. `work`
    /// reads what it needs over the connection, fills the pipeline and sends it. The pipeline must be
    /// the last that it sends. If a watched key was changed meanwhile, the server executes nothing of
    /// the pipeline and replies nil, which is `None` if an `Option` is asked for. Then everything begins
    /// anew, up to 100 times in all, with pauses that grow up to 64 ms.
    ///
    /// `work` may be done several times, so all that it does apart from its pipeline must do no harm if
    /// it is repeated. `Ok(None)` asks for another time. `Ok(Some(value))` and `Err` end the
    /// transaction, with `UNWATCH` if the pipeline was not sent. The signature is like that of
    /// [`redis::aio::transaction_async`], which needs a connection that can be cloned.
    ///
    /// ```no_run
    /// use redis_rw_pool::{Pool, redis::{AsyncCommands, RedisResult}};
    ///
    /// async fn double(pool: &Pool, key: &str) -> RedisResult<i64> {
    ///     let mut conn = pool.write().await?;
    ///     let (doubled,) = conn
    ///         .transaction(key, |mut conn, mut pipe| async move {
    ///             let value: i64 = conn.get(key).await?;
    ///             pipe.set(key, value * 2).ignore().get(key);
    ///             pipe.query_async::<Option<(i64,)>>(&mut conn).await
    ///         })
    ///         .await?;
    ///     Ok(doubled)
    /// }
    /// ```
    ///
    /// # Failover
    ///
    /// The server forgets the watched keys when the connection is lost. If the master is replaced or the
    /// connection is lost during the work, the next command of `work` fails, *not executed*. The
    /// transaction then begins anew on the new master, within the time that a checkout has, as long as
    /// nothing of it can have been executed. It also begins anew if the master refuses the pipeline
    /// because it takes no writes any more (`READONLY`).
    ///
    /// A pipeline that was sent and has no reply is *unknown*. It is not sent again, and the transaction
    /// ends with that error, even if `work` asks for another time.
    ///
    /// # Errors
    ///
    /// - *not executed*, if another client changed a watched key the last time, too;
    /// - the error of `work`, unless the transaction begins anew as described above;
    /// - as any command, if the keys could not be watched. Then nothing was executed;
    /// - a client error without a single key, and within the `work` of another transaction.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future closes the connection, unless the caller had set up other state on it. If
    /// the pipeline was on its way it may be executed. The next command on the guard goes over a fresh
    /// connection. `work` must drop the connection that it was given before it ends. If it keeps the
    /// connection, this guard has none, and its commands fail, not executed.
    pub async fn transaction<K, T, F, Fut>(&mut self, keys: K, mut work: F) -> RedisResult<T>
    where
        K: ToRedisArgs,
        F: FnMut(Self, Pipeline) -> Fut,
        Fut: Future<Output = RedisResult<Option<T>>>,
    {
        let watch = cmd("WATCH").arg(keys).take();
        self.ensure_may_watch(&watch)?;
        let mut hindered_since = None;
        for round in 1..=MOST_ROUNDS {
            let error = match self.round(&watch, &mut work).await {
                Ended::Done(value) => return Ok(value),
                Ended::Failed(error) => return Err(error),
                Ended::Conflict => None,
                Ended::Hindered(error) => {
                    let since = *hindered_since.get_or_insert_with(Instant::now);
                    if since.elapsed() >= self.acquire_timeout() {
                        return Err(error);
                    }
                    Some(error)
                }
            };
            if round == MOST_ROUNDS {
                let contended = || self.failure(Cause::Contended(MOST_ROUNDS));
                return Err(error.unwrap_or_else(contended));
            }
            let pause = TRANSACTION.draw(longest_pause(round));
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        unreachable!("BUG: the last round returns")
    }

    fn ensure_may_watch(&self, watch: &Cmd) -> RedisResult<()> {
        if watch.args_iter().len() < 2 {
            let why = "a transaction needs a key to watch; use an atomic pipeline without one";
            return Err((ErrorKind::Client, why).into());
        }
        if self.effect.is_some() {
            let why = "a transaction cannot begin within another, whose keys it would unwatch";
            return Err((ErrorKind::Client, why).into());
        }
        Ok(())
    }

    async fn round<T, F, Fut>(&mut self, watch: &Cmd, work: &mut F) -> Ended<T>
    where
        F: FnMut(Self, Pipeline) -> Fut,
        Fut: Future<Output = RedisResult<Option<T>>>,
    {
        if self.is_away() {
            return Ended::Failed(self.failure(Cause::Unusable));
        }
        let mut round = Round {
            fresh: self.is_replaceable(),
            connection: self,
            returned: Arc::default(),
        };
        match round.connection.command(watch).await {
            Ok(Value::ServerError(error)) => return Ended::Failed(error.into()),
            Ok(_) => {}
            Err(error) => {
                let error = not_executed(error);
                return if round.fresh && may_pass(&error) {
                    Ended::Hindered(error)
                } else {
                    Ended::Failed(error)
                };
            }
        }
        let lent = round.connection.lend(Arc::clone(&round.returned));
        let mut pipeline = pipe();
        pipeline.atomic();
        let worked = work(lent, pipeline).await;
        let effect = round.take_back();
        let ended = round.judge(worked, effect);
        round.unwatch().await;
        ended
    }
}

/// One round of the work. However it ends, no key stays watched: if `UNWATCH` did not do it, the
/// connection is closed.
struct Round<'a> {
    connection: &'a mut Connection,
    /// Where the work's connection goes when it is dropped.
    returned: Arc<Mutex<Option<Connection>>>,
    /// The caller had set up nothing on the connection, so that another one serves as well.
    fresh: bool,
}

impl Round<'_> {
    /// What became of the commands of the work; unknown if it has kept its connection.
    fn take_back(&mut self) -> Effect {
        let returned = self.returned.lock().take();
        match returned {
            Some(returned) => self.connection.take_back(returned),
            None => Effect::Unknown,
        }
    }

    fn judge<T>(&self, worked: RedisResult<Option<T>>, effect: Effect) -> Ended<T> {
        let connection = &*self.connection;
        // Whether the work itself has cancelled a command.
        let cut = connection.is_away() || connection.dirt() == Some(Discard::Cancelled);
        match worked {
            Ok(Some(value)) => Ended::Done(value),
            Ok(None) if cut || effect == Effect::Unknown => {
                Ended::Failed(connection.failure_with(Cause::Unusable, Fate::Unknown))
            }
            Ok(None) => Ended::Conflict,
            Err(error) => {
                let refused = connection.is_retired() && Verdict::of(&error) == Verdict::Hindered;
                let again = self.fresh && !cut && effect == Effect::Nothing;
                if again && (refused || may_pass(&error)) {
                    Ended::Hindered(error)
                } else {
                    Ended::Failed(error)
                }
            }
        }
    }

    async fn unwatch(&mut self) {
        if self.connection.is_watching() && self.connection.is_fit() {
            // If it fails, the connection is closed.
            let _ = self.connection.command(&cmd("UNWATCH")).await;
        }
    }
}

impl Drop for Round<'_> {
    fn drop(&mut self) {
        self.take_back();
        if self.fresh {
            self.connection.close_if_only_watching();
        }
    }
}

/// Whether a command failed together with its connection, so that it may succeed over another one.
fn may_pass(error: &RedisError) -> bool {
    Failure::of(error).is_some_and(|failure| {
        matches!(
            failure.cause,
            Cause::Unusable
                | Cause::Closed
                | Cause::Io(..)
                | Cause::Superseded(_)
                | Cause::Withdrawn
        )
    })
}

/// The error of a `WATCH` as *not executed*: even if the server executed it, it changed nothing.
fn not_executed(error: RedisError) -> RedisError {
    match Failure::of(&error) {
        Some(failure) => Failure {
            peer: failure.peer,
            node: failure.node.clone(),
            cause: failure.cause.clone(),
            fate: Fate::NotExecuted,
        }
        .into(),
        None => error,
    }
}

/// The longest pause after so many rounds. The second round begins at once.
fn longest_pause(rounds: u32) -> Duration {
    TRANSACTION.after(rounds.saturating_sub(1))
}

#[cfg(test)]
mod tests;
