//! The handle through which many callers share a few connections.

pub(crate) mod connections;
mod fresh;
mod line;
mod requirement;
mod retry;
mod retry_budget;
mod single_command;

use std::{fmt, future::poll_fn, pin::Pin, sync::Arc};

use parking_lot::Mutex;
use redis::{
    Cmd, ErrorKind, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike,
};
use tracing::Instrument;

use crate::{
    error::{
        PoolName, failure,
        outcome::{Outcome, outcome},
        reply_class::ReplyClass,
    },
    freshness::{asks::Asks, line::Line},
    multiplexed::{
        connections::{ConnectionSet, SharedConnection, SharedConnections},
        retry::Tried,
        single_command::SingleCommand,
    },
    retry::request::{Askable, PipelineRequest, Request},
    role_pool::{RolePool, calls::Course, scripts},
    status::failures::CommandStats,
    util::jitter,
    wire::{
        command::{self, Kind, Shareable},
        mux::Slot,
        pipeline,
        position_question::Want,
    },
};

/// A handle for many commands at once, over connections that all callers share.
///
/// From [`Pool::writer`](crate::Pool::writer), to the master, and
/// [`Pool::reader`](crate::Pool::reader), to the nodes that
/// [`read_from`](crate::Config::read_from) allows. Commands that are sent at the same time travel
/// together: one system call writes many, another reads many replies. Nothing is checked out or
/// returned. A handle costs as much as an [`Arc`]: clone it for every task, or make one for every
/// request.
///
/// ```no_run
/// use redis::AsyncCommands;
/// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
/// let writer = pool.writer();
/// let visits = (0..100).map(|page| {
///     let mut writer = writer.clone();
///     tokio::spawn(async move { writer.incr(format!("visits:{page}"), 1).await })
/// });
/// for visit in visits.collect::<Vec<_>>() {
///     let count: i64 = visit.await??;
/// }
/// # Ok(())
/// # }
/// ```
///
/// # What it can carry
///
/// Single commands, pipelines and atomic pipelines ([`redis::pipe`] with `atomic`). A command that
/// would change the connection for its other users or hold them up is refused before it is sent,
/// with an error that names [`Pool::write`](crate::Pool::write) or
/// [`Pool::read`](crate::Pool::read): commands that block (`BLPOP`, `XREAD BLOCK`, `WAIT`), `MULTI` and
/// `WATCH` outside of an atomic pipeline, `MONITOR`, `SELECT`, `AUTH`, `CLIENT REPLY` and the like.
/// For `SUBSCRIBE` it names [`Pool::subscriber`](crate::Pool::subscriber). `SCAN`, `HSCAN`, `SSCAN`, `ZSCAN` and `FT.CURSOR` are refused, too: a cursor is valid
/// only at the node that gave it, and another node would silently skip keys.
///
/// A reader whose commands may go to replicas also refuses `PUBLISH` and `SPUBLISH`, since a replica
/// passes a message on to its own subscribers only. It refuses commands about one node's own clients
/// and scripts as well (`CLIENT KILL`, `CLIENT UNBLOCK`, `CLIENT PAUSE`, `SCRIPT KILL`,
/// `FUNCTION KILL`).
///
/// A reply comes after those to the commands that were sent before it over the same connection, however
/// slow they are or however large their replies. Send `KEYS`, long scripts and values of many megabytes
/// over exclusive connections.
///
/// # Scripts
///
/// [`redis::Script`] and `EVALSHA` work whichever node a command goes to. The pool remembers the texts
/// that were sent to it with `SCRIPT LOAD` (up to 512, 4 MiB together; the oldest are forgotten)
/// and with `EVAL` (64, 512 KiB), if they are UTF-8. If a node answers an `EVALSHA` with `NOSCRIPT`,
/// which says that it executed nothing, the pool loads the script there and sends the command again.
/// So scripts also work after a restart, a failover or a `SCRIPT FLUSH`.
///
/// In a plain pipeline the pool does so if every later command only reads; these are then sent again,
/// too. Otherwise, and in atomic pipelines, the other commands have been executed already, and the
/// caller gets the `NOSCRIPT`. Put the `SCRIPT LOAD` into the pipeline
/// ([`Pipeline::load_script`](redis::Pipeline::load_script)), ahead of the `EVALSHA`.
///
/// # Limits
///
/// [`MultiplexedLimits`](crate::MultiplexedLimits) bounds the commands on their way. Further callers
/// wait in a queue, in the order in which they came. A long pipeline goes in portions, and others have
/// their turn in between.
///
/// Connections are made when the first command asks for one, and kept from then on. They do not
/// count towards `max_active`; [`Status`](crate::Status) has their number.
///
/// # Reads
///
/// Each command of a reader goes to the less busy of two connections drawn at random. So two successive
/// reads may see different replicas, and the second may see an older state than the first. A read may not
/// see yet what was just written either; [`after`](Self::after), [`within`](Self::within) and
/// [`Session`](crate::Session) ask for more, see [Fresh reads](crate#fresh-reads).
///
/// # Failover
///
/// Before each write to a socket the pool checks that the node still has the role for which it was
/// connected. Nothing is written to a master that is being replaced. If the node has lost the role, or
/// the connection is lost,
///
/// - commands of which nothing was written go to the next connection, as soon as there is one. They
///   wait up to [`failover_timeout`](crate::Config::failover_timeout). So does the rest of a long
///   pipeline;
/// - commands that were written are answered, or fail as *unknown*: they may have been executed, and
///   are never sent again for the caller. Only commands that are known to read only, and were lost with
///   their connection, go over another one. If a replica may serve them, all attempts after the first loss
///   share one more `command_timeout`. If only the master may, they wait for the next master as a write
///   does;
/// - commands of which the node itself says that it executed nothing (`READONLY`, `REDIRECT`,
///   `LOADING`, `MASTERDOWN`) are sent again, within the time that others wait for a connection. When
///   time is up the caller gets the node's reply, of which [`outcome`](crate::outcome()) says *not
///   executed*. While a node refuses to serve, the refused callers wait together, and one of them tries
///   it after ever longer pauses, at most 250 ms.
///
/// [`Connection`](crate::Connection) has the rules in full.
///
/// A command that has no reply after [`command_timeout`](crate::Config::command_timeout) fails as
/// unknown, at most a sixteenth late. If by then the server has sent nothing at all, the
/// connection is closed and every command that was written to it fails so. A command that was still
/// queued there has as much time again, for all further connections together.
///
/// # Cancel safety
///
/// Dropping the future of a command disturbs no other caller: its reply is dropped when it comes. A
/// command that was queued already may be executed.
///
/// # Life
///
/// Every handle keeps the pool alive, as a [`Pool`](crate::Pool) does. After
/// [`Pool::close`](crate::Pool::close) commands that were written are still answered, and all others
/// fail.
pub struct Multiplexed {
    pool: Arc<dyn SharingPool>,
    name: PoolName,
    /// The newest connections that this handle has used. Most handles are made for one command or a
    /// few, and some for none: the first command looks for them.
    seen: Option<Arc<ConnectionSet>>,
    /// The state of the random numbers that choose which two connections are compared; 0 until the first
    /// choice.
    rng: u64,
    /// For the call of each single command in turn.
    slot: Slot,
    /// Who asks for freshness. Mostly nobody.
    ask: Option<Arc<dyn Asks>>,
    /// Whether the last read returned what there was.
    was_stale: bool,
    /// Each call is measured or traced.
    watched: bool,
    /// What the call under way goes through, while one is traced.
    course: Option<Arc<Mutex<Course>>>,
}

/// The pool that a handle belongs to and keeps running.
pub(crate) trait SharingPool: Line {
    fn shared_connections(&self, name: PoolName) -> &SharedConnections;

    /// Whether each of a caller's commands is measured or traced.
    fn watches_calls(&self) -> bool;
}

/// More than one: a node may lose a script again at once, to a `SCRIPT FLUSH`, and a pipeline may be
/// divided between two nodes.
const MOST_LOADS: u32 = 3;

impl Multiplexed {
    #[inline]
    pub(crate) fn new(pool: Arc<dyn SharingPool>, name: PoolName) -> Self {
        Self {
            pool,
            name,
            seen: None,
            rng: 0,
            slot: Slot::default(),
            ask: None,
            was_stale: false,
            watched: false,
            course: None,
        }
    }

    /// As [`new`](Self::new), for somebody who asks for freshness.
    #[inline]
    pub(crate) fn asking(
        pool: Arc<dyn SharingPool>,
        name: PoolName,
        ask: Option<Arc<dyn Asks>>,
    ) -> Self {
        Self {
            ask,
            ..Self::new(pool, name)
        }
    }

    /// The same, for somebody who asks for freshness.
    #[inline]
    pub(crate) fn asking_as_well(self, ask: &Arc<dyn Asks>) -> Self {
        Self {
            ask: Some(Arc::clone(ask)),
            ..self
        }
    }

    /// The same, for a caller whose calls are watched or not. A handle of the pool's own never is.
    #[inline]
    pub(crate) fn watched(self, watched: bool) -> Self {
        Self { watched, ..self }
    }

    #[inline]
    fn connections(&self) -> &SharedConnections {
        self.pool.shared_connections(self.name)
    }

    fn role_pool(&self) -> &Arc<RolePool> {
        self.connections().role_pool()
    }

    fn stats(&self) -> &CommandStats {
        &self.connections().stats
    }

    /// Counts how a request ended that may have failed.
    #[cold]
    fn count_outcome<R: Request>(&self, request: R, result: &RedisResult<R::Reply>) {
        match result {
            Ok(reply) if request.has_error(reply) => self.stats().failed(request.outcome(reply)),
            Ok(_) => {}
            Err(error) => {
                self.stats().failed(outcome(error));
                self.role_pool().tell_unknown(request, error);
            }
        }
    }

    /// Counts a request that is refused before it is sent.
    #[cold]
    fn count_refused(&self) {
        self.stats().refused();
        self.stats().failed(Outcome::NotExecuted);
    }

    /// The open connections, as of now.
    #[inline]
    fn set(&mut self) -> &ConnectionSet {
        let connections = self.pool.shared_connections(self.name);
        let seen = self.seen.take();
        let newest = seen.filter(|seen| connections.is_newest(seen));
        self.seen
            .insert(newest.unwrap_or_else(|| connections.newest()))
    }

    /// The connection for the next command: of two drawn at random, the one with less to do. That
    /// spreads commands nearly as well as taking the least busy of all, and does not send all
    /// callers to the same one at once.
    #[inline]
    fn choose(&mut self) -> Option<usize> {
        let mut rng = self.rng;
        let set = self.set();
        let chosen = match set.open.as_slice() {
            [] => None,
            [only] => only.mux.is_open().then_some(0),
            _ if set.prefers() => return self.choose_near(),
            open => {
                // Two handles with the same numbers would choose the same connections.
                if rng == 0 {
                    rng = jitter::seed();
                }
                let drawn = jitter::roll(&mut rng);
                two_choices(open, drawn)
            }
        };
        self.rng = rng;
        chosen
    }

    /// As [`choose`](Self::choose), where some nodes are preferred to others: of the connections to those,
    /// as far as their nodes do not refuse to serve, or else of all.
    fn choose_near(&mut self) -> Option<usize> {
        let drawn = self.draw();
        let connections = self.pool.shared_connections(self.name);
        let refusals = &connections.role_pool().refusals;
        let set = self.seen.as_ref()?;
        let serves = |place: &usize| !refusals.contains(&set.open[*place].target.node);
        two_choices(set.near(), drawn)
            .filter(serves)
            .or_else(|| {
                (0..set.near().len()).find(|place| set.open[*place].mux.is_open() && serves(place))
            })
            .or_else(|| two_choices(&set.open, drawn))
    }

    /// 64 random bits.
    fn draw(&mut self) -> u64 {
        // Two handles with the same numbers would choose the same connections.
        if self.rng == 0 {
            self.rng = jitter::seed();
        }
        jitter::roll(&mut self.rng)
    }

    /// The connection at this place of the set that was looked at last.
    #[inline]
    fn chosen(&self, place: usize) -> &Arc<SharedConnection> {
        chosen_from(self.seen.as_ref(), place)
    }

    /// Sends a pipeline over one connection, and again where [`retry`](crate::retry) allows it.
    #[inline]
    async fn send(&mut self, request: PipelineRequest<'_>) -> RedisResult<Vec<Value>> {
        if self.ask.is_some() {
            return Box::pin(self.send_asking(request, None)).await;
        }
        let Some(place) = self.choose() else {
            return Box::pin(self.retry(request, None)).await;
        };
        let connection = chosen_from(self.seen.as_ref(), place);
        self.note_attempt(connection);
        let outcome = request
            .over_shared(&connection.mux, Want::NOTHING, None)
            .await;
        match outcome {
            Ok(placed) if request.class(&placed.reply) == ReplyClass::NoSignal => Ok(placed.reply),
            outcome => {
                let connection = Arc::clone(connection);
                let tried = Tried {
                    connection,
                    outcome,
                };
                Box::pin(self.retry(request, Some(tried))).await
            }
        }
    }

    /// Refuses what needs a connection of its own, or the master.
    #[inline]
    fn ensure_shareable(&self, cmd: &Cmd) -> RedisResult<()> {
        match command::shareable(cmd) {
            Shareable::Yes => Ok(()),
            Shareable::YesWithScript => {
                self.role_pool().scripts.remember(cmd);
                Ok(())
            }
            Shareable::Publishes if !self.role_pool().needs_master() => {
                Err(command::published_at_a_replica())
            }
            Shareable::OneNode if !self.role_pool().needs_master() => {
                Err(self.needs_own_connection(cmd))
            }
            Shareable::Publishes | Shareable::OneNode => Ok(()),
            Shareable::Empty => Err(command::empty()),
            Shareable::No => Err(self.needs_own_connection(cmd)),
        }
    }

    /// Sends a pipeline: in one part, and one more for each connection that is retired meanwhile.
    async fn send_all(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let mut replies = self.send(PipelineRequest::of(pipeline)).await?;
        while replies.len() < pipeline::replies(pipeline) {
            // The connection was retired between two portions: the rest is not written yet.
            let rest = PipelineRequest::rest(pipeline, replies.len());
            replies.extend(self.send(rest).await.map_err(failure::partly)?);
        }
        Ok(replies)
    }

    /// Sends a pipeline, with the scripts that its node does not know.
    #[inline]
    async fn send_whole(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let replies = self.send_all(pipeline).await?;
        // In a transaction the other commands were executed together with it.
        if pipeline.is_transaction() || !replies.iter().any(scripts::is_unknown) {
            return Ok(replies);
        }
        let cmds: Vec<_> = pipeline.cmd_iter().collect();
        Box::pin(self.load_scripts(&cmds, replies)).await
    }

    /// Loads the scripts that the node did not know, and sends the commands again that needed them. All
    /// of that goes over one connection, unless the connection is retired in between.
    async fn load_scripts(
        &mut self,
        cmds: &[&Cmd],
        mut replies: Vec<Value>,
    ) -> RedisResult<Vec<Value>> {
        for _ in 0..MOST_LOADS {
            let Some(from) = scripts::first_to_send_again(cmds, &replies) else {
                break;
            };
            let Some(again) = self.role_pool().scripts.loading(&cmds[from..]) else {
                break;
            };
            let sent = self.send_all(&again).await;
            let sent = sent.map_err(|error| {
                if from == 0 {
                    error
                } else {
                    failure::partly(error)
                }
            })?;
            let loads = again.len() - (cmds.len() - from);
            replies.splice(from.., sent.into_iter().skip(loads));
        }
        Ok(replies)
    }

    /// Sends a caller's pipeline, if it may be sent at all.
    #[inline]
    async fn send_pipeline(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        for cmd in pipeline.cmd_iter() {
            self.ensure_shareable(cmd)
                .inspect_err(|_| self.count_refused())?;
        }
        if pipeline.is_empty() && !pipeline.is_transaction() {
            return Err(command::empty());
        }
        let replies = self.send_whole(pipeline).await;
        let request = PipelineRequest::of(pipeline);
        if !matches!(&replies, Ok(replies) if !request.has_error(replies)) {
            self.count_outcome(request, &replies);
        }
        replies
    }

    /// As a caller's command is sent, where each of them is watched.
    #[cold]
    async fn send_watched(&mut self, cmd: &Cmd) -> RedisResult<Value> {
        let role_pool = Arc::clone(self.role_pool());
        let call = role_pool.begin_call(cmd);
        self.course = call.course().cloned();
        let span = call.span();
        let result = {
            let mut command = SingleCommand::new(self, cmd);
            let mut is_first = true;
            let sent = poll_fn(|cx| {
                let polled = Pin::new(&mut command).poll(cx);
                if let Some(course) = call.course().filter(|_| is_first)
                    && let Some(connection) = command.connection()
                {
                    course
                        .lock()
                        .note(&connection.target.node, connection.peer_addr);
                }
                is_first = false;
                polled
            });
            sent.instrument(span).await
        };
        self.course = None;
        call.end(cmd, &result);
        result
    }

    /// As [`send_pipeline`](Self::send_pipeline), where each call is watched.
    #[cold]
    async fn send_pipeline_watched(&mut self, pipeline: &Pipeline) -> RedisResult<Vec<Value>> {
        let role_pool = Arc::clone(self.role_pool());
        let request = PipelineRequest::of(pipeline);
        let call = role_pool.begin_call(request);
        self.course = call.course().cloned();
        let result = self.send_pipeline(pipeline).instrument(call.span()).await;
        self.course = None;
        call.end(request, &result);
        result
    }

    /// Takes note of an attempt, where the call is traced.
    #[inline]
    fn note_attempt(&self, connection: &SharedConnection) {
        if let Some(course) = &self.course {
            course
                .lock()
                .note(&connection.target.node, connection.peer_addr);
        }
    }

    #[cold]
    fn needs_own_connection(&self, cmd: &Cmd) -> RedisError {
        if Kind::of(cmd) == Kind::Subscribe {
            return command::cannot_receive(cmd);
        }
        let take = match self.name {
            PoolName::Write => "pool.write()",
            PoolName::Read => "pool.read()",
        };
        let name = command::name(cmd);
        (
            ErrorKind::Client,
            "this command needs a connection of its own",
            format!("send {name} over one from {take}; it was not executed"),
        )
            .into()
    }
}

/// Apart from the handle, of which other parts may be borrowed at the time.
#[inline]
fn chosen_from(seen: Option<&Arc<ConnectionSet>>, place: usize) -> &Arc<SharedConnection> {
    let set = seen.expect("BUG: the connection was chosen from a set");
    &set.open[place]
}

/// A number below `count`, from 32 random bits. Even enough for a few connections.
fn draw(bits: u64, count: usize) -> usize {
    let scaled = (bits & 0xffff_ffff) * count as u64;
    usize::try_from(scaled >> 32).expect("BUG: less than `count`, which is a usize")
}

/// Of two drawn with these random bits, the one with less to do, or any other that takes commands.
#[inline]
fn two_choices(open: &[Arc<SharedConnection>], drawn: u64) -> Option<usize> {
    let (first, second) = (draw(drawn, open.len()), draw(drawn >> 32, open.len()));
    less_busy(open, first, second)
}

/// The one of these two that has fewer commands on their way, if it takes commands. Where neither does,
/// any other that takes them.
fn less_busy(open: &[Arc<SharedConnection>], first: usize, second: usize) -> Option<usize> {
    let usable = |index: &usize| open[*index].mux.is_open();
    [first, second]
        .into_iter()
        .filter(usable)
        .min_by_key(|index| open[*index].mux.in_flight())
        .or_else(|| (0..open.len()).find(usable))
}

impl ConnectionLike for Multiplexed {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        if self.watched {
            return Box::pin(self.send_watched(cmd));
        }
        Box::pin(SingleCommand::new(self, cmd))
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            let replies = if self.watched {
                Box::pin(self.send_pipeline_watched(pipeline)).await?
            } else {
                self.send_pipeline(pipeline).await?
            };
            pipeline::conclude(pipeline, replies, offset, count).await
        })
    }

    fn get_db(&self) -> i64 {
        self.role_pool().config.db
    }
}

impl Clone for Multiplexed {
    #[inline]
    fn clone(&self) -> Self {
        Self::asking(Arc::clone(&self.pool), self.name, self.ask.clone()).watched(self.watched)
    }
}

impl fmt::Debug for Multiplexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = self.connections().newest();
        let open = set.open.iter();
        let nodes = open.map(|connection| connection.target.node.to_string());
        let nodes: Vec<_> = nodes.collect();
        f.debug_struct("Multiplexed")
            .field("pool", &self.name)
            .field("nodes", &nodes)
            .finish_non_exhaustive()
    }
}
