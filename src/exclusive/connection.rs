//! The guard: what a caller holds.

mod exchange;
mod fresh;
mod lease;
mod retry;

use std::{fmt, sync::Arc, time::Duration};

use deadpool::managed::Object;
use parking_lot::Mutex;
use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike,
};
use tokio::time::Instant;
use tracing::Instrument;

use crate::{
    error::{
        failure::{Cause, Failure, Fate, Peer},
        outcome::{Outcome, outcome},
        reply_class::ReplyClass,
    },
    exclusive::{
        connection::fresh::Ask,
        entry::Entry,
        keep::Moment,
        manager::{self, Manager},
        transaction::Effect,
    },
    node::{Node, Role},
    retry::request::{Askable, PipelineRequest, Request},
    role_pool::calls::Course,
    status::discard::Discard,
    topology::Target,
    wire::{
        command::{self, affinity::Affinity},
        pipeline,
    },
};

/// An exclusive connection to one node, lent by a [`Pool`](crate::Pool).
///
/// Use it with the redis crate's own commands, pipelines and scripts: it implements
/// [`redis::aio::ConnectionLike`]. It goes back to its pool when it is dropped, at once and without
/// a task. The pool keeps it only if it is provably clean: no command is on its way, and no `MULTI`,
/// `WATCH`, `SELECT`, `CLIENT TRACKING` or the like is left behind. Otherwise the pool closes it.
///
/// ```no_run
/// use redis::AsyncCommands;
/// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut conn = pool.write().await?;
/// let () = conn.set("visits", 1).await?;
/// let visits: i64 = conn.incr("visits", 1).await?;
/// println!("{visits} visits, counted by the {} at {}", conn.role(), conn.node());
/// # Ok(())
/// # }
/// ```
///
/// # Failover
///
/// The guard is a lease on a role, not on a socket. If its connection was lost or closed, or its node is
/// not the master any more, the next command goes over a fresh connection. The fresh connection takes
/// the place of the old one in the pool, and [`node`](Self::node) then names its node. The command
/// waits for it as long as a checkout does: up to the longer of
/// [`failover_timeout`](crate::Config::failover_timeout) and
/// [`connect_timeout`](crate::Config::connect_timeout), also while the master is being replaced.
///
/// The connection is not replaced where the caller would miss something on a fresh one: in `MULTI`,
/// under `WATCH`, on another database and the like. Nor is it replaced for a `WAIT`, which
/// is about the writes over the same connection. Some commands depend on the node: a `SCAN` with a
/// cursor, and commands about the node's clients and scripts (`CLIENT KILL`, `CLIENT UNBLOCK`,
/// `SCRIPT KILL`). They do not go over a fresh connection to another node. In all these cases the
/// command fails, and was not executed.
///
/// # Over a connection to read from
///
/// `PUBLISH` and `SPUBLISH` over a connection from [`Pool::read`](crate::Pool::read) are refused before
/// they are sent, unless [`read_from`](crate::Config::read_from) is
/// [`Master`](crate::ReadFrom::Master). A replica would take them, but only its own subscribers would
/// get the message. The pool does not look into scripts: one that publishes is sent.
///
/// Replication is asynchronous, so a replica may not have yet what was just written. A guard of a
/// [`Session`](crate::Session) rules that out, see [Fresh reads](#fresh-reads).
///
/// # What is refused
///
/// `SUBSCRIBE` and its like, whose messages would have no way out: use
/// [`Pool::subscriber`](crate::Pool::subscriber), which follows the master as well. `MONITOR` and
/// `PSYNC` for the same reason.
///
/// # What is sent again
///
/// A command that was sent is sent again only
///
/// - if the server said that it executed nothing of it, because it is no master (`READONLY`, or
///   Valkey's `REDIRECT`), is loading its data (`LOADING`) or has lost its master (`MASTERDOWN`). The
///   command is sent again for as long as it may wait for a connection; after that the caller gets the
///   server's reply. A node that is loading is tried over the same connection, by one caller at a time,
///   after pauses of at most 250 ms;
/// - if the connection was lost and the command is known to read only. Commands are known by name:
///   `GET`, `HGETALL`, `EVAL_RO`, …, no other script, and nothing that blocks. If a replica may serve
///   the command, all attempts share one [`command_timeout`](crate::Config::command_timeout). If only
///   the master may, the command waits for the next master as a write does.
///
/// A pipeline is sent again if that holds for every command in it. Any other command that was on its
/// way when the connection was lost fails as *unknown*: it may have been executed, and is never sent a
/// second time.
///
/// # Cancel safety
///
/// Dropping the future of a command closes its connection before anybody uses it again, since the
/// reply would reach another caller. A command that was on its way may have been executed, or may yet
/// be. The next command on the guard goes over a fresh connection. Where the caller would miss
/// something there, it fails, and was not executed.
#[must_use = "a connection goes back to its pool as soon as it is dropped"]
pub struct Connection {
    /// `None` while the guard is being dropped, and while a transaction has the connection.
    object: Option<Object<Manager>>,
    /// The target of the connection while a transaction has it.
    away: Option<Box<Target>>,
    /// In the guard that a transaction gives to its work: where the connection goes on drop.
    owner: Option<Arc<Mutex<Option<Self>>>>,
    /// In a transaction: what became of its commands so far.
    pub(crate) effect: Option<Effect>,
    db: i64,
    /// The caller has sent a command.
    used: bool,
    /// The connection was replaced after that, so a `WAIT` would not cover all of the caller's
    /// writes.
    severed: bool,
    /// No wait goes on after this moment; set if the caller has a deadline.
    until: Option<Instant>,
    /// Who asks for freshness. Mostly nobody.
    ask: Option<Arc<Ask>>,
    /// Whether the last read returned what there was, though it was to see more.
    was_stale: bool,
    /// Each call is measured or traced.
    watched: bool,
    /// How often the last command was sent again.
    again: u32,
}

impl Connection {
    pub(crate) fn new(object: Object<Manager>) -> Self {
        Self {
            db: object.role_pool().config.db,
            watched: object.role_pool().calls.is_some(),
            object: Some(object),
            away: None,
            owner: None,
            effect: None,
            used: false,
            severed: false,
            until: None,
            ask: None,
            was_stale: false,
            again: 0,
        }
    }

    /// Commands wait no longer than this for a connection, for the end of a fence, or for a node that
    /// refuses to serve.
    pub(crate) fn until(mut self, moment: Option<Instant>) -> Self {
        self.until = moment;
        self
    }

    /// The address of the node at the other end, as the Sentinels announce it.
    pub fn node(&self) -> Node {
        self.target().node.clone()
    }

    /// The role that the node at the other end had when the connection was made.
    ///
    /// A connection from [`Pool::read`](crate::Pool::read) goes to the master where the read policy
    /// says so.
    pub fn role(&self) -> Role {
        self.target().role
    }

    fn target(&self) -> &Target {
        match &self.away {
            Some(target) => target,
            None => &self.entry().target,
        }
    }

    fn object(&self) -> &Object<Manager> {
        let object = self.object.as_ref();
        object.expect("BUG: a guard is used while it is being dropped")
    }

    fn entry(&self) -> &Entry {
        self.object()
    }

    fn entry_mut(&mut self) -> &mut Entry {
        let object = self.object.as_mut();
        object.expect("BUG: a guard is used while it is being dropped")
    }

    /// The error of a command of which nothing was written.
    pub(crate) fn failure(&self, cause: Cause) -> RedisError {
        self.failure_with(cause, Fate::NotExecuted)
    }

    pub(crate) fn failure_with(&self, cause: Cause, fate: Fate) -> RedisError {
        let Target { node, role, .. } = self.target();
        let failure = Failure {
            peer: Peer::Node(*role),
            node: node.clone(),
            cause,
            fate,
        };
        failure.into()
    }

    #[inline]
    async fn send<R: Request>(&mut self, request: R) -> RedisResult<R::Reply> {
        if self.is_away() {
            return Err(self.failure(Cause::Unusable));
        }
        if !self.entry().role_pool().needs_master() && request.publishes() {
            return self.refused(command::published_at_a_replica());
        }
        if !self.entry().is_fit() {
            let wait = self.wait();
            let usable = Box::pin(self.wait_until_usable(request.affinity(), wait)).await;
            usable.inspect_err(|error| self.count_failure(outcome(error)))?;
        }
        if self.severed && request.affinity() == Affinity::Connection {
            self.start_over();
            self.count_failure(Outcome::NotExecuted);
            return Err(self.failure(Cause::Severed));
        }
        let mut result = request.over(self.entry_mut().wire()).await;
        match &result {
            Ok(reply) => self.entry().answered(request.count(reply)),
            // The crate refused it before it was sent, and nothing has changed.
            Err(error) if error.kind() == ErrorKind::Client => {
                return result.or_else(|error| self.refused(error));
            }
            Err(_) => {}
        }
        if !matches!(&result, Ok(reply) if !request.has_error(reply)) {
            if !matches!(&result, Ok(reply) if request.class(reply) == ReplyClass::NoSignal) {
                result = Box::pin(self.retry(request, result)).await;
            }
            self.count_outcome(request, &result);
            if result.is_err() && request.affinity() == Affinity::Connection {
                self.start_over();
                return result;
            }
        }
        self.used = true;
        if let Some(effect) = &mut self.effect {
            *effect = (*effect).max(Effect::of(request, &result));
        }
        result
    }

    /// As a caller's command is sent, where each of them is watched. `asks` is whether it may ask for
    /// freshness.
    #[cold]
    async fn send_watched<R: Askable>(&mut self, request: R, asks: bool) -> RedisResult<R::Reply> {
        let Some(object) = &self.object else {
            return self.send(request).await;
        };
        let role_pool = Arc::clone(object.role_pool());
        let call = role_pool.begin_call(request);
        if let Some(course) = call.course() {
            course
                .lock()
                .note(&self.target().node, self.entry().peer_addr);
            // Of a read that was cancelled.
            self.ask
                .as_ref()
                .and_then(|ask| ask.elsewhere.lock().take());
        }
        self.again = 0;
        let sent = async {
            if asks {
                self.send_asking(request).await
            } else {
                self.send(request).await
            }
        };
        let result = sent.instrument(call.span()).await;
        if let Some(course) = call.course() {
            let ask = self.ask.as_ref();
            let elsewhere = ask.and_then(|ask| ask.elsewhere.lock().take());
            let peer = self.entry().peer_addr.filter(|_| elsewhere.is_none());
            *course.lock() = Course {
                node: Some(elsewhere.unwrap_or_else(|| self.node())),
                peer,
                attempts: self.again.saturating_add(1),
            };
        }
        call.end(request, &result);
        result
    }

    /// Counts how a request ended that may have failed.
    #[cold]
    fn count_outcome<R: Request>(&self, request: R, result: &RedisResult<R::Reply>) {
        match result {
            Ok(reply) if request.has_error(reply) => self.count_failure(request.outcome(reply)),
            Ok(_) => {}
            Err(error) => {
                self.count_failure(outcome(error));
                if let Some(object) = &self.object {
                    object.role_pool().tell_unknown(request, error);
                }
            }
        }
    }

    #[cold]
    fn count_failure(&self, outcome: Outcome) {
        if let Some(object) = &self.object {
            object.role_pool().stats.commands.failed(outcome);
        }
    }

    #[cold]
    fn refused<T>(&self, error: RedisError) -> RedisResult<T> {
        if let Some(object) = &self.object {
            object.role_pool().stats.commands.refused();
        }
        self.count_failure(Outcome::NotExecuted);
        Err(error)
    }

    /// Remembers the text of a script: a multiplexed handle may run it at a node that does not know
    /// it.
    #[inline]
    fn remember(&self, cmd: &Cmd) {
        if let Some(object) = &self.object {
            object.role_pool().scripts.remember(cmd);
        }
    }

    /// Forgets the writes over the former connection. A `WAIT` fails once, to tell the caller that
    /// it does not cover them; the next `WAIT` covers later writes.
    fn start_over(&mut self) {
        (self.used, self.severed) = (false, false);
    }
}

/// What a transaction needs.
impl Connection {
    /// Gives the connection to a second guard, which puts it into `owner` when it is dropped.
    pub(crate) fn lend(&mut self, owner: Arc<Mutex<Option<Self>>>) -> Self {
        let away = Box::new(self.target().clone());
        let lent = Self {
            object: self.object.take(),
            away: None,
            owner: Some(owner),
            effect: Some(Effect::Nothing),
            ask: self.ask.clone(),
            ..*self
        };
        self.away = Some(away);
        lent
    }

    /// Takes back what was lent, and says what became of the commands that it carried.
    pub(crate) fn take_back(&mut self, mut lent: Self) -> Effect {
        self.object = lent.object.take();
        self.away = None;
        (self.used, self.severed) = (lent.used, lent.severed);
        self.was_stale = lent.was_stale;
        lent.effect.unwrap_or(Effect::Unknown)
    }

    pub(crate) fn is_away(&self) -> bool {
        self.object.is_none()
    }

    pub(crate) async fn command(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        if self.watched {
            return Box::pin(self.send_watched(cmd, false)).await;
        }
        self.send(cmd).await
    }

    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.entry().role_pool().acquire_timeout()
    }

    pub(crate) fn is_fit(&self) -> bool {
        !self.is_away() && self.entry().is_fit()
    }

    pub(crate) fn is_replaceable(&self) -> bool {
        self.entry().is_replaceable()
    }

    pub(crate) fn is_retired(&self) -> bool {
        !self.is_away() && self.entry().retired_at().is_some()
    }

    pub(crate) fn is_watching(&mut self) -> bool {
        !self.is_away() && self.entry().is_open() && self.entry_mut().wire().is_watching()
    }

    /// What the next user of the connection must not see.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        let open = !self.is_away() && self.entry().is_open();
        open.then(|| self.entry().dirt()).flatten()
    }

    /// Closes the connection if `WATCH` is all that was set up on it. The next command goes over a fresh
    /// one.
    pub(crate) fn close_if_only_watching(&mut self) {
        if self.is_watching() && self.entry_mut().wire().is_only_watching() {
            let reason = self.dirt().unwrap_or(Discard::Dirty);
            self.entry_mut().close(reason);
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.remember(cmd);
        if self.watched {
            return Box::pin(self.send_watched(cmd, true));
        }
        if self.ask.is_some() {
            return Box::pin(self.send_asking(cmd));
        }
        Box::pin(self.send(cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            for cmd in pipeline.cmd_iter() {
                self.remember(cmd);
            }
            let request = PipelineRequest::of(pipeline);
            let replies = if self.watched {
                Box::pin(self.send_watched(request, true)).await?
            } else if self.ask.is_some() {
                Box::pin(self.send_asking(request)).await?
            } else {
                self.send(request).await?
            };
            pipeline::conclude(pipeline, replies, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(owner) = self.owner.take() {
            let returned = Self {
                object: self.object.take(),
                away: self.away.take(),
                owner: None,
                ask: None,
                ..*self
            };
            drop(owner.lock().replace(returned));
            return;
        }
        let Some(mut object) = self.object.take() else {
            return;
        };
        count_use(&object);
        if !object.is_open() {
            // deadpool gets its permit back, and nothing to keep.
            drop(Object::take(object));
            return;
        }
        object.role_pool().set_used();
        let now = object.role_pool().clock.now();
        match discard_on_return(&mut object, now) {
            None => {
                object.idle_since = now;
                let awaited = object.role_pool().is_awaited();
                let pool = awaited.then(|| Object::pool(&object)).flatten();
                drop(object);
                if let Some(pool) = pool {
                    manager::feed(&pool);
                }
            }
            Some(reason) => {
                object.close(reason);
                // deadpool gets its permit back, and nothing to keep.
                drop(Object::take(object));
            }
        }
    }
}

/// Every so many uses of a connection, the first one included, have their time taken. deadpool reads the
/// clock at each checkout, and this one at the return would be one more: it costs a tenth of both.
const SAMPLED: usize = 16;

/// Takes the time of this use, if its turn has come.
#[inline]
fn count_use(object: &Object<Manager>) {
    let used = Object::metrics(object);
    if used.recycle_count.is_multiple_of(SAMPLED) {
        let since = used.recycled.unwrap_or(used.created);
        object.role_pool().stats.held.record(since.elapsed());
    }
}

/// Why a connection that comes back must not be kept; `None` if it may.
fn discard_on_return(object: &mut Object<Manager>, now: Instant) -> Option<Discard> {
    if let Some(reason) = object.reason_to_discard(Moment::Return, now) {
        return Some(reason);
    }
    object.wire().trim();
    let idle = || Object::pool(object).map_or(0, |pool| manager::idle(&pool));
    object.role_pool().unwanted(&object.target.node, idle)
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Connection");
        if let Some(object) = &self.object {
            debug
                .field("role", &object.target.role)
                .field("node", &format_args!("{}", object.target.node));
        }
        debug.finish_non_exhaustive()
    }
}
