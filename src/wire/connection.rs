//! One connection on one socket, used by one caller at a time.
//!
//! The caller's own task writes the command and reads the reply: no driver task, no queue. One flag
//! makes that safe. From the first byte written until the last byte of the reply is read the
//! connection is `Busy`. A `Busy` connection whose future was dropped is never used again, so no
//! reply reaches the wrong caller.

mod asked;
mod listen;
mod noted;

use std::{
    fmt,
    future::poll_fn,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::{
    config::{ReplyLimits, edition::Edition},
    error::failure::{Cause, Failure, Fate, Peer},
    node::Node,
    status::discard::Discard,
    util::runtime::Runtime,
    wire::{
        command::{self, blocking::Block},
        connection::noted::{Sent, note_pipeline, uncountable},
        framed::Framed,
        handshake, pipeline,
        session::{Change, Expect, Session},
        stream::Stream,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two commands.
    Ready,
    /// A command is under way. If nobody waits for its reply any more, it was cancelled.
    Busy,
    /// The socket, the protocol or a deadline failed.
    Broken,
}

pub(crate) struct WireConnection {
    framed: Framed,
    node: Node,
    peer: Peer,
    session: Session,
    state: State,
    /// How many replies are still to come to commands that were sent without waiting.
    owed: usize,
    timeout: Option<Duration>,
    /// When the exchange that began last must be over.
    deadline: Option<Instant>,
    /// The session before that exchange.
    before: Session,
    /// Whether that exchange is an atomic pipeline, whose `MULTI` and `EXEC` the pool has added.
    wrapped: bool,
    /// It was not lent yet: its commands are the pool's own.
    own: bool,
    /// The server has said nothing yet.
    fresh: bool,
    /// The generation of the credentials that it has signed in with.
    login: u64,
}

impl fmt::Debug for WireConnection {
    /// Without buffers: they hold what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireConnection")
            .field("node", &self.node)
            .field("peer", &self.peer)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl WireConnection {
    pub(crate) fn new(
        stream: Stream,
        node: Node,
        peer: Peer,
        db: i64,
        limits: ReplyLimits,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            framed: Framed::new(stream, limits),
            node,
            peer,
            session: Session::new(db),
            state: State::Ready,
            owed: 0,
            timeout,
            deadline: None,
            before: Session::new(db),
            wrapped: false,
            own: true,
            fresh: true,
            login: 0,
        }
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    /// The address that the node was reached at; `None` of a Unix socket.
    pub(crate) fn peer_addr(&self) -> Option<SocketAddr> {
        self.framed.peer_addr()
    }

    pub(crate) fn signed_in(&mut self, generation: u64) {
        self.login = generation;
    }

    /// The generation of the credentials that it has signed in with.
    pub(crate) fn login(&self) -> u64 {
        self.login
    }

    /// From now on callers' commands pass over this connection.
    pub(crate) fn lend(mut self) -> Self {
        self.own = false;
        self.fresh = false;
        // A caller's command does not need the buffer and the timer of the handshake.
        self.framed.forget();
        self
    }

    /// From now on callers on any runtime use it; its timers live on `runtime`.
    pub(crate) fn live_on(&mut self, runtime: &Arc<Runtime>) {
        self.framed.live_on(runtime);
    }

    /// For a connection that is shared from now on. The duration is the time limit of its commands.
    pub(super) fn into_framed(self) -> (Framed, Option<Duration>) {
        (self.framed, self.timeout)
    }

    /// Sends one command and reads its reply. An error reply is a [`Value::ServerError`].
    pub(crate) async fn command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.ensure_usable()?;
        if cmd.args_iter().len() == 0 {
            return Err(command::empty());
        }
        let mut session = self.session;
        let noted = session.note(cmd);
        if noted.expect == Expect::Uncountable {
            return Err(uncountable(cmd, Sent::Alone));
        }
        cmd.write_packed_command(self.begin(session));
        let deadline = self.begin_time(noted.block);
        match noted.expect {
            Expect::None => self.flush().await,
            // Confirmations are waited for all the same. In RESP2 they are arrays: a late one could
            // not be told from the reply to the next command.
            Expect::One | Expect::Change(_) if cmd.is_no_response() => {
                self.owed += 1;
                self.flush().await
            }
            Expect::Confirmations(count) => self.confirmations(count, deadline).await,
            Expect::Change(change) => {
                let reply = self.receive(false, deadline).await?;
                self.session.settle(change, &reply);
                Ok(reply)
            }
            _ => self.receive(false, deadline).await,
        }
    }

    /// Sends a pipeline and reads all its replies, those to `MULTI` and `EXEC` included.
    pub(crate) async fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.ensure_usable()?;
        if pipeline.is_empty() && !pipeline.is_transaction() {
            return Err(command::empty());
        }
        self.wrapped = pipeline.is_transaction();
        let noted = note_pipeline(self.session, pipeline)?;
        pipeline::encode(pipeline, self.begin(noted.session));
        let total = pipeline::replies(pipeline);
        let deadline = self.begin_time(noted.block);
        self.receive_all(total, deadline, noted.changes, pipeline::final_error)
            .await
    }

    /// Sends the pool's own commands and reads a reply to each, within a deadline. A server that refuses
    /// a connection says so once and closes it: then that is the reply to each command.
    pub(crate) async fn exchange(
        &mut self,
        cmds: &[Cmd],
        deadline: Instant,
    ) -> RedisResult<Vec<Value>> {
        self.ensure_usable()?;
        let out = self.begin(self.session);
        for cmd in cmds {
            cmd.write_packed_command(out);
        }
        let left = deadline.saturating_duration_since(Instant::now());
        let deadline = self.framed.deadline(left);
        let replies = self
            .receive_all(cmds.len(), deadline, Vec::new(), complaint)
            .await?;
        self.fresh = false;
        Ok(replies)
    }

    /// Whether another command may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Ready
    }

    /// As [`Framed::is_stale`].
    pub(crate) fn is_stale(&self) -> bool {
        self.framed.is_stale()
    }

    /// As [`Stream::edition`].
    pub(crate) fn edition(&self) -> Edition {
        self.framed.edition()
    }

    /// As [`Stream::is_outdated`].
    #[inline]
    pub(crate) fn is_outdated(&self) -> bool {
        self.framed.is_outdated()
    }

    /// Why this connection must not be lent to anybody else; `None` when it is provably clean.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        match self.state {
            State::Broken => Some(Discard::Broken),
            State::Busy => Some(Discard::Cancelled),
            State::Ready if self.owed > 0 || !self.session.is_clean() => Some(Discard::Dirty),
            State::Ready if !self.framed.is_idle() => Some(Discard::Broken),
            State::Ready => None,
        }
    }

    /// Whether a fresh connection would do as well: no state was set up on this one, neither before the
    /// command sent last nor by it.
    pub(crate) fn is_replaceable(&self) -> bool {
        match self.state {
            State::Ready => self.session.is_clean(),
            State::Busy | State::Broken => self.is_repeatable(),
        }
    }

    /// Whether the command sent last would mean the same on a fresh connection.
    pub(crate) fn is_repeatable(&self) -> bool {
        self.before.is_clean() && self.session.is_clean_but_for(self.wrapped)
    }

    /// As [`Session::is_watching`].
    pub(crate) fn is_watching(&self) -> bool {
        self.session.is_watching()
    }

    /// As [`Session::is_only_watching`].
    pub(crate) fn is_only_watching(&self) -> bool {
        self.session.is_only_watching()
    }

    /// When the reply to the command sent last must be here.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The command under way has taken too long, and nobody waits for its reply any more.
    pub(crate) fn expire(&mut self) -> redis::RedisError {
        self.fail(Cause::Timeout(self.timeout.unwrap_or_default()))
    }

    /// Gives back buffers that grew for one big command or reply.
    pub(crate) fn trim(&mut self) {
        self.framed.trim();
    }

    /// The failure of a command of which nothing was written.
    pub(crate) fn failure(&self, cause: Cause) -> Failure {
        Failure {
            peer: self.peer,
            node: self.node.clone(),
            cause,
            fate: if self.own {
                Fate::Own
            } else {
                Fate::NotExecuted
            },
        }
    }

    fn ensure_open(&self) -> RedisResult<()> {
        if self.is_open() {
            Ok(())
        } else {
            Err(self.failure(Cause::Unusable).into())
        }
    }

    /// Finds out, before a byte is written, whether the server has already closed the connection, or
    /// has sent something that no command asked for. Then the command was surely not executed.
    fn ensure_usable(&mut self) -> RedisResult<()> {
        self.ensure_open()?;
        self.before = self.session;
        self.wrapped = false;
        self.framed.begin();
        if let Err(cause) = self.framed.read_available() {
            return Err(self.fail(cause));
        }
        while !self.framed.is_idle() {
            match self.framed.decode() {
                Ok(Some(Value::Push { .. })) => {}
                Ok(Some(_)) if self.owed > 0 => self.owed -= 1,
                // The server refuses the connection before anything was written.
                Ok(Some(Value::ServerError(error))) if self.own => {
                    self.state = State::Broken;
                    return Err(handshake::refusal(&error, None));
                }
                // Only a part is here. What fitted into the buffer may have cut a push in two, and a
                // server's refusal may come in pieces.
                Ok(None) if self.own || self.owed > 0 || self.session.is_pushed_to() => break,
                Ok(_) => return Err(self.fail(Cause::unasked())),
                Err(cause) => return Err(self.fail(cause)),
            }
        }
        Ok(())
    }

    /// The buffer for commands that leave the connection in this session.
    fn begin(&mut self, session: Session) -> &mut Vec<u8> {
        self.session = session;
        self.state = State::Busy;
        self.framed.begin()
    }

    fn begin_time(&mut self, block: Block) -> Option<Instant> {
        self.deadline = self.timeout.and_then(|timeout| match block {
            Block::No => self.framed.deadline(timeout),
            Block::For(time) => self.framed.deadline(timeout.saturating_add(time)),
            Block::Forever => None,
        });
        self.deadline
    }

    /// The connection failed and is not used again. Whether the command was executed is unknown, unless
    /// nothing of it was written.
    fn fail(&mut self, cause: Cause) -> redis::RedisError {
        self.state = State::Broken;
        let mut failure = self.failure(self.closed_at_once(cause));
        if !self.framed.has_written() {
            self.session = self.before;
        } else if failure.fate == Fate::NotExecuted {
            failure.fate = Fate::Unknown;
        }
        failure.into()
    }

    /// Says what it may mean that a server closes a connection before it has said anything.
    fn closed_at_once(&self, cause: Cause) -> Cause {
        let kind = match &cause {
            Cause::Closed => io::ErrorKind::UnexpectedEof,
            Cause::Io(_, kind) if cause.is_hangup() => *kind,
            _ => return cause,
        };
        match self.framed.closed_at_once() {
            Some(why) if self.fresh && self.framed.is_idle() => Cause::ClosedAtOnce(why, kind),
            _ => cause,
        }
    }

    /// Writes what is in the buffer without waiting for a reply.
    async fn flush(&mut self) -> RedisResult<Value> {
        let deadline = self.begin_time(Block::No);
        let result = poll_fn(|cx| {
            if self.framed.poll_write(cx)?.is_ready() {
                return Poll::Ready(Ok(Value::Nil));
            }
            if self.framed.hangup().is_some()
                && let Poll::Ready(last) = self.poll_final_error(cx)
            {
                return Poll::Ready(last);
            }
            self.framed.poll_deadline(cx, deadline).map(Err)
        })
        .await;
        match result {
            Ok(Value::ServerError(error)) => {
                self.state = State::Broken;
                Err(handshake::refusal(&error, None))
            }
            result => self.end_exchange(result),
        }
    }

    /// The error that the peer sent before it closed the connection, while a command was being written.
    fn poll_final_error(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Cause>> {
        loop {
            match ready!(self.framed.poll_decode(cx)) {
                // On a lent connection it may be a late reply to another command.
                Ok(error @ Value::ServerError(_)) if self.own => return Poll::Ready(Ok(error)),
                Ok(_) => {}
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
    }

    fn end_exchange(&mut self, result: Result<Value, Cause>) -> RedisResult<Value> {
        match result {
            Ok(value) => {
                self.state = self.after_replies();
                Ok(value)
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// A server that replies before it has read the whole command will not read what follows either.
    ///
    /// Over TLS there may also be an alert to send: with version 1.2 a server may ask to begin anew, which
    /// is refused. That costs the connection, and is rare. New keys of version 1.3 cost nothing: the answer
    /// to them goes out with the next command.
    fn after_replies(&mut self) -> State {
        if self.framed.is_flushed() {
            State::Ready
        } else {
            State::Broken
        }
    }

    /// Writes what is in the buffer and reads `total` replies. Those at the indices in `changes` may
    /// prove a change of the session. Where the server closes the connection before it has sent all,
    /// the `final_error` among those that came takes the place of the rest.
    async fn receive_all(
        &mut self,
        total: usize,
        deadline: Option<Instant>,
        changes: Vec<(usize, Change)>,
        final_error: fn(&[Value]) -> Option<&Value>,
    ) -> RedisResult<Vec<Value>> {
        self.receive_some(total, total, deadline, changes, final_error)
            .await
    }

    /// As [`receive_all`](Self::receive_all), except that the first `needed` replies will do where the others
    /// do not come.
    async fn receive_some(
        &mut self,
        total: usize,
        needed: usize,
        deadline: Option<Instant>,
        changes: Vec<(usize, Change)>,
        final_error: fn(&[Value]) -> Option<&Value>,
    ) -> RedisResult<Vec<Value>> {
        let mut replies = Vec::with_capacity(total.min(1024));
        let mut changes = changes.into_iter().peekable();
        let mut take = |replies: &mut Vec<Value>, session: &mut Session, value: Value| {
            if let Some((_, change)) = changes.next_if(|(index, _)| *index == replies.len()) {
                session.settle(change, &value);
            }
            replies.push(value);
        };
        let each = |session: &mut Session, value| take(&mut replies, session, value);
        match self.exchange_bytes(total, false, deadline, each).await {
            Ok(last) => {
                take(&mut replies, &mut self.session, last);
                self.state = self.after_replies();
            }
            Err(cause) => {
                self.fresh &= replies.is_empty();
                if replies.len() >= needed {
                    self.state = State::Broken;
                    return Ok(replies);
                }
                let error = final_error(&replies).filter(|_| cause.is_hangup());
                let Some(error) = error.cloned() else {
                    return Err(self.fail(cause));
                };
                self.state = State::Broken;
                while replies.len() < total {
                    take(&mut replies, &mut self.session, error.clone());
                }
            }
        }
        Ok(replies)
    }

    /// Writes what is in the buffer and reads one reply.
    async fn receive(
        &mut self,
        pushes_count: bool,
        deadline: Option<Instant>,
    ) -> RedisResult<Value> {
        let result = self
            .exchange_bytes(1, pushes_count, deadline, |_, _| ())
            .await;
        self.end_exchange(result)
    }

    /// Writes what is in the buffer and reads `total` replies; all but the last go to `each`.
    async fn exchange_bytes(
        &mut self,
        total: usize,
        pushes_count: bool,
        deadline: Option<Instant>,
        mut each: impl FnMut(&mut Session, Value),
    ) -> Result<Value, Cause> {
        let mut left = total + self.owed;
        self.state = State::Busy;
        poll_fn(|cx| {
            loop {
                // Replies are read even while the socket takes no more of the command. A server
                // whose output is not read stops reading, and both sides would wait for ever.
                if let Poll::Ready(Err(cause)) = self.framed.poll_write(cx) {
                    return Poll::Ready(Err(cause));
                }
                // Where nothing was written, what still comes is no reply to a caller's command.
                if let Some(cause) = self.framed.hangup()
                    && !self.own
                    && !self.framed.has_written()
                {
                    return Poll::Ready(Err(cause.clone()));
                }
                match self.poll_reply(cx, pushes_count) {
                    Poll::Ready(Ok(value)) if left == 1 => return Poll::Ready(Ok(value)),
                    // Even where pushes count, it is no reply to a command sent without waiting.
                    Poll::Ready(Ok(Value::Push { .. })) if left > total => {}
                    Poll::Ready(Ok(value)) => {
                        if left <= total {
                            each(&mut self.session, value);
                        } else {
                            self.owed -= 1;
                        }
                        left -= 1;
                    }
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    Poll::Pending => return self.framed.poll_deadline(cx, deadline).map(Err),
                }
            }
        })
        .await
    }

    /// The next reply. Pushes are skipped unless they count as replies.
    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        pushes_count: bool,
    ) -> Poll<Result<Value, Cause>> {
        loop {
            match ready!(self.framed.poll_decode(cx)) {
                Ok(Value::Push { .. }) if !pushes_count => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::ServerError(_))
}

/// Why a server closes a new connection, where it has sent nothing but errors.
fn complaint(replies: &[Value]) -> Option<&Value> {
    replies.first().filter(|_| replies.iter().all(is_error))
}

#[cfg(test)]
mod tests;
