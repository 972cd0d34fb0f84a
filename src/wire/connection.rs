//! One connection on one socket, used by one caller at a time.
//!
//! The caller's own task writes the command and reads the reply: no driver task, no queue. What
//! makes that safe is one flag: from the first byte written until the last byte of the reply is
//! read the connection is `Busy`, and a `Busy` connection whose future was dropped is never used
//! again, so no reply reaches the wrong caller.

use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use redis::{Cmd, Pipeline, RedisResult, Value};
use tokio::time::Instant;

use crate::{
    config::ReplyLimits,
    error::failure::{Cause, Failure, Fate, Peer},
    node::Node,
    status::discard::Discard,
    util::runtime::Runtime,
    wire::{
        command::{self, Block, Kind},
        framed::Framed,
        handshake, pipeline,
        session::{Claim, Expect, Session},
        stream::Stream,
    },
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two commands.
    Ready,
    /// A command is on its way; if nobody is waiting for it any more, it was cancelled.
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
    /// Replies still to come that nobody waits for, because the command was sent without waiting.
    owed: usize,
    timeout: Option<Duration>,
    /// By when the exchange that began last must be over.
    deadline: Option<Instant>,
    /// The session before it.
    before: Session,
    /// Whether it is an atomic pipeline, of which `MULTI` and `EXEC` are our own.
    wrapped: bool,
    /// Until it is lent for the first time, what passes over it is our own business.
    own: bool,
}

impl fmt::Debug for WireConnection {
    /// Without its buffers, which hold what callers store.
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
        }
    }

    /// From now on it is callers' commands that pass over this connection.
    pub(crate) fn lend(mut self) -> Self {
        self.own = false;
        // The handshake's command and deadline are nothing that a caller's command could use.
        self.framed.forget();
        self
    }

    /// From now on callers on any runtime use it.
    pub(crate) fn live_on(&mut self, runtime: &Arc<Runtime>) {
        self.framed.live_on(runtime);
    }

    /// Takes note of the protocol, which the reply to the handshake's `HELLO` shows.
    pub(super) fn greeted(&mut self, hello: &Value) {
        self.session.greeted(hello);
    }

    /// For a connection that from now on is shared, with the time that a command may take on it.
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
        if noted.expect == Expect::Unframed {
            return Err(unframed(cmd, Place::Alone));
        }
        cmd.write_packed_command(self.begin(session));
        let deadline = self.begin_time(noted.block);
        match noted.expect {
            Expect::None => self.flush().await,
            // Confirmations are waited for all the same: nothing tells a late one, which RESP2
            // spells like any array, from the reply to the next command.
            Expect::One | Expect::Proof(_) if cmd.is_no_response() => {
                self.owed += 1;
                self.flush().await
            }
            Expect::Confirmations(count) => self.confirmations(count, deadline).await,
            Expect::Proof(claim) => {
                let reply = self.receive(false, deadline).await?;
                self.session.settle(claim, &reply);
                Ok(reply)
            }
            _ => self.receive(false, deadline).await,
        }
    }

    /// Reads the confirmations of a subscription or of its end: so many, or one error in place of
    /// all. Returns the last.
    async fn confirmations(
        &mut self,
        count: usize,
        deadline: Option<Instant>,
    ) -> RedisResult<Value> {
        let mut left = count;
        loop {
            let reply = self.receive(true, deadline).await?;
            if !self.session.confirm(&reply) && matches!(reply, Value::Push { .. }) {
                // What a subscription brings may come ahead of its own confirmations.
                continue;
            }
            left -= 1;
            if left == 0 || is_error(&reply) {
                return Ok(reply);
            }
        }
    }

    /// Sends a pipeline and reads all its replies, those to `MULTI` and `EXEC` included.
    pub(crate) async fn pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        self.ensure_usable()?;
        if pipeline.is_empty() && !pipeline.is_transaction() {
            return Err(command::empty());
        }
        self.wrapped = pipeline.is_transaction();
        let Noted {
            session,
            claims,
            block,
        } = note_pipeline(self.session, pipeline)?;
        pipeline::encode(pipeline, self.begin(session));
        let total = pipeline::replies(pipeline);
        let deadline = self.begin_time(block);
        self.receive_all(total, deadline, claims, pipeline::last_word)
            .await
    }

    /// Sends commands of our own and reads a reply to each, within a deadline. A server that turns us
    /// away says so once and closes the connection: that is its reply to each.
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
        self.receive_all(cmds.len(), deadline, Vec::new(), complaint)
            .await
    }

    /// Sends commands of our own whose replies come as [`message`](Self::message)s.
    pub(crate) async fn send(&mut self, cmds: &[Cmd]) -> RedisResult<()> {
        self.ensure_open()?;
        let out = self.begin(self.session);
        for cmd in cmds {
            cmd.write_packed_command(out);
        }
        self.flush().await.map(drop)
    }

    /// Waits for what the server sends by itself on a subscribed connection; `None` when nothing
    /// came until the deadline, which leaves the connection as it was.
    pub(crate) async fn message(&mut self, deadline: Instant) -> RedisResult<Option<Value>> {
        self.ensure_open()?;
        let next = poll_fn(|cx| self.poll_reply(cx, true));
        match tokio::time::timeout_at(deadline, next).await {
            Ok(Ok(value)) => Ok(Some(value)),
            Ok(Err(cause)) => Err(self.fail(cause)),
            Err(_) => Ok(None),
        }
    }

    /// Waits until the server closes the connection, or says what nobody asked for.
    pub(crate) async fn closed(&mut self) {
        while let Ok(Value::Push { .. }) = poll_fn(|cx| self.poll_reply(cx, true)).await {}
        self.state = State::Broken;
    }

    /// Whether another command may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.state == State::Ready
    }

    /// As [`Framed::is_stale`].
    pub(crate) fn is_stale(&self) -> bool {
        self.framed.is_stale()
    }

    /// Why this connection must not be lent to anybody else; `None` when it is provably clean.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        match self.state {
            State::Broken => Some(Discard::Broken),
            State::Busy => Some(Discard::Cancelled),
            State::Ready if self.owed > 0 || self.session.dirt().is_some() => Some(Discard::Dirty),
            State::Ready if !self.framed.is_idle() => Some(Discard::Broken),
            State::Ready => None,
        }
    }

    /// Whether the caller would miss nothing on a fresh connection: no state was set up on this one,
    /// neither before nor by a command that failed or was cancelled.
    pub(crate) fn is_replaceable(&self) -> bool {
        match self.state {
            State::Ready => !self.session.lacks(false),
            State::Busy | State::Broken => self.is_repeatable(),
        }
    }

    /// Whether the command sent last would mean the same on a fresh connection.
    pub(crate) fn is_repeatable(&self) -> bool {
        !self.before.lacks(false) && !self.session.lacks(self.wrapped)
    }

    /// As [`Session::is_watching`].
    pub(crate) fn is_watching(&self) -> bool {
        self.session.is_watching()
    }

    /// As [`Session::is_only_watching`].
    pub(crate) fn is_only_watching(&self) -> bool {
        self.session.is_only_watching()
    }

    /// By when the command sent last must have been answered.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Nobody waits any longer for the reply to the command on its way.
    pub(crate) fn expire(&mut self) -> redis::RedisError {
        self.fail(Cause::Timeout(self.timeout.unwrap_or_default()))
    }

    /// Gives back buffers that grew for one big command or reply.
    pub(crate) fn trim(&mut self) {
        self.framed.trim();
    }

    /// A command failed and nothing of it was written.
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

    /// Finds out, before a byte is written, whether the server is already gone or has said
    /// something out of turn: then the command is known not to have been executed.
    fn ensure_usable(&mut self) -> RedisResult<()> {
        self.ensure_open()?;
        self.before = self.session;
        self.wrapped = false;
        self.framed.begin();
        if let Err(cause) = self.framed.look() {
            return Err(self.fail(cause));
        }
        while !self.framed.is_idle() {
            match self.framed.decode() {
                Ok(Some(Value::Push { .. })) => {}
                Ok(Some(value)) if self.session.is_message(&value) => {}
                Ok(Some(_)) if self.owed > 0 => self.owed -= 1,
                // It turns us away before we have said anything.
                Ok(Some(Value::ServerError(error))) if self.own => {
                    self.state = State::Broken;
                    return Err(handshake::refusal(&error, None));
                }
                // A look takes what fits into the buffer, which may cut a push in two; and what a
                // server says to turn us away may come in pieces.
                Ok(None) if self.own || self.owed > 0 || self.session.is_pushed_to() => break,
                Ok(_) => return Err(self.fail(Cause::unasked())),
                Err(cause) => return Err(self.fail(cause)),
            }
        }
        Ok(())
    }

    /// The buffer for what leaves the connection in this session.
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

    /// The connection failed: it is not used again, and what is told depends on what was written.
    fn fail(&mut self, cause: Cause) -> redis::RedisError {
        self.state = State::Broken;
        let mut failure = self.failure(cause);
        if !self.framed.has_written() {
            self.session = self.before;
        } else if failure.fate == Fate::NotExecuted {
            failure.fate = Fate::Unknown;
        }
        failure.into()
    }

    /// Writes what is in the buffer without waiting for a reply.
    async fn flush(&mut self) -> RedisResult<Value> {
        let deadline = self.begin_time(Block::No);
        let result = poll_fn(|cx| {
            if self.framed.poll_write(cx)?.is_ready() {
                return Poll::Ready(Ok(Value::Nil));
            }
            if self.framed.hangup().is_some()
                && let Poll::Ready(last) = self.poll_last_word(cx)
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
            result => self.conclude(result),
        }
    }

    /// The peer has closed the connection under what we wrote: what it has to say to that.
    fn poll_last_word(&mut self, cx: &mut Context<'_>) -> Poll<Result<Value, Cause>> {
        loop {
            match ready!(self.framed.poll_decode(cx)) {
                // What comes for a caller may be a late reply to something else.
                Ok(error @ Value::ServerError(_)) if self.own => return Poll::Ready(Ok(error)),
                Ok(_) => {}
                Err(cause) => return Poll::Ready(Err(cause)),
            }
        }
    }

    fn conclude(&mut self, result: Result<Value, Cause>) -> RedisResult<Value> {
        match result {
            Ok(value) => {
                self.state = self.after_replies();
                Ok(value)
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// A server that answers what it has not read to the end will not read what follows either.
    fn after_replies(&self) -> State {
        if self.framed.is_flushed() {
            State::Ready
        } else {
            State::Broken
        }
    }

    /// Writes what is in the buffer and reads so many replies, those at the places of `claims` as
    /// their proof. Where the server closes the connection before it has sent them all, its
    /// `last_word` among those that came takes the place of the rest.
    async fn receive_all(
        &mut self,
        total: usize,
        deadline: Option<Instant>,
        claims: Vec<(usize, Claim)>,
        last_word: fn(&[Value]) -> Option<&Value>,
    ) -> RedisResult<Vec<Value>> {
        let mut replies = Vec::with_capacity(total.min(1024));
        let mut claims = claims.into_iter().peekable();
        // Settled as they come: what the next reply looks like may depend on it.
        let mut take = |replies: &mut Vec<Value>, session: &mut Session, value: Value| {
            if let Some((_, claim)) = claims.next_if(|(index, _)| *index == replies.len()) {
                session.settle(claim, &value);
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
                let word = last_word(&replies).filter(|_| cause.is_hangup()).cloned();
                let Some(word) = word else {
                    return Err(self.fail(cause));
                };
                self.state = State::Broken;
                while replies.len() < total {
                    take(&mut replies, &mut self.session, word.clone());
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
        self.conclude(result)
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
                // Replies are read even while the socket takes no more of the command: a server
                // whose own output is not read stops reading, and both sides would wait for ever.
                if let Poll::Ready(Err(cause)) = self.framed.poll_write(cx) {
                    return Poll::Ready(Err(cause));
                }
                // What still comes where nothing was written is no answer to a caller's command.
                if let Some(cause) = self.framed.hangup()
                    && !self.own
                    && !self.framed.has_written()
                {
                    return Poll::Ready(Err(cause.clone()));
                }
                match self.poll_reply(cx, pushes_count) {
                    Poll::Ready(Ok(value)) if left == 1 => return Poll::Ready(Ok(value)),
                    // Waited for or not, it is no reply to what was sent before.
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

    /// The next reply; pushes are passed over unless they are what is waited for.
    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        pushes_count: bool,
    ) -> Poll<Result<Value, Cause>> {
        loop {
            match ready!(self.framed.poll_decode(cx)) {
                Ok(Value::Push { .. }) if !pushes_count => {}
                Ok(value) if self.session.is_message(&value) => {}
                result => return Poll::Ready(result),
            }
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Place {
    Alone,
    InPipeline,
}

/// Some commands change how replies are framed, so that the next reply would be taken for
/// another's.
#[cold]
fn unframed(cmd: &Cmd, place: Place) -> redis::RedisError {
    let way = match (Kind::of(cmd), place) {
        (Kind::Empty, _) => return command::empty(),
        (Kind::Streams, _) => "over a connection outside the pool",
        (_, Place::InPipeline) => "by itself, not in a pipeline",
        (_, Place::Alone) => "outside of MULTI, and while replies are on",
    };
    let name = command::name(cmd);
    (
        redis::ErrorKind::Client,
        "replies could not be told apart after this command",
        format!("send {name} {way}; nothing was executed"),
    )
        .into()
}

/// What a pipeline leaves behind, where its replies may prove it clean, and how long the server may
/// block on it.
struct Noted {
    session: Session,
    claims: Vec<(usize, Claim)>,
    block: Block,
}

fn note_pipeline(mut session: Session, pipeline: &Pipeline) -> RedisResult<Noted> {
    let mut claims = Vec::new();
    let mut block = Block::No;
    let mut replies = 0;
    let mut take = |expect| {
        if let Expect::Proof(claim) = expect {
            claims.push((replies, claim));
        }
        replies += 1;
        matches!(expect, Expect::One | Expect::Proof(_))
    };
    if pipeline.is_transaction() && !take(session.note_multi()) {
        return Err(unframed(&redis::cmd("MULTI"), Place::InPipeline));
    }
    for cmd in pipeline.cmd_iter() {
        let noted = session.note(cmd);
        if !take(noted.expect) {
            return Err(unframed(cmd, Place::InPipeline));
        }
        block = block.and(noted.block);
    }
    if pipeline.is_transaction() {
        take(session.note_exec());
    }
    Ok(Noted {
        session,
        claims,
        block,
    })
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::ServerError(_))
}

/// Why a server closes a new connection, where it has said nothing but that.
fn complaint(replies: &[Value]) -> Option<&Value> {
    replies.first().filter(|_| replies.iter().all(is_error))
}

#[cfg(test)]
mod tests;
