//! One command over a shared connection, in the way that nearly all take.
//!
//! Written by hand, because it is what every command pays for: one future with one state. Whatever is
//! not simply answered goes on as an `async fn`.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
};

use redis::{Cmd, RedisFuture, RedisResult, ServerError, Value};

use crate::{
    error::{failure::Fate, outcome::outcome_of_reply, reply_class::ReplyClass},
    multiplexed::{
        Multiplexed, chosen_from, connections::SharedConnection, fresh::Accepted, retry::Tried,
    },
    retry::request::Request,
    role_pool::scripts,
    wire::{
        command::read_only,
        mux::{Mux, MuxError},
        position_question::{Placed, Want},
    },
};

pub(super) struct SingleCommand<'a> {
    cmd: &'a Cmd,
    stage: Stage<'a>,
}

enum Stage<'a> {
    New(&'a mut Multiplexed),
    /// It was left to the connection at this place of the handle's set. Whether it is a read is known
    /// only where somebody asks for freshness.
    Waiting(&'a mut Multiplexed, usize, bool),
    /// It found no connection, or was not simply answered.
    Rest(RedisFuture<'a, Value>),
    Over,
}

impl<'a> SingleCommand<'a> {
    #[inline]
    pub(super) fn new(handle: &'a mut Multiplexed, cmd: &'a Cmd) -> Self {
        Self {
            cmd,
            stage: Stage::New(handle),
        }
    }

    /// Where it was sent, while the reply to the first attempt is awaited. For a trace.
    pub(super) fn connection(&self) -> Option<&SharedConnection> {
        match &self.stage {
            Stage::Waiting(handle, place, _) => Some(handle.chosen(*place)),
            Stage::New(_) | Stage::Rest(_) | Stage::Over => None,
        }
    }

    /// Leaves the command to a connection.
    #[inline]
    fn begin(&mut self, cx: &mut Context<'_>) -> RedisResult<()> {
        let Stage::New(handle) = mem::replace(&mut self.stage, Stage::Over) else {
            unreachable!("BUG: a command begins once");
        };
        handle
            .ensure_shareable(self.cmd)
            .inspect_err(|_| handle.count_refused())?;
        let mut is_read = false;
        let begins = if handle.ask.is_some() {
            is_read = read_only::is_read(self.cmd);
            handle.begin_asking(is_read)
        } else {
            handle.choose().map(|place| (place, Want::NOTHING))
        };
        let Some((place, want)) = begins else {
            self.go_on(handle, None);
            return Ok(());
        };
        match handle.begin(place, self.cmd, want, cx.waker()) {
            Ok(()) => self.stage = Stage::Waiting(handle, place, is_read),
            Err(error) => self.go_on_after(handle, place, Err(error)),
        }
        Ok(())
    }

    /// Gives a reply to a caller who asks for freshness, or goes on without it.
    fn accept(
        &mut self,
        handle: &'a mut Multiplexed,
        place: usize,
        is_read: bool,
        reply: Value,
    ) -> Option<Value> {
        let has_effect = self.cmd.has_effect(&reply);
        match handle.accept(place, is_read, has_effect) {
            Accepted::Take => {
                if let Value::ServerError(error) = &reply {
                    handle.stats().failed(outcome_of_reply(error));
                }
                return Some(reply);
            }
            Accepted::Judge(answers) => {
                let placed = Placed { reply, answers };
                self.go_on_after(handle, place, Ok(placed));
            }
        }
        None
    }

    #[cold]
    fn go_on_after(
        &mut self,
        handle: &'a mut Multiplexed,
        place: usize,
        outcome: Result<Placed<Value>, MuxError>,
    ) {
        let connection = Arc::clone(handle.chosen(place));
        let tried = Tried {
            connection,
            outcome,
        };
        self.go_on(handle, Some(tried));
    }

    #[cold]
    fn go_on(&mut self, handle: &'a mut Multiplexed, tried: Option<Tried<Value>>) {
        let rest = handle.finish(self.cmd, tried);
        self.stage = Stage::Rest(Box::pin(rest));
    }
}

impl Future for SingleCommand<'_> {
    type Output = RedisResult<Value>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::New(_) = this.stage {
            this.begin(cx)?;
            if let Stage::Waiting(..) = this.stage {
                return Poll::Pending;
            }
        }
        if let Stage::Waiting(handle, ..) = &this.stage {
            let outcome = ready!(Mux::poll_reply(&handle.slot, cx));
            let Stage::Waiting(handle, place, is_read) = mem::replace(&mut this.stage, Stage::Over)
            else {
                unreachable!("BUG: it was waiting just now");
            };
            match outcome {
                Ok(reply) if handle.is_simple(&reply) => {
                    if handle.ask.is_none() {
                        return Poll::Ready(Ok(reply));
                    }
                    if let Some(reply) = this.accept(handle, place, is_read, reply) {
                        return Poll::Ready(Ok(reply));
                    }
                }
                outcome => this.go_on_after(handle, place, outcome.map(Placed::nowhere)),
            }
        }
        match &mut this.stage {
            Stage::Rest(rest) => rest.as_mut().poll(cx),
            _ => panic!("polled after it was ready"),
        }
    }
}

impl Drop for SingleCommand<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Stage::Waiting(handle, place, is_read) = &mut self.stage {
            let fate = handle.chosen(*place).mux.abandon(&handle.slot);
            if let Some(ask) = &handle.ask
                && fate != Fate::NotExecuted
                && !*is_read
            {
                ask.unknown();
            }
        }
    }
}

impl Multiplexed {
    /// Whether the reply says nothing about the node, and needs nothing more.
    #[inline]
    fn is_simple(&self, reply: &Value) -> bool {
        match reply {
            Value::ServerError(error) => self.is_final(reply, error),
            _ => true,
        }
    }

    /// As [`is_simple`](Self::is_simple), for an error reply. Who asks for freshness has it counted later.
    #[cold]
    fn is_final(&self, reply: &Value, error: &ServerError) -> bool {
        let is_final = ReplyClass::of(reply) == ReplyClass::NoSignal && !scripts::is_unknown(reply);
        if is_final && self.ask.is_none() {
            self.stats().failed(outcome_of_reply(error));
        }
        is_final
    }

    /// Leaves the command to the connection at this place of the set that was looked at last.
    #[inline]
    fn begin(
        &mut self,
        place: usize,
        cmd: &Cmd,
        want: Want,
        waker: &Waker,
    ) -> Result<(), MuxError> {
        let connection = chosen_from(self.seen.as_ref(), place);
        connection.mux.begin(&mut self.slot, cmd, want, waker)
    }

    /// Goes on with a command that found no connection, or that was not simply answered.
    async fn finish(&mut self, cmd: &Cmd, tried: Option<Tried<Value>>) -> RedisResult<Value> {
        let finished = self.finish_uncounted(cmd, tried).await;
        self.count_outcome(cmd, &finished);
        finished
    }

    async fn finish_uncounted(
        &mut self,
        cmd: &Cmd,
        tried: Option<Tried<Value>>,
    ) -> RedisResult<Value> {
        let reply = if self.ask.is_some() {
            Box::pin(self.send_asking(cmd, tried)).await?
        } else {
            self.retry(cmd, tried).await?
        };
        if !scripts::is_unknown(&reply) {
            return Ok(reply);
        }
        let mut replies = self.load_scripts(&[cmd], vec![reply]).await?;
        let reply = replies.pop().expect("BUG: one command has one reply");
        if self.ask.is_none() || !read_only::is_read(cmd) || scripts::is_unknown(&reply) {
            return Ok(reply);
        }
        // Together with the script it was no mere read, so nobody has proven it. The node has the script
        // now.
        Box::pin(self.send_asking(cmd, None)).await
    }
}
