//! The pool: everything is wired together here, and nothing is decided here.

#[cfg(feature = "tls")]
mod certificates;
mod fresh;
#[cfg(feature = "metrics")]
mod metrics;
mod subscribers;
pub(crate) mod weak;

use std::{fmt, future::Future, io, sync::Arc, time::Duration};

use redis::{ErrorKind, RedisError, Value, aio::ConnectionLike, cmd};
use tokio::sync::watch;
use tracing::field;

use crate::{
    config::{Config, ConfigError},
    error::{Error, PoolName},
    events::Events,
    exclusive::{ExclusivePool, connection::Connection, manager, reaper},
    freshness::{Shared, asks::Asks, requirement::Requirement},
    health::Health,
    multiplexed::{Multiplexed, SharingPool, connections::SharedConnections},
    refresh::{Progress, Refresh},
    retry_write::{self, Retry, SharedLender, work_error::WorkError},
    role_pool::RolePool,
    session::SessionPool,
    status::{Durations, Status, subscriber::SubscriberStats},
    topology::{Handle, Topology},
    util::{abort_on_drop::AbortOnDrop, runtime::Runtime},
};

/// Two pools of connections to one Redis deployment, behind Sentinel or without: to the master for
/// writes, to the replicas for reads.
///
/// Cloning is cheap and gives another handle to the same pool. When the last handle is dropped the
/// background tasks end and idle connections are closed; connections still lent are closed when
/// their guards are dropped.
///
/// # Limits
///
/// `max_active` of each pool is hard: that pool never has more connections open at once. Callers
/// beyond it wait, at most `wait_timeout`, and are served in the order in which they came.
///
/// # Fairness and parked futures
///
/// A future of [`write`](Self::write) or [`read`](Self::read) that was polled once keeps its place
/// in line. If it is then neither polled nor dropped, a connection may wait with it. Do not keep such
/// futures parked.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    config: Arc<Config>,
    /// What reads ask for that ask for nothing else; mostly nothing.
    usual: Option<Arc<dyn Asks>>,
    /// Whether each of a caller's commands is measured or traced.
    watches_calls: bool,
    topology: Arc<Handle>,
    progress: Arc<Progress>,
    runtime: Arc<Runtime>,
    connections: Arc<Connections>,
    subscribers: Arc<SubscriberStats>,
    /// Ends by itself after `close`, once all that it has started have ended.
    _refresh: AbortOnDrop,
    tasks: Vec<AbortOnDrop>,
}

/// All connections of the pool to the nodes.
#[derive(Debug)]
struct Connections {
    write: ExclusivePool,
    read: ExclusivePool,
    writer: Arc<SharedConnections>,
    reader: Arc<SharedConnections>,
}

impl Pool {
    /// Checks the configuration, finds the master and the replicas, and starts the background
    /// tasks.
    ///
    /// All Sentinels are asked at once. The pool connects to the master that most of them name, which must
    /// say itself that it is a master. Where there are no Sentinels, the [`nodes`](Config::nodes) are
    /// asked. This takes two exchanges on a healthy deployment.
    ///
    /// If there is no master yet, it waits for one, up to the longer of `connect_timeout` and
    /// `failover_timeout`: a failover may be under way, or the servers may still be starting. It fails at
    /// once where waiting is useless. [`connect_lazy`](Self::connect_lazy) does not wait at all.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), redis_rw_pool::Error> {
    /// use redis_rw_pool::{Config, Pool};
    ///
    /// let config = Config::new(["10.0.0.1:26379", "10.0.0.2:26379"], "mymaster");
    /// let pool = Pool::connect(config).await?;
    /// println!("the master is {}", pool.topology().master.as_ref().expect("there is one"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// At once:
    ///
    /// - [`Error::Config`] if the configuration contradicts itself;
    /// - [`Error::NoSentinel`] if all Sentinels refuse us;
    /// - [`Error::UnknownMaster`] if no Sentinel that answered monitors the master name;
    /// - [`Error::Connect`] if the master refuses the credentials or the database, or refuses every
    ///   client because of its protected mode. Where there are no Sentinels: if a node does, is a
    ///   Sentinel or belongs to a Redis Cluster, and no other node is a master.
    ///
    /// When the time is up:
    ///
    /// - [`Error::NoSentinel`] if no Sentinel answers;
    /// - [`Error::NoMaster`] if no node has proved to be the master.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future stops everything that it started.
    ///
    /// # Runtime
    ///
    /// The pool lives on the runtime that calls this: its tasks, its sockets and the deadlines of
    /// commands. Callers may be on any other, so a server with a runtime for every worker (actix-web)
    /// connects one pool in `main` and gives each worker a clone.
    ///
    /// After that runtime has ended every call fails at once with [`Error::RuntimeEnded`]. This happens
    /// to a pool in a `static` that several `#[tokio::test]`s use.
    ///
    /// A single-threaded runtime must stay inside its `block_on` for as long as the pool is used.
    /// While nothing drives that runtime, the pool cannot tell whether it will ever run again, so a
    /// caller on another runtime may wait for ever.
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime with time and I/O enabled.
    pub async fn connect(config: Config) -> Result<Self, Error> {
        let mut inner = Inner::start(config)?;
        let patience = inner.config.connect_timeout;
        inner
            .connected(patience.max(inner.config.failover_timeout))
            .await?;
        inner.maintain();
        let (name, topology) = (&inner.config.master_name, inner.topology.snapshot());
        tracing::info!(
            master_name = name,
            master = topology.master.as_ref().map(field::display),
            replicas = topology.replicas.len(),
            "the pool is connected"
        );
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Checks the configuration and starts the background tasks, which find the master and the
    /// replicas. No server has to be there yet.
    ///
    /// Until a master is found, calls wait as they do in an outage: up to the longer of
    /// `failover_timeout` and `connect_timeout`. Calls for which waiting is useless fail as
    /// [`connect`](Self::connect) does. [`connected`](Self::connected) waits for the master.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use redis_rw_pool::{Config, Pool};
    ///
    /// let pool = Pool::connect_lazy(Config::from_url("redis://127.0.0.1:6379")?)?;
    /// // Start to listen, answer the liveness probe, and when asked whether the service is ready:
    /// if let Err(error) = pool.connected(Duration::from_millis(500)).await {
    ///     println!("not ready: {error}");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the configuration contradicts itself.
    ///
    /// # Runtime
    ///
    /// Although it is not async, it must be called within a tokio runtime. The pool lives on that
    /// runtime, see [`connect`](Self::connect).
    ///
    /// # Panics
    ///
    /// If called outside of a tokio runtime with time and I/O enabled.
    pub fn connect_lazy(config: Config) -> Result<Self, ConfigError> {
        let mut inner = Inner::start(config)?;
        inner.maintain();
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Waits until the pool has found its master, at most this long. Returns at once if it has found
    /// one before.
    ///
    /// After [`connect`](Self::connect) it has. That the master can be reached now is not checked.
    ///
    /// # Errors
    ///
    /// - As [`connect`](Self::connect), with `within` as the time it waits;
    /// - [`Error::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn connected(&self, within: Duration) -> Result<(), Error> {
        self.inner.connected(within).await
    }

    /// Lends an exclusive connection to the master.
    ///
    /// If the master cannot be reached, the call waits for it to come back or for another one to
    /// take its place, up to the longer of `failover_timeout` and `connect_timeout`.
    ///
    /// # Errors
    ///
    /// - [`Error::Exhausted`] or [`Error::WaitTimeout`] if all `max_active` connections stay in
    ///   use;
    /// - [`Error::Connect`] if the master refuses us, because of a wrong password for instance; with a
    ///   `failover_timeout` of zero, if the first dial fails for any reason;
    /// - [`Error::NoMaster`] if no master could be connected to in that time;
    /// - [`Error::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in line and nothing else: a connection that is being
    /// made for it goes to the next caller.
    pub async fn write(&self) -> Result<Connection, Error> {
        self.inner.connections.write.checkout().await
    }

    /// Lends an exclusive connection for reading, to a node that `read_from` allows.
    ///
    /// Reads may be stale: Redis replicates asynchronously, so a replica may not have yet what was
    /// just written to the master. [`Session::read`](crate::Session::read) and
    /// [`read_with`](Self::read_with) rule that out.
    ///
    /// Send writes through [`write`](Self::write) or [`writer`](Self::writer) only. A connection of
    /// the read pool may lead to the master, if `read_from` allows it. The master executes a write
    /// that is sent there, and the write is not held back during a failover: the old master may
    /// acknowledge it and lose it.
    ///
    /// # Errors
    ///
    /// - [`Error::Exhausted`], [`Error::WaitTimeout`] and [`Error::Closed`] as
    ///   [`write`](Self::write);
    /// - [`Error::NoReplica`] if `read_from` is [`ReadFrom::Replica`](crate::ReadFrom::Replica) and
    ///   no replica is readable;
    /// - [`Error::Connect`] if a node refuses us, or if no node could be connected to in the time that
    ///   [`write`](Self::write) has; it is the error of the last dial;
    /// - [`Error::NoMaster`] if no dial has ended in that time.
    ///
    /// # Cancel safety
    ///
    /// As [`write`](Self::write).
    pub async fn read(&self) -> Result<Connection, Error> {
        let connection = self.inner.connections.read.checkout().await?;
        let Some(usual) = &self.inner.usual else {
            return Ok(connection);
        };
        let pool: Arc<dyn SharingPool> = Arc::clone(&self.inner) as Arc<dyn SharingPool>;
        Ok(connection.asking(Arc::clone(usual), &pool))
    }

    /// Does idempotent work on the master, again and again until it succeeds or the time is up.
    ///
    /// Each attempt checks a connection out, as [`write`](Self::write) does, and hands it to `work`.
    /// An attempt that fails for a reason that may pass is repeated after a pause, within the deadline of
    /// the policy. Such reasons are: there was no connection, the master is being replaced or refuses
    /// writes for now, the connection was lost. So the caller does not notice a failover, planned or not,
    /// that is over in time.
    ///
    /// **Only for work that may be done twice**, because it may be: a command that was sent and never
    /// answered may have been executed, and is sent again all the same. `SET`, `DEL`, `HSET`, `ZADD`,
    /// `SADD`, `EXPIRE` have the same result either way. `INCR`, `RPUSH`, `XADD`, `LPOP` do not. `SET` with
    /// `NX` is executed once, and its repetition may then say that it was not. A value that somebody else
    /// has written meanwhile is overwritten.
    ///
    /// ```no_run
    /// use redis_rw_pool::{Pool, Retry, redis::{AsyncCommands, RedisResult}};
    ///
    /// async fn save(pool: &Pool, user: &str, name: &str) -> RedisResult<()> {
    ///     pool.retry_write(Retry::default(), |mut conn| async move {
    ///         conn.hset(user, "name", name).await
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// - At once, an error that the server has answered to a command
    ///   ([`Outcome::Executed`](crate::Outcome)), one that no attempt can mend (a wrong password, a
    ///   wrong command, a closed pool), and one of your own that has no error of Redis or of the pool
    ///   for its source.
    /// - When the time is up, the error of the last attempt. If it says that nothing was executed,
    ///   that is true of the last attempt only. So if an earlier attempt may have been executed,
    ///   its error is returned instead. An attempt that the deadline cuts short fails as unknown.
    ///
    /// The work may fail with an error type of your own; [`WorkError`] says with which. If the compiler
    /// cannot tell which one it is, because the work uses `?` and so does the caller, name it at the end
    /// of the work: `Ok::<_, RedisError>(())`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future ends the attempt under way, whose command may have been executed, and
    /// begins no other.
    pub async fn retry_write<T, E, View, F, Fut>(&self, policy: Retry, work: F) -> Result<T, E>
    where
        F: FnMut(Connection) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: WorkError<View>,
        View: ?Sized,
    {
        retry_write::run(&self.inner.connections.write, &policy, work).await
    }

    /// Does idempotent work over a [`writer`](Self::writer) handle, again and again until it succeeds or
    /// the time is up.
    ///
    /// As [`retry_write`](Self::retry_write), and **only for work that may be done twice**. It takes no
    /// exclusive connection, so it does not count towards `max_active`, and the work can carry only what
    /// [`Multiplexed`] can.
    ///
    /// ```no_run
    /// use redis_rw_pool::{Pool, Retry, redis::{AsyncCommands, RedisResult}};
    ///
    /// async fn save(pool: &Pool, user: &str, name: &str) -> RedisResult<()> {
    ///     pool.retry_writer(Retry::default(), |mut writer| async move {
    ///         writer.hset(user, "name", name).await
    ///     })
    ///     .await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`retry_write`](Self::retry_write). Each attempt first waits for a connection to the master, as
    /// long as a command of the handle would. If there is none, the error is [`Error::NoMaster`].
    /// A command that waits again within the work, because the master was lost meanwhile, is cut short
    /// by the deadline, and counts as unknown.
    ///
    /// # Cancel safety
    ///
    /// As [`retry_write`](Self::retry_write).
    pub async fn retry_writer<T, E, View, F, Fut>(&self, policy: Retry, work: F) -> Result<T, E>
    where
        F: FnMut(Multiplexed) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: WorkError<View>,
        View: ?Sized,
    {
        let lender = SharedLender {
            handle: self.writer(),
            connections: Arc::clone(&self.inner.connections.writer),
        };
        retry_write::run(&lender, &policy, work).await
    }

    /// A handle to the master that many callers share, for many small commands at once.
    ///
    /// Cheap: it makes no connection yet. [`Multiplexed`] says which commands it can carry.
    ///
    /// ```no_run
    /// use redis::AsyncCommands;
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut writer = pool.writer();
    /// let () = writer.set("greeting", "hello").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn writer(&self) -> Multiplexed {
        self.share(PoolName::Write)
    }

    /// A handle for reads that many callers share, to the nodes that `read_from` allows.
    ///
    /// Each command goes to the less busy of two of their connections. Otherwise as
    /// [`writer`](Self::writer). Reads may be stale, unless they ask for more
    /// ([Fresh reads](crate#fresh-reads)), and writes do not belong here, see [`read`](Self::read).
    pub fn reader(&self) -> Multiplexed {
        self.share(PoolName::Read)
    }

    fn share(&self, name: PoolName) -> Multiplexed {
        let pool: Arc<Inner> = Arc::clone(&self.inner);
        let handle = Multiplexed::new(pool, name).watched(self.inner.watches_calls);
        match (&self.inner.usual, name) {
            (Some(usual), PoolName::Read) => handle.asking_as_well(usual),
            _ => handle,
        }
    }

    /// What both pools are doing now, and what they know of the Sentinels.
    pub fn status(&self) -> Status {
        self.inner.status()
    }

    /// Who is master and who is replica, as the pool knows it now.
    pub fn topology(&self) -> Arc<Topology> {
        self.inner.topology.snapshot()
    }

    /// Follows the topology: the receiver always holds the newest snapshot.
    ///
    /// After [`close`](Self::close) no more changes come.
    pub fn watch(&self) -> watch::Receiver<Arc<Topology>> {
        self.inner.topology.subscribe()
    }

    /// What the pool can do now, as far as it knows: whether writes and reads can be served and the
    /// Sentinels answer. It asks nobody and takes less than a microsecond, so it may be called for every
    /// request.
    ///
    /// [`Health`] says what the probes of an orchestrator should ask.
    pub fn health(&self) -> Health {
        let role_pool = self.inner.connections.role_pool();
        let patience = self.inner.config.failover_timeout;
        let health = self.inner.progress.health(patience);
        if role_pool.is_closed() {
            health.after_the_end(&role_pool.ending())
        } else {
            health
        }
    }

    /// Sends a `PING` through [`writer`](Self::writer) and one through [`reader`](Self::reader), and waits
    /// at most this long for both replies. Then returns [`health`](Self::health).
    ///
    /// For a check at the start, or by hand. What an orchestrator asks again and again should not depend on
    /// it: where every instance sends commands because Redis is slow, Redis is slower still. A server that
    /// answers that our user may not `PING` is alive.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), redis_rw_pool::Error> {
    /// use std::time::Duration;
    ///
    /// let health = pool.ping(Duration::from_secs(1)).await?;
    /// println!("{health}");
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::Closed`] after [`close`](Self::close);
    /// - [`Error::NoMaster`] if there was no connection to the master in that time, or it did not reply;
    /// - [`Error::NoReplica`] if there is no node to read from;
    /// - [`Error::Connect`] if a node refuses us, its connection was lost, or a node to read from did not
    ///   reply.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn ping(&self, within: Duration) -> Result<Health, Error> {
        let (writes, reads) = tokio::join!(
            self.ping_through(PoolName::Write, within),
            self.ping_through(PoolName::Read, within),
        );
        writes.and(reads)?;
        Ok(self.health())
    }

    async fn ping_through(&self, name: PoolName, within: Duration) -> Result<(), Error> {
        let role_pool = match name {
            PoolName::Write => self.inner.connections.write.role_pool(),
            PoolName::Read => self.inner.connections.read.role_pool(),
        };
        // Whatever reads ask for besides.
        let pool: Arc<Inner> = Arc::clone(&self.inner);
        let (mut handle, ping) = (Multiplexed::new(pool, name), cmd("PING"));
        let ping = handle.req_packed_command(&ping);
        match tokio::time::timeout(within, ping).await {
            Err(_) => {
                let last = role_pool.failed_at(no_reply());
                Err(role_pool.timed_out(Some(last), within))
            }
            Ok(Ok(reply)) if manager::proves_alive(&reply) => Ok(()),
            Ok(Ok(Value::ServerError(refusal))) => Err(role_pool.failed_at(refusal.into())),
            // No server of ours says anything else.
            Ok(Ok(_)) => Err(role_pool.failed_at(not_a_pong())),
            Ok(Err(error)) => match Error::of(&error) {
                Some(known) => Err(known.clone()),
                None => Err(role_pool.failed_at(error)),
            },
        }
    }

    /// What happens to the pool from now on: another master, a fence, replicas and Sentinels that come and
    /// go, callers that begin to wait.
    ///
    /// [`EventKind`](crate::EventKind) has all of it. Many may listen, and a slow listener holds up nobody.
    /// They all hear of the end when the pool is closed.
    pub fn events(&self) -> Events {
        self.inner.progress.events.listen()
    }

    /// Asks all Sentinels now, and returns the topology once enough of them have answered. Without
    /// Sentinels it asks the nodes.
    ///
    /// The pool does this by itself, on events, on trouble and every `refresh_interval`. Many calls
    /// at once cost one or two questions. Ends within `sentinel_timeout` and `connect_timeout`
    /// together, with what is known by then.
    ///
    /// # Errors
    ///
    /// - [`Error::NoSentinel`] if no Sentinel answered; the topology stays as it was;
    /// - [`Error::UnknownMaster`] if those that answered do not monitor the master name any more;
    /// - [`Error::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing: the Sentinels are asked all the same.
    pub async fn refresh(&self) -> Result<Arc<Topology>, Error> {
        let role_pool = self.inner.connections.role_pool();
        if role_pool.is_closed() {
            return Err(role_pool.ending());
        }
        let config = &self.inner.config;
        let wanted = self.inner.progress.status().refreshes + 1;
        let mut progress = self.inner.progress.progress();
        self.inner.topology.request_refresh();
        let limit = config.sentinel_timeout + config.connect_timeout;
        let completed = progress.wait_for(|round| *round >= wanted);
        tokio::select! {
            biased;
            () = role_pool.closing() => return Err(role_pool.ending()),
            // If time runs out, what is known so far decides.
            _ = tokio::time::timeout(limit, completed) => {}
        }
        match self.inner.progress.error(&self.inner.config) {
            Some(error @ (Error::NoSentinel { .. } | Error::UnknownMaster { .. })) => Err(error),
            _ => Ok(self.topology()),
        }
    }

    /// Closes both pools: waiting callers get [`Error::Closed`] at once, idle connections are
    /// closed now, lent ones when they come back. Calling it again does nothing.
    ///
    /// [`closed`](Self::closed) waits for the end of all that.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Waits until the pool has been closed and nothing of it is left: every lent connection is back,
    /// every command on a multiplexed handle is answered, and all sockets and tasks are gone.
    ///
    /// Any number of callers may wait, from before [`close`](Self::close) on or later. Without a
    /// `close` it waits for ever, unless the pool's runtime ends. It has no time limit of its own:
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) {
    /// use std::time::Duration;
    ///
    /// pool.close();
    /// if tokio::time::timeout(Duration::from_secs(10), pool.closed()).await.is_err() {
    ///     println!("some connections are still in use: {:?}", pool.status());
    /// }
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn closed(&self) {
        self.inner.connections.role_pool().closing().await;
        self.inner.runtime.vacated().await;
    }
}

impl Inner {
    /// Everything but the tasks that maintain the connections.
    fn start(config: Config) -> Result<Self, ConfigError> {
        config.validate()?;
        let runtime = Runtime::current();
        let config = Arc::new(config.with_keyrings(&runtime));
        let topology = Arc::new(Handle::new());
        let progress = Arc::new(Progress::default());
        let connections = Connections::new(&config, &topology, &progress, &runtime);
        let connections = Arc::new(connections);
        runtime.spawn_uncounted(EndsWithRuntime(Some(Arc::clone(&connections))).run());
        let role_pool = Arc::clone(connections.role_pool());
        let refresh = Refresh::spawn(
            &runtime,
            Arc::clone(&config),
            Arc::clone(&topology),
            Arc::clone(&progress),
            async move { role_pool.closing().await },
        );
        let usual = config.staleness_of_reads().map(|age| {
            let usual: Arc<dyn Asks> = Arc::new(Requirement::Within(age));
            usual
        });
        Ok(Self {
            watches_calls: connections.role_pool().calls.is_some(),
            config,
            usual,
            topology,
            progress,
            runtime,
            connections,
            subscribers: Arc::default(),
            _refresh: refresh,
            tasks: Vec::new(),
        })
    }

    /// Starts the tasks that maintain the connections.
    fn maintain(&mut self) {
        self.tasks = self.connections.tasks();
        #[cfg(feature = "tls")]
        self.tasks
            .extend(certificates::tasks(&self.config, &self.runtime));
    }

    async fn connected(&self, within: Duration) -> Result<(), Error> {
        let role_pool = self.connections.role_pool();
        tokio::select! {
            biased;
            () = role_pool.closing() => Err(role_pool.ending()),
            found = self.progress.first_topology(&self.config, &self.topology, within) => found,
        }
    }

    fn status(&self) -> Status {
        #[cfg(feature = "tls")]
        let [tls, sentinel_tls] = certificates::status(&self.config);
        #[cfg(not(feature = "tls"))]
        let [tls, sentinel_tls] = [None, None];
        let topology = self.topology.snapshot();
        let (master, master_changes) = self.progress.master();
        Status {
            name: self.config.name_in_metrics(),
            master_name: self.config.master_name.clone(),
            master,
            master_changes,
            write: self.connections.write.status(),
            read: self.connections.read.status(),
            writer: self.connections.writer.status(),
            reader: self.connections.reader.status(),
            sentinel: self.progress.status(),
            fence: self.progress.fence_status(),
            freshness: self.connections.role_pool().freshness.status(),
            durations: self.connections.durations(),
            subscriber: self.subscribers.status(),
            master_error: topology.master_error.clone(),
            topology,
            tls,
            sentinel_tls,
        }
    }

    fn close(&self) {
        // A pool that could not be connected has no tasks, and was never open.
        if !self.tasks.is_empty() && !self.connections.role_pool().is_closed() {
            tracing::info!(master_name = self.config.master_name, "the pool closes");
        }
        self.connections.close();
        for task in &self.tasks {
            task.abort();
        }
    }
}

fn no_reply() -> RedisError {
    io::Error::new(io::ErrorKind::TimedOut, "no reply to PING in time").into()
}

fn not_a_pong() -> RedisError {
    (
        ErrorKind::UnexpectedReturnType,
        "the reply to PING is no PONG",
    )
        .into()
}

impl SharingPool for Inner {
    fn shared_connections(&self, name: PoolName) -> &SharedConnections {
        match name {
            PoolName::Write => &self.connections.writer,
            PoolName::Read => &self.connections.reader,
        }
    }

    #[inline]
    fn watches_calls(&self) -> bool {
        self.watches_calls
    }
}

impl SessionPool for Inner {
    fn exclusive_pool(&self, name: PoolName) -> &ExclusivePool {
        match name {
            PoolName::Write => &self.connections.write,
            PoolName::Read => &self.connections.read,
        }
    }

    fn writer_connections(&self) -> &Arc<SharedConnections> {
        &self.connections.writer
    }
}

impl Connections {
    fn new(
        config: &Arc<Config>,
        topology: &Arc<Handle>,
        progress: &Arc<Progress>,
        runtime: &Arc<Runtime>,
    ) -> Self {
        let scripts = Arc::default();
        let freshness = Shared::new(
            Arc::clone(config),
            Arc::clone(topology),
            Arc::clone(runtime),
        );
        let freshness = Arc::new(freshness);
        let exclusive = |name| {
            let (config, topology) = (Arc::clone(config), Arc::clone(topology));
            let role_pool = RolePool::new(
                name,
                config,
                topology,
                Arc::clone(progress),
                Arc::clone(runtime),
                Arc::clone(&scripts),
                Arc::clone(&freshness),
            );
            ExclusivePool::new(Arc::new(role_pool))
        };
        let shared =
            |pool: &ExclusivePool| Arc::new(SharedConnections::new(Arc::clone(pool.role_pool())));
        let (write, read) = (exclusive(PoolName::Write), exclusive(PoolName::Read));
        Self {
            writer: shared(&write),
            reader: shared(&read),
            write,
            read,
        }
    }

    /// That of the write pool. Use it only for what both pools share: runtime, topology, closing.
    fn role_pool(&self) -> &Arc<RolePool> {
        self.write.role_pool()
    }

    /// How long calls took, if that is measured.
    fn durations(&self) -> Option<Durations> {
        let of = |pool: &ExclusivePool| pool.role_pool().calls.as_ref()?.durations();
        Some(Durations {
            write: of(&self.write)?,
            read: of(&self.read)?,
        })
    }

    /// Starts the tasks that maintain them.
    fn tasks(&self) -> Vec<AbortOnDrop> {
        let runtime = &self.role_pool().runtime;
        let maintain = |pool: &ExclusivePool, shared: &Arc<SharedConnections>| {
            let (pool, shared) = (pool.clone(), Arc::clone(shared));
            // They sleep nearly always, so that one task for the three of a role does.
            AbortOnDrop::spawn_on(runtime, async move {
                let role_pool = Arc::clone(pool.role_pool());
                let lazy_timeout = role_pool.lazy_timeout.run();
                tokio::join!(reaper::run(pool), lazy_timeout, shared.run());
            })
        };
        vec![
            maintain(&self.write, &self.writer),
            maintain(&self.read, &self.reader),
        ]
    }

    fn close(&self) {
        self.write.close();
        self.read.close();
        self.writer.close();
        self.reader.close();
    }
}

/// Closes the pool when its runtime ends: tokio then drops all tasks, and dropping this one closes
/// the pool.
#[derive(Debug)]
struct EndsWithRuntime(Option<Arc<Connections>>);

impl EndsWithRuntime {
    /// Goes on after the pool is closed, until the last lent connection is back.
    async fn run(mut self) {
        if let Some(connections) = &self.0 {
            connections.role_pool().closing().await;
            connections.role_pool().runtime.vacated().await;
        }
        self.0 = None;
    }
}

impl Drop for EndsWithRuntime {
    fn drop(&mut self) {
        if let Some(connections) = &self.0 {
            connections.role_pool().runtime.end();
            connections.close();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Pool {
    /// One line; [`Pool::status`] and [`Pool::topology`] have the rest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let topology = self.topology();
        let master = topology.master.as_ref().map(field::display);
        let mut shown = f.debug_struct("Pool");
        match &self.inner.config.nodes[..] {
            [] => shown.field("master_name", &self.inner.config.master_name),
            nodes => shown.field("nodes", &nodes),
        };
        shown
            .field("master", &master)
            .field("readable_replicas", &topology.readable().count())
            .finish_non_exhaustive()
    }
}
