//! One connection on one socket, used by one caller at a time.
//!
//! The caller's own task writes the command and reads the reply: no driver task, no channel. What
//! makes that safe is one flag: from the first byte written until the last byte of the reply is
//! read the connection is `Busy`, and a `Busy` connection whose future was dropped is never used
//! again, so no reply reaches the wrong caller.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use redis::{Cmd, Pipeline, PushKind, RedisResult, Value};
use tokio::{
    io::AsyncWrite,
    task::unconstrained,
    time::{Instant, Sleep},
};

use super::{
    aborted,
    codec::Decoder,
    command::Block,
    session::{Claim, Expect, Session},
    stream::Stream,
};
use crate::{
    config::ReplyLimits,
    error::{Cause, Failure, Fate, Peer},
    node::Node,
    stats::Discard,
};

/// What a write buffer may keep between commands; together with the reply buffer it stays well
/// under the 4 KiB that an idle connection is allowed.
const KEEP_OUT: usize = 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between two commands.
    Ready,
    /// A command is on its way; if nobody is waiting for it any more, it was cancelled.
    Busy,
    /// The socket, the protocol or a deadline failed.
    Broken,
}

pub(crate) struct Exclusive {
    stream: Stream,
    node: Node,
    peer: Peer,
    out: Vec<u8>,
    written: usize,
    decoder: Decoder,
    session: Session,
    state: State,
    /// Replies still to come that nobody waits for, because the command was sent without waiting.
    owed: usize,
    timeout: Option<Duration>,
    /// The time the current command was given, for the text of its error.
    limit: Duration,
    /// Until it is lent for the first time, what passes over it is our own business.
    own: bool,
    /// Registered once and pushed forward only when it fires, so that a command does not pay for
    /// a timer of its own.
    timer: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for Exclusive {
    /// Without its buffers, which hold what callers store.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exclusive")
            .field("node", &self.node)
            .field("peer", &self.peer)
            .field("state", &self.state)
            .finish_non_exhaustive()
    }
}

impl Exclusive {
    pub(crate) fn new(
        stream: Stream,
        node: Node,
        peer: Peer,
        db: i64,
        limits: ReplyLimits,
        timeout: Option<Duration>,
    ) -> Self {
        Self {
            stream,
            node,
            peer,
            out: Vec::new(),
            written: 0,
            decoder: Decoder::new(limits),
            session: Session::new(db),
            state: State::Ready,
            owed: 0,
            timeout,
            limit: Duration::ZERO,
            own: true,
            timer: None,
        }
    }

    /// From now on it is callers' commands that pass over this connection.
    pub(crate) fn lend(mut self) -> Self {
        self.own = false;
        // The handshake's command and deadline are nothing that a caller's command could use.
        self.out = Vec::new();
        self.timer = None;
        self
    }

    /// Sends one command and reads its reply. An error reply is a [`Value::ServerError`].
    pub(crate) async fn command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        self.ensure_usable()?;
        if cmd.args_iter().len() == 0 {
            return Err(empty());
        }
        let noted = self.session.note(cmd);
        if noted.expect == Expect::Unframed {
            return Err(unframed());
        }
        self.begin();
        cmd.write_packed_command(&mut self.out);
        let deadline = self.deadline(noted.block);
        match noted.expect {
            Expect::None => self.flush().await,
            // Confirmations are waited for all the same: nothing tells a late one, which RESP2
            // spells like any array, from the reply to the next command.
            Expect::One | Expect::Proof(_) if cmd.is_no_response() => {
                self.owed += 1;
                self.flush().await
            }
            Expect::Confirmations(count) => self.confirmations(count, deadline).await,
            Expect::ConfirmationsToZero => self.confirmations(usize::MAX, deadline).await,
            Expect::Proof(claim) => {
                let reply = self.receive(1, false, deadline, |_| ()).await?;
                self.session.settle(claim, &reply);
                Ok(reply)
            }
            _ => self.receive(1, false, deadline, |_| ()).await,
        }
    }

    /// Reads the confirmations of a subscription: so many, or one error in place of all, or those
    /// of a bare `UNSUBSCRIBE` down to the one that counts nothing left. Returns the last.
    async fn confirmations(
        &mut self,
        count: usize,
        deadline: Option<Instant>,
    ) -> RedisResult<Value> {
        let mut left = count;
        loop {
            let reply = self.receive(1, true, deadline, |_| ()).await?;
            if is_message(&reply) {
                continue;
            }
            left -= 1;
            let to_zero = count == usize::MAX && counts_zero(&reply);
            if left == 0 || to_zero || is_error(&reply) {
                return Ok(reply);
            }
        }
    }

    /// Sends a pipeline and reads all its replies; returns `count` of them from `offset` on.
    ///
    /// Fails as the redis crate does when the server refuses to queue a command of an atomic
    /// pipeline: with every refusal and its place.
    pub(crate) async fn pipeline(
        &mut self,
        pipeline: &Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisResult<Vec<Value>> {
        self.ensure_usable()?;
        let atomic = pipeline.is_transaction();
        if pipeline.is_empty() && !atomic {
            return Err(empty());
        }
        let (claims, block) = self.note_pipeline(pipeline)?;
        self.begin();
        if atomic {
            self.out.extend_from_slice(b"*1\r\n$5\r\nMULTI\r\n");
        }
        for cmd in pipeline.cmd_iter() {
            cmd.write_packed_command(&mut self.out);
        }
        if atomic {
            self.out.extend_from_slice(b"*1\r\n$4\r\nEXEC\r\n");
        }
        let total = pipeline.len() + if atomic { 2 } else { 0 };
        let deadline = self.deadline(block);
        let mut replies = Vec::with_capacity(total.min(1024));
        if total > 0 {
            let last = self
                .receive(total, false, deadline, |value| replies.push(value))
                .await?;
            replies.push(last);
        }
        self.state = State::Ready;
        for (index, claim) in claims {
            self.session.settle(claim, &replies[index]);
        }
        if atomic && replies[..total - 1].iter().any(is_error) {
            return Err(aborted::error(pipeline, replies).await);
        }
        if offset == 0 && count == replies.len() {
            return Ok(replies);
        }
        Ok(replies.into_iter().skip(offset).take(count).collect())
    }

    /// Notes what a pipeline leaves behind, where its replies may prove it clean, and how long the
    /// server may block on it.
    fn note_pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<(Vec<(usize, Claim)>, Block)> {
        let mut claims = Vec::new();
        let mut block = Block::No;
        let mut index = 0;
        let mut take = |expect| {
            match expect {
                Expect::One => {}
                Expect::Proof(claim) => claims.push((index, claim)),
                _ => return Err(unframed()),
            }
            index += 1;
            Ok(())
        };
        if pipeline.is_transaction() {
            take(self.session.note_multi())?;
        }
        for cmd in pipeline.cmd_iter() {
            let noted = self.session.note(cmd);
            take(noted.expect)?;
            block = block.and(noted.block);
        }
        if pipeline.is_transaction() {
            take(self.session.note_exec())?;
        }
        Ok((claims, block))
    }

    /// Sends commands of our own and reads a reply to each, within a deadline.
    pub(crate) async fn exchange(
        &mut self,
        cmds: &[Cmd],
        deadline: Instant,
    ) -> RedisResult<Vec<Value>> {
        self.ensure_usable()?;
        self.begin();
        self.limit = deadline.saturating_duration_since(Instant::now());
        for cmd in cmds {
            cmd.write_packed_command(&mut self.out);
        }
        let mut replies = Vec::with_capacity(cmds.len());
        let last = self
            .receive(cmds.len(), false, Some(deadline), |value| {
                replies.push(value);
            })
            .await?;
        replies.push(last);
        Ok(replies)
    }

    /// Sends a command of our own whose reply comes as a [`message`](Self::message).
    pub(crate) async fn send(&mut self, cmd: &Cmd) -> RedisResult<()> {
        self.ensure_open()?;
        self.begin();
        cmd.write_packed_command(&mut self.out);
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

    /// A look at the socket that costs no round trip: whether the server has closed it, or has sent
    /// what nobody asked for. Either way the connection must not be lent, and since a byte may have
    /// been taken from the stream it must be closed.
    pub(crate) fn is_stale(&self) -> bool {
        let mut byte = [0_u8; 1];
        let looked = self.stream.try_read(&mut &mut byte[..]);
        !matches!(looked, Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Why this connection must not be lent to anybody else; `None` when it is provably clean.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        match self.state {
            State::Broken => Some(Discard::Broken),
            State::Busy => Some(Discard::Cancelled),
            State::Ready if self.owed > 0 || self.session.dirt().is_some() => Some(Discard::Dirty),
            State::Ready if !self.decoder.is_idle() => Some(Discard::Broken),
            State::Ready => None,
        }
    }

    /// Gives back buffers that grew for one big command or reply.
    pub(crate) fn trim(&mut self) {
        self.decoder.shrink();
        if self.out.capacity() > KEEP_OUT {
            self.out = Vec::new();
        }
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
        if self.state == State::Ready {
            Ok(())
        } else {
            Err(self.failure(Cause::Unusable).into())
        }
    }

    /// Finds out, before a byte is written, whether the server is already gone or has said
    /// something out of turn: then the command is known not to have been executed.
    fn ensure_usable(&mut self) -> RedisResult<()> {
        self.ensure_open()?;
        self.written = 0;
        self.decoder.reserve();
        match self.stream.try_read(self.decoder.buf_mut()) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(self.fail(io_cause(&error))),
            Ok(0) => return Err(self.fail(Cause::Closed)),
            Ok(_) => {}
        }
        while !self.decoder.is_idle() {
            match self.decoder.decode() {
                Ok(Some(Value::Push { .. })) => {}
                Ok(Some(_)) if self.owed > 0 => self.owed -= 1,
                // Subscribed under RESP2, messages come as plain arrays.
                Ok(Some(_)) if self.session.subscribed() => {}
                // A look takes what fits into the buffer, which may cut a push in two.
                Ok(None) if self.owed > 0 || self.session.is_pushed_to() => break,
                Ok(_) => {
                    let text = "the server sent a reply that no command asked for";
                    return Err(self.fail(Cause::Protocol(text.to_owned())));
                }
                Err(error) => return Err(self.fail(Cause::Protocol(error.to_string()))),
            }
        }
        Ok(())
    }

    fn begin(&mut self) {
        self.state = State::Busy;
        self.out.clear();
        self.written = 0;
    }

    fn deadline(&mut self, block: Block) -> Option<Instant> {
        let timeout = self.timeout?;
        self.limit = match block {
            Block::No => timeout,
            Block::For(time) => timeout.saturating_add(time),
            Block::Forever => return None,
        };
        Instant::now().checked_add(self.limit)
    }

    /// The connection failed: it is not used again, and what is told depends on what was written.
    fn fail(&mut self, cause: Cause) -> redis::RedisError {
        self.state = State::Broken;
        let mut failure = self.failure(cause);
        if failure.fate == Fate::NotExecuted && self.written > 0 {
            failure.fate = Fate::Unknown;
        }
        failure.into()
    }

    /// Writes what is in the buffer without waiting for a reply.
    async fn flush(&mut self) -> RedisResult<Value> {
        let deadline = self.deadline(Block::No);
        let result = poll_fn(|cx| {
            if self.poll_write(cx)?.is_ready() {
                return Poll::Ready(Ok(()));
            }
            self.poll_deadline(cx, deadline)
        })
        .await;
        match result {
            Ok(()) => {
                self.state = State::Ready;
                Ok(Value::Nil)
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    /// Writes what is in the buffer and reads `total` replies; all but the last go to `each`.
    async fn receive(
        &mut self,
        total: usize,
        pushes_count: bool,
        deadline: Option<Instant>,
        mut each: impl FnMut(Value),
    ) -> RedisResult<Value> {
        let mut left = total + self.owed;
        self.state = State::Busy;
        let result = poll_fn(|cx| {
            loop {
                // Replies are read even while the socket takes no more of the command: a server
                // whose own output is not read stops reading, and both sides would wait for ever.
                let unwritten = self.poll_write(cx)?.is_pending();
                match self.poll_reply(cx, pushes_count) {
                    Poll::Ready(Ok(value)) if left == 1 => return Poll::Ready(Ok(value)),
                    // Waited for or not, it is no reply to what was sent before.
                    Poll::Ready(Ok(Value::Push { .. })) if left > total => {}
                    Poll::Ready(Ok(value)) => {
                        if left <= total {
                            each(value);
                        } else {
                            self.owed -= 1;
                        }
                        left -= 1;
                    }
                    Poll::Ready(Err(cause)) => return Poll::Ready(Err(cause)),
                    Poll::Pending => {
                        debug_assert!(!unwritten || self.written < self.out.len());
                        ready!(self.poll_deadline(cx, deadline))?;
                    }
                }
            }
        })
        .await;
        match result {
            Ok(value) => {
                self.state = State::Ready;
                Ok(value)
            }
            Err(cause) => Err(self.fail(cause)),
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Cause>> {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match ready!(Pin::new(&mut self.stream).poll_write(cx, rest)) {
                Ok(0) => return Poll::Ready(Err(Cause::Closed)),
                Ok(n) => self.written += n,
                Err(error) => return Poll::Ready(Err(io_cause(&error))),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The next reply; pushes are passed over unless they are what is waited for.
    fn poll_reply(
        &mut self,
        cx: &mut Context<'_>,
        pushes_count: bool,
    ) -> Poll<Result<Value, Cause>> {
        loop {
            match self.decoder.decode() {
                Ok(Some(Value::Push { .. })) if !pushes_count => continue,
                Ok(Some(value)) if self.session.subscribed() && is_message(&value) => continue,
                Ok(Some(value)) => return Poll::Ready(Ok(value)),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Err(Cause::Protocol(error.to_string()))),
            }
            self.decoder.reserve();
            match ready!(poll_read_buf(&mut self.stream, cx, self.decoder.buf_mut())) {
                Ok(0) => return Poll::Ready(Err(Cause::Closed)),
                Ok(_) => {}
                Err(error) => return Poll::Ready(Err(io_cause(&error))),
            }
        }
    }

    fn poll_deadline(
        &mut self,
        cx: &mut Context<'_>,
        deadline: Option<Instant>,
    ) -> Poll<Result<(), Cause>> {
        let Some(deadline) = deadline else {
            return Poll::Pending;
        };
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        loop {
            // tokio makes a task that has read much in one go wait its turn, and its timers with
            // it: a peer that always has more to read would never be cut off.
            ready!(pin!(unconstrained(timer.as_mut())).poll(cx));
            if timer.deadline() >= deadline {
                return Poll::Ready(Err(Cause::Timeout(self.limit)));
            }
            // It fired for an earlier command that has long been answered.
            timer.as_mut().reset(deadline);
        }
    }
}

fn poll_read_buf(
    stream: &mut Stream,
    cx: &mut Context<'_>,
    buf: &mut bytes::BytesMut,
) -> Poll<io::Result<usize>> {
    let read = pin!(tokio::io::AsyncReadExt::read_buf(stream, buf));
    read.poll(cx)
}

fn io_cause(error: &io::Error) -> Cause {
    Cause::Io(error.to_string(), error.kind())
}

/// What the redis crate says of a command or a pipeline without a single word.
fn empty() -> redis::RedisError {
    (redis::ErrorKind::Client, "empty command").into()
}

/// Some commands change how replies are framed, so that the next reply would be taken for another's.
fn unframed() -> redis::RedisError {
    (
        redis::ErrorKind::Client,
        "this command needs a connection outside the pool, because its replies cannot be told apart here",
    )
        .into()
}

/// Whether this is what a subscription brings, which may come ahead of its own confirmations.
fn is_message(reply: &Value) -> bool {
    match reply {
        Value::Push { kind, .. } => matches!(
            kind,
            PushKind::Message | PushKind::PMessage | PushKind::SMessage | PushKind::Invalidate
        ),
        Value::Array(items) => matches!(
            items.first(),
            Some(Value::BulkString(kind)) if matches!(&kind[..], b"message" | b"pmessage" | b"smessage")
        ),
        _ => false,
    }
}

fn counts_zero(confirmation: &Value) -> bool {
    match confirmation {
        Value::Push { data, .. } | Value::Array(data) => data.last() == Some(&Value::Int(0)),
        _ => false,
    }
}

fn is_error(value: &Value) -> bool {
    matches!(value, Value::ServerError(_))
}
