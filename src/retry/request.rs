//! What a caller sends: one command, or a pipeline.

pub(crate) mod positioned;

use redis::{Cmd, Pipeline, RedisResult, ServerError, Value};

use crate::{
    error::{
        outcome::{Outcome, outcome_of_reply},
        reply_class::{self, ReplyClass},
    },
    wire::{
        command::{
            self, Kind, Shareable,
            affinity::Affinity,
            operation::Operation,
            read_only::{is_read, is_script},
        },
        connection::WireConnection,
        mux::{Limit, Mux, MuxError},
        position_question::{Placed, Want},
    },
};

/// What the rules of sending need to know of a command or of a pipeline.
pub(crate) trait Request: Copy + Send + Sync {
    type Reply: Send + Sync;

    fn over(
        self,
        wire: &mut WireConnection,
    ) -> impl Future<Output = RedisResult<Self::Reply>> + Send;

    /// How many replies it is.
    fn count(self, reply: &Self::Reply) -> usize;

    /// Whether the reply, or any of those to a pipeline, is an error.
    fn has_error(self, reply: &Self::Reply) -> bool;

    /// What is known of a request whose reply has an error.
    fn outcome(self, reply: &Self::Reply) -> Outcome;

    /// What the reply says about its node; of the replies to a pipeline the gravest.
    fn class(self, reply: &Self::Reply) -> ReplyClass;

    /// Whether the reply, whose class is a refusal, says that nothing at all was executed.
    fn is_refused(self, reply: &Self::Reply) -> bool;

    /// Whether the reply leaves it possible that the server changed anything. Asked only of requests
    /// that do not just read.
    fn has_effect(self, reply: &Self::Reply) -> bool;

    /// Whether it is known to read only.
    fn is_read(self) -> bool;

    fn affinity(self) -> Affinity;

    /// Whether it publishes a message.
    fn publishes(self) -> bool;

    /// What it is, for an event.
    fn name(self) -> String;

    /// What it is, for a trace.
    fn operation(self) -> Operation;

    /// The error that is the reply; of the replies to a pipeline the first one, also if it is that of a
    /// command in a transaction.
    fn first_error(self, reply: &Self::Reply) -> Option<&ServerError>;
}

/// A request as the caller made it: the positions around it can be asked for.
pub(crate) trait Askable: Request {
    /// As [`over`](Request::over), with the positions around it, where they may be asked for.
    fn over_placed(
        self,
        wire: &mut WireConnection,
        want: Want,
    ) -> impl Future<Output = RedisResult<Placed<Self::Reply>>> + Send;

    fn over_shared(
        self,
        mux: &Mux,
        want: Want,
        limit: Option<Limit>,
    ) -> impl Future<Output = Result<Placed<Self::Reply>, MuxError>> + Send;

    /// Whether it may write data. What only reads does not, nor what is about its connection alone.
    fn may_write(self) -> bool;

    /// Whether the reply says that all of it waits for an `EXEC`.
    fn is_queued(self, reply: &Self::Reply) -> bool;

    /// Whether its caller waits for a reply.
    fn has_reply(self) -> bool;

    /// Whether it begins a transaction and does nothing else.
    fn is_multi(self) -> bool;

    /// Whether the same request would do the same at another node, over a connection that callers share.
    fn is_portable(self) -> bool;
}

impl Request for &Cmd {
    type Reply = Value;

    fn over(self, wire: &mut WireConnection) -> impl Future<Output = RedisResult<Value>> + Send {
        wire.command(self)
    }

    #[inline]
    fn count(self, _: &Value) -> usize {
        1
    }

    #[inline]
    fn has_error(self, reply: &Value) -> bool {
        is_error(reply)
    }

    fn outcome(self, reply: &Value) -> Outcome {
        reply_outcome(Some(reply))
    }

    #[inline]
    fn class(self, reply: &Value) -> ReplyClass {
        ReplyClass::of(reply)
    }

    fn is_refused(self, reply: &Value) -> bool {
        // An EXEC ends its transaction, whatever its reply says.
        let abort = matches!(reply, Value::ServerError(error) if reply_class::is_abort(error));
        !abort && !is_script(self)
    }

    fn has_effect(self, reply: &Value) -> bool {
        !is_error(reply) || is_script(self)
    }

    fn is_read(self) -> bool {
        is_read(self)
    }

    fn affinity(self) -> Affinity {
        Affinity::of(self)
    }

    #[inline]
    fn publishes(self) -> bool {
        Kind::of(self) == Kind::Publishes
    }

    fn name(self) -> String {
        command::name(self)
    }

    fn operation(self) -> Operation {
        Operation::of_command(self)
    }

    fn first_error(self, reply: &Value) -> Option<&ServerError> {
        error_in(reply)
    }
}

impl Askable for &Cmd {
    fn over_placed(
        self,
        wire: &mut WireConnection,
        want: Want,
    ) -> impl Future<Output = RedisResult<Placed<Value>>> + Send {
        wire.command_placed(self, want)
    }

    fn over_shared(
        self,
        mux: &Mux,
        want: Want,
        limit: Option<Limit>,
    ) -> impl Future<Output = Result<Placed<Value>, MuxError>> + Send {
        mux.command(self, want, limit)
    }

    fn may_write(self) -> bool {
        !is_read(self) && !Kind::of(self).is_about_connection()
    }

    fn is_queued(self, reply: &Value) -> bool {
        is_queued(reply)
    }

    fn has_reply(self) -> bool {
        !self.is_no_response()
    }

    fn is_multi(self) -> bool {
        Kind::of(self) == Kind::Multi
    }

    fn is_portable(self) -> bool {
        let is_shareable = matches!(
            command::shareable(self),
            Shareable::Yes | Shareable::YesWithScript
        );
        // The other node may not know the script.
        is_shareable && Kind::of(self) != Kind::EvalSha
    }
}

/// A pipeline, or the rest of it that is still to be sent.
#[derive(Clone, Copy)]
pub(crate) struct PipelineRequest<'a> {
    pipeline: &'a Pipeline,
    next: usize,
}

impl<'a> PipelineRequest<'a> {
    pub(crate) fn of(pipeline: &'a Pipeline) -> Self {
        Self::rest(pipeline, 0)
    }

    /// From the command at `next` on.
    pub(crate) fn rest(pipeline: &'a Pipeline, next: usize) -> Self {
        Self { pipeline, next }
    }
}

impl Request for PipelineRequest<'_> {
    type Reply = Vec<Value>;

    fn over(
        self,
        wire: &mut WireConnection,
    ) -> impl Future<Output = RedisResult<Vec<Value>>> + Send {
        wire.pipeline(self.pipeline)
    }

    #[inline]
    fn count(self, replies: &Vec<Value>) -> usize {
        replies.len()
    }

    #[inline]
    fn has_error(self, replies: &Vec<Value>) -> bool {
        replies.iter().any(is_error)
    }

    fn outcome(self, replies: &Vec<Value>) -> Outcome {
        // Of a transaction nothing is executed without its EXEC. Of the commands of a plain pipeline,
        // others were.
        if self.pipeline.is_transaction() {
            reply_outcome(replies.last())
        } else {
            Outcome::Executed
        }
    }

    #[inline]
    fn class(self, reply: &Vec<Value>) -> ReplyClass {
        ReplyClass::of_all(reply)
    }

    fn is_refused(self, reply: &Vec<Value>) -> bool {
        if self.pipeline.is_transaction() {
            // An EXEC that has executed anything has an array for a reply.
            return matches!(reply.last(), Some(Value::ServerError(_)));
        }
        let refused = |reply| {
            matches!(
                ReplyClass::of(reply),
                ReplyClass::NotServing | ReplyClass::ReadOnly
            )
        };
        reply.iter().all(refused) && !self.pipeline.cmd_iter().any(is_script)
    }

    fn has_effect(self, replies: &Vec<Value>) -> bool {
        if self.pipeline.is_transaction() {
            // Nil where a watched key was changed.
            return !matches!(replies.last(), Some(Value::Nil | Value::ServerError(_)));
        }
        self.pipeline.cmd_iter().any(is_script) || !replies.iter().all(is_error)
    }

    fn is_read(self) -> bool {
        self.pipeline.cmd_iter().all(is_read)
    }

    fn affinity(self) -> Affinity {
        Affinity::of_all(self.pipeline)
    }

    fn publishes(self) -> bool {
        self.pipeline.cmd_iter().any(Request::publishes)
    }

    fn name(self) -> String {
        "pipeline".to_owned()
    }

    fn operation(self) -> Operation {
        Operation::of_pipeline(self.pipeline)
    }

    fn first_error(self, replies: &Vec<Value>) -> Option<&ServerError> {
        if self.pipeline.is_transaction()
            && let Some(Value::Array(replies)) = replies.last()
        {
            return replies.iter().find_map(error_in);
        }
        // That of an EXEC says more than those of its commands.
        match replies.last().and_then(error_in) {
            Some(error) if self.pipeline.is_transaction() => Some(error),
            _ => replies.iter().find_map(error_in),
        }
    }
}

impl Askable for PipelineRequest<'_> {
    fn over_placed(
        self,
        wire: &mut WireConnection,
        want: Want,
    ) -> impl Future<Output = RedisResult<Placed<Vec<Value>>>> + Send {
        wire.pipeline_placed(self.pipeline, want)
    }

    fn over_shared(
        self,
        mux: &Mux,
        want: Want,
        limit: Option<Limit>,
    ) -> impl Future<Output = Result<Placed<Vec<Value>>, MuxError>> + Send {
        mux.pipeline(self.pipeline, self.next, want, limit)
    }

    fn may_write(self) -> bool {
        self.pipeline.cmd_iter().any(Askable::may_write)
    }

    fn is_queued(self, replies: &Vec<Value>) -> bool {
        replies.iter().all(is_queued)
    }

    fn has_reply(self) -> bool {
        true
    }

    fn is_multi(self) -> bool {
        false
    }

    fn is_portable(self) -> bool {
        self.pipeline.cmd_iter().all(Askable::is_portable)
    }
}

fn is_queued(reply: &Value) -> bool {
    matches!(reply, Value::SimpleString(word) if word == "QUEUED")
}

fn error_in(reply: &Value) -> Option<&ServerError> {
    match reply {
        Value::ServerError(error) => Some(error),
        _ => None,
    }
}

#[inline]
fn is_error(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(_))
}

/// A reply that is no error, as the EXEC of a transaction in which a command failed, was executed.
fn reply_outcome(reply: Option<&Value>) -> Outcome {
    match reply {
        Some(Value::ServerError(error)) => outcome_of_reply(error),
        _ => Outcome::Executed,
    }
}

#[cfg(test)]
mod tests;
