//! Whether a command that failed was executed, as its error tells.

use std::error::Error as StdError;

use redis::{ErrorKind, RedisError, ServerError, ServerErrorKind};

use crate::error::{
    Error,
    code::{self, Execution},
    failure::{self, Failure, Fate},
};

/// Whether the server has executed a command that failed.
///
/// From [`outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(
    clippy::exhaustive_enums,
    reason = "callers decide by it and should have to think of every case; there is no fourth"
)]
pub enum Outcome {
    /// It was not executed, and sending it again cannot execute it twice.
    NotExecuted,
    /// It was sent and has no reply: it may have been executed, or may yet be. Send it again only if it
    /// does no harm when it is executed twice.
    Unknown,
    /// The server has replied: the command ran, and failed or did what the reply says. Sent again, it
    /// would in general fail again.
    Executed,
}

impl Outcome {
    /// Its name in lower snake case, for a metric's label or a log: `not_executed`, `unknown` or
    /// `executed`. These names are stable.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotExecuted => "not_executed",
            Self::Unknown => "unknown",
            Self::Executed => "executed",
        }
    }

    /// Whether the command may be sent again.
    ///
    /// `idempotent` is what you know of the command: that it does no harm when it is executed twice, like
    /// `SET` or `DEL` and unlike `INCR` or `RPUSH`.
    ///
    /// | | `idempotent` | not |
    /// |---|---|---|
    /// | [`NotExecuted`](Self::NotExecuted) | yes | yes |
    /// | [`Unknown`](Self::Unknown) | yes | no |
    /// | [`Executed`](Self::Executed) | no | no |
    ///
    /// It says that another try does no harm, not that it will help: a command that the server does not
    /// know was not executed either, and never will be.
    /// [`Pool::retry_write`](crate::Pool::retry_write) tells these apart, and pauses between its tries.
    ///
    /// ```
    /// use redis_rw_pool::Outcome;
    ///
    /// assert!(Outcome::NotExecuted.may_retry(false));
    /// assert!(Outcome::Unknown.may_retry(true));
    /// assert!(!Outcome::Unknown.may_retry(false));
    /// assert!(!Outcome::Executed.may_retry(true));
    /// ```
    #[must_use]
    pub const fn may_retry(self, idempotent: bool) -> bool {
        match self {
            Self::NotExecuted => true,
            Self::Unknown => idempotent,
            Self::Executed => false,
        }
    }
}

/// Tells from an error whether the command was executed.
///
/// Takes every error of a [`Connection`](crate::Connection) and of a
/// [`Multiplexed`](crate::Multiplexed) handle, and this crate's own [`Error`], converted into a
/// [`RedisError`]. The answer is about the command, the pipeline or the script that failed, not about
/// those that the caller sent before it.
///
/// - Not executed: the pool could not lend a connection; nothing of the command was written;
///   the crate refused to send it; or the server refused to begin with it, with `READONLY`, `REDIRECT`,
///   `LOADING`, `MASTERDOWN`, `NOREPLICAS`, `MISCONF`, `OOM`, `BUSY`, `NOAUTH`, `NOPERM`, `NOSCRIPT`,
///   as an unknown command, subcommand or function or one with the wrong number of arguments, with
///   `Protocol error`, with `max number of clients reached`, and the like. So is an atomic pipeline that
///   the server discarded (`EXECABORT`).
/// - Executed: any other error reply, for example `WRONGTYPE`; a reply that could not be converted into
///   the type that was asked for; a plain pipeline in which any command had an error reply, since the
///   others were executed. [`RedisError::into_server_errors`] says which ones had an error.
/// - Unknown: everything else. The connection was lost, or the time was up, after the command was
///   written; and errors that come neither from this crate nor from a server.
///
/// If a script itself returns an error in the words of such a refusal, it counts as one.
///
/// If the server discards a transaction because a watched key changed, that is no error in Redis:
/// the reply is nil. Ask for an `Option`, or it becomes an error of conversion. An error within the
/// reply to an `EXEC` that was sent by hand counts as if it were the whole reply. Send atomic
/// pipelines ([`redis::Pipeline::atomic`]) instead: for them the answer is right.
///
/// ```
/// use redis_rw_pool::{Connection, Outcome, outcome, redis::AsyncCommands};
///
/// async fn count(conn: &mut Connection) -> Option<i64> {
///     match conn.incr("visits", 1).await {
///         Ok(visits) => Some(visits),
///         Err(error) => {
///             match outcome(&error) {
///                 Outcome::NotExecuted => println!("not counted, may be tried again: {error}"),
///                 Outcome::Unknown => println!("perhaps counted: {error}"),
///                 Outcome::Executed => println!("it is no counter: {error}"),
///             }
///             None
///         }
///     }
/// }
/// ```
pub fn outcome(error: &RedisError) -> Outcome {
    Verdict::of(error).outcome()
}

/// As [`outcome`] says of the error that this reply becomes.
pub(crate) fn outcome_of_reply(reply: &ServerError) -> Outcome {
    Verdict::of_reply(reply).outcome()
}

/// The outcome, and whether another try may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Not executed, for a reason that may pass.
    Hindered,
    /// Not executed, and only a change of the command or of a configuration will help.
    Refused,
    /// Sent, and never answered.
    Lost,
    /// A pipeline: some of its commands were hindered, and the others executed.
    Torn,
    /// Executed; the server would answer so again.
    Answered,
}

impl Verdict {
    fn outcome(self) -> Outcome {
        match self {
            Self::Hindered | Self::Refused => Outcome::NotExecuted,
            Self::Lost => Outcome::Unknown,
            Self::Torn | Self::Answered => Outcome::Executed,
        }
    }

    pub(crate) fn of(error: &RedisError) -> Self {
        match error.kind() {
            ErrorKind::Io => Self::of_failure(error),
            ErrorKind::Server(_) | ErrorKind::Extension => Self::of_replies(error),
            ErrorKind::Client
            | ErrorKind::AuthenticationFailed
            | ErrorKind::InvalidClientConfig
            | ErrorKind::RESP3NotSupported => Self::Refused,
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => Self::Answered,
            _ => Self::Lost,
        }
    }

    fn of_failure(error: &RedisError) -> Self {
        if let Some(failure) = Failure::of(error) {
            return Self::of_fate(failure.fate);
        }
        failure::carried(error).map_or(Self::Lost, Self::of_pool)
    }

    fn of_fate(fate: Fate) -> Self {
        match fate {
            Fate::NotExecuted | Fate::Own => Self::Hindered,
            Fate::Unknown => Self::Lost,
        }
    }

    /// Of an error of the pool itself: no command was sent, or it was a read whose reply was dropped.
    pub(crate) fn of_pool(error: &Error) -> Self {
        match error {
            // It is about a write that was answered.
            Error::TooFewCopies { .. } => Self::Answered,
            _ if error.is_transient() => Self::Hindered,
            _ => Self::Refused,
        }
    }

    /// What an error of any type says if it is one of ours or of the redis crate. Also if it is only
    /// the source of one: an error that shows itself as its cause hides the cause and shows that.
    pub(crate) fn found_in(error: &(dyn StdError + 'static)) -> Option<Self> {
        if let Some(error) = error.downcast_ref() {
            return Some(Self::of(error));
        }
        if let Some(error) = error.downcast_ref() {
            return Some(Self::of_pool(error));
        }
        if let Some(reply) = error.downcast_ref() {
            return Some(Self::of_reply(reply));
        }
        let source = failure::Payload::of(error)?;
        let failure = source.get::<Failure>().map(|failure| failure.fate);
        let pool = || source.get().map(Self::of_pool);
        failure
            .map(Self::of_fate)
            .or_else(pool)
            .or(Some(Self::Lost))
    }

    /// One error reply, or those to the commands of a pipeline.
    fn of_replies(error: &RedisError) -> Self {
        let Some(replies) = error.clone().into_server_errors() else {
            return Self::Lost;
        };
        let hindered = |(_, reply): &(usize, ServerError)| Self::of_reply(reply) == Self::Hindered;
        // In the redis crate, the error of a single reply has a source, and that of a pipeline has none.
        if let (true, [(_, reply)]) = (has_source(error), &*replies) {
            Self::of_reply(reply)
        } else if is_discarded_transaction(error, &replies) {
            if replies.iter().all(hindered) {
                Self::Hindered
            } else {
                Self::Refused
            }
        } else if replies.iter().all(hindered) {
            Self::Torn
        } else {
            Self::Answered
        }
    }

    fn of_reply(reply: &ServerError) -> Self {
        match code::execution(reply.code(), reply.details().unwrap_or_default()) {
            Execution::NotNow => Self::Hindered,
            Execution::Never => Self::Refused,
            Execution::Done => Self::Answered,
        }
    }
}

/// Whether the error is that of an atomic pipeline that the server discarded. The redis crate lists
/// the replies to the commands that were not queued, and gives the whole the kind of an abort.
fn is_discarded_transaction(error: &RedisError, replies: &[(usize, ServerError)]) -> bool {
    let abort = ServerErrorKind::ExecAbort;
    let first = replies.first().and_then(|(_, reply)| reply.kind());
    error.kind() == ErrorKind::Server(abort) && first != Some(abort)
}

fn has_source(error: &RedisError) -> bool {
    std::error::Error::source(error).is_some()
}

#[cfg(test)]
mod tests;
