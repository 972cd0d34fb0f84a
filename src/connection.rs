//! The guard: what a caller holds.

use std::{fmt, sync::Arc};

use deadpool::managed::Object;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use tokio::time::Instant;

use crate::{
    discard::Discard,
    doubt::Doubt,
    error::Error,
    failure::{Cause, Failure, Fate, Peer},
    manager::{self, Manager},
    node::{Node, Role},
    pooled::Pooled,
    standing::Standing,
    topology::Target,
};

/// An exclusive connection to one node, lent by a [`Pool`](crate::Pool).
///
/// Use it with the redis crate's own commands, pipelines and scripts: it implements
/// [`redis::aio::ConnectionLike`]. It goes back to its pool when it is dropped, at once and without
/// a task. It is kept there only if it is provably clean: no command on its way, no `MULTI`,
/// `WATCH`, `SELECT`, `SUBSCRIBE` or the like left behind; otherwise it is closed.
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
/// Before a command is written to a connection of the write pool, the pool checks that its node
/// still is the master. While the master is being replaced the command waits, up to the longer of
/// [`failover_timeout`](crate::Config::failover_timeout) and
/// [`connect_timeout`](crate::Config::connect_timeout). Where another node has become the master,
/// the command goes there, over a fresh connection that takes the place of this one:
/// [`node`](Self::node) then names the new master. In the middle of a transaction, under `WATCH` or
/// subscribed that cannot be done; the command then fails with an error that says where the master
/// is and that the command was not executed.
///
/// # Cancel safety
///
/// Dropping the future of a command closes the connection when the guard is dropped, since its
/// reply would reach somebody else. A command that was on its way may have been executed. Further
/// commands on the same guard fail, and are not executed.
#[must_use = "a connection goes back to its pool as soon as it is dropped"]
pub struct Connection {
    /// `None` while being dropped, and where no fresh connection could be had in its place.
    object: Option<Object<Manager>>,
    /// Whom it went to then.
    lost: Option<Box<Target>>,
    db: i64,
}

/// A connection that is closed already and must not go back to its pool, however this ends.
struct Evicted(Option<Object<Manager>>);

impl Drop for Evicted {
    fn drop(&mut self) {
        if let Some(object) = self.0.take() {
            drop(Object::take(object));
        }
    }
}

impl Connection {
    pub(crate) fn new(object: Object<Manager>) -> Self {
        Self {
            db: object.home().config.db,
            object: Some(object),
            lost: None,
        }
    }

    /// The address of the node at the other end, as the Sentinels announce it.
    pub fn node(&self) -> Node {
        self.target().node.clone()
    }

    /// The role of the node at the other end, when the connection was made.
    ///
    /// A connection from [`Pool::read`](crate::Pool::read) is to a master where the read policy
    /// says so.
    pub fn role(&self) -> Role {
        self.target().role
    }

    fn target(&self) -> &Target {
        let pooled = self.object.as_ref().map(|object| &object.target);
        pooled
            .or(self.lost.as_deref())
            .expect("BUG: a connection goes to somebody, or went to somebody")
    }

    fn pooled_mut(&mut self) -> RedisResult<&mut Pooled> {
        if self.object.is_none() {
            return Err(self.unusable());
        }
        let object = self.object.as_mut();
        Ok(object.expect("BUG: it was there a line ago"))
    }

    fn unusable(&self) -> RedisError {
        let Target { node, role, .. } = self.target();
        let failure = Failure {
            peer: Peer::Node(*role),
            node: node.clone(),
            cause: Cause::Unusable,
            fate: Fate::NotExecuted,
        };
        failure.into()
    }

    /// Holds the command back while the master is being replaced, and goes on on a fresh connection
    /// where this one is not to the master any more. Nothing has been written yet.
    #[inline]
    async fn ensure_current(&mut self) -> RedisResult<()> {
        let pooled = self.pooled_mut()?;
        if pooled.home().takes_turns() || pooled.standing() == Standing::Current {
            return Ok(());
        }
        Box::pin(self.catch_up()).await
    }

    async fn catch_up(&mut self) -> RedisResult<()> {
        let home = Arc::clone(self.pooled_mut()?.home());
        let patience = home.patience();
        let deadline = Instant::now() + patience;
        let mut changes = home.topology.subscribe();
        loop {
            changes.mark_unchanged();
            match self.pooled_mut()?.standing() {
                Standing::Current => return Ok(()),
                Standing::Gone => self.renew(deadline).await?,
                Standing::Fenced => {
                    let sign = home.topology.snapshot().fence.clone().unwrap_or_default();
                    let lifted = tokio::time::timeout_at(deadline, changes.changed()).await;
                    if !matches!(lifted, Ok(Ok(()))) {
                        let cause = Cause::Fenced(sign, patience);
                        return Err(self.pooled_mut()?.wire().failure(cause).into());
                    }
                }
            }
        }
    }

    /// A guard is a lease on a role, not on a socket: takes a fresh connection in place of one whose
    /// node was replaced. The permit stays where it is, so that a pool of one cannot wait for itself.
    async fn renew(&mut self, deadline: Instant) -> RedisResult<()> {
        let pooled = self.pooled_mut()?;
        if pooled.dirt().is_some() {
            let master = pooled.home().topology.snapshot().master.clone();
            let moved_to = master.filter(|master| *master != pooled.target.node);
            return Err(pooled.wire().failure(Cause::Superseded(moved_to)).into());
        }
        let reason = pooled.home().departed();
        self.lost = Some(Box::new(pooled.target.clone()));
        let mut evicted = Evicted(self.object.take());
        let Some(object) = &mut evicted.0 else {
            return Err(self.unusable());
        };
        // Closed before another is made, so that the limit holds at every moment.
        object.close(reason);
        let Some(pool) = Object::pool(object) else {
            return Err(Error::Closed.into());
        };
        let dialer = pool.manager().dialer();
        match tokio::time::timeout_at(deadline, dialer.obtain()).await {
            Ok(Ok((fresh, _))) => {
                **object = fresh;
                self.object = evicted.0.take();
                Ok(())
            }
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(dialer.out_of_patience(dialer.patience()).into()),
        }
    }

    /// Has the node looked at when what it said, or did not say, puts its role in doubt.
    fn weigh(&mut self, doubt: Doubt) {
        if doubt == Doubt::None {
            return;
        }
        let Ok(pooled) = self.pooled_mut() else {
            return;
        };
        let (home, node) = (pooled.home(), &pooled.target.node);
        match (doubt, home.config.command_timeout) {
            (Doubt::Silent, Some(within)) => home.topology.silence(node, within),
            _ => home.topology.suspect(node),
        }
        if doubt == Doubt::Connection {
            pooled.condemn();
        }
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.ensure_current().await?;
            let result = self.pooled_mut()?.wire().command(cmd).await;
            match &result {
                Ok(reply) => self.weigh(Doubt::of(reply)),
                Err(error) => self.weigh(Doubt::of_failure(error)),
            }
            result
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(async move {
            self.ensure_current().await?;
            let wire = self.pooled_mut()?.wire();
            let result = wire.pipeline(pipeline, offset, count).await;
            match &result {
                Ok(replies) => self.weigh(Doubt::of_all(replies)),
                Err(error) => self.weigh(Doubt::of_failure(error)),
            }
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.db
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let Some(mut object) = self.object.take() else {
            return;
        };
        object.home().set_used();
        let now = object.home().clock.now();
        match discard_on_return(&mut object, now) {
            None => {
                object.idle_since = now;
                let awaited = object.home().is_awaited();
                let pool = awaited.then(|| Object::pool(&object)).flatten();
                drop(object);
                if let Some(pool) = pool {
                    manager::feed(&pool);
                }
            }
            Some(reason) => {
                object.close(reason);
                // Taken out of the pool for good; what is dropped here has no socket any more.
                drop(Object::take(object));
            }
        }
    }
}

/// Why a connection that comes back must not be kept; `None` if it may.
fn discard_on_return(object: &mut Object<Manager>, now: Instant) -> Option<Discard> {
    if let Some(dirt) = object.dirt() {
        return Some(dirt);
    }
    if !object.vet() {
        return Some(object.home().departed());
    }
    if object.expires_at.is_some_and(|at| at <= now) {
        return Some(Discard::Lifetime);
    }
    if object.is_stale() {
        return Some(Discard::Broken);
    }
    object.wire().trim();
    let idle = || Object::pool(object).map_or(0, |pool| pool.status().available);
    object.home().unwanted(&object.target.node, idle)
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
