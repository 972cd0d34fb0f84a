//! The guard: what a caller holds.

use std::fmt;

use deadpool::managed::Object;
use redis::{Cmd, Pipeline, RedisFuture, RedisResult, Value, aio::ConnectionLike};
use tokio::time::Instant;

use crate::{
    discard::Discard,
    doubt::Doubt,
    failure::Cause,
    manager::{self, Manager},
    node::{Node, Role},
    pooled::Pooled,
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
/// still is the master. If it is not, the command fails with an error that says so and that the
/// command was not executed; take a new connection from the pool then.
///
/// # Cancel safety
///
/// Dropping the future of a command closes the connection when the guard is dropped, since its
/// reply would reach somebody else. A command that was on its way may have been executed. Further
/// commands on the same guard fail, and are not executed.
#[must_use = "a connection goes back to its pool as soon as it is dropped"]
pub struct Connection {
    /// `None` only while being dropped.
    object: Option<Object<Manager>>,
}

impl Connection {
    pub(crate) fn new(object: Object<Manager>) -> Self {
        Self {
            object: Some(object),
        }
    }

    /// The address of the node at the other end, as the Sentinels announce it.
    pub fn node(&self) -> Node {
        self.pooled().target.node.clone()
    }

    /// The role of the node at the other end, when the connection was made.
    ///
    /// A connection from [`Pool::read`](crate::Pool::read) is to a master where the read policy
    /// says so.
    pub fn role(&self) -> Role {
        self.pooled().target.role
    }

    fn pooled(&self) -> &Pooled {
        self.object
            .as_ref()
            .expect("BUG: a connection is used while it is dropped")
    }

    fn pooled_mut(&mut self) -> &mut Pooled {
        self.object
            .as_mut()
            .expect("BUG: a connection is used while it is dropped")
    }

    /// The place where a write may still be held back or led elsewhere: nothing has been written.
    fn ensure_current(&mut self) -> RedisResult<()> {
        let pooled = self.pooled_mut();
        if pooled.home().takes_turns() || pooled.vet() {
            return Ok(());
        }
        let master = pooled.home().topology.snapshot().master.clone();
        let moved_to = master.filter(|master| *master != pooled.target.node);
        Err(pooled.wire().failure(Cause::Superseded(moved_to)).into())
    }

    /// Has the node looked at when what it said, or did not say, puts its role in doubt.
    fn weigh(&mut self, doubt: Doubt) {
        let pooled = self.pooled_mut();
        match doubt {
            Doubt::None => return,
            Doubt::Node => {}
            Doubt::Connection => pooled.condemn(),
        }
        pooled.home().topology.suspect(&pooled.target.node);
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            self.ensure_current()?;
            let result = self.pooled_mut().wire().command(cmd).await;
            match &result {
                Ok(reply) => self.weigh(Doubt::of(reply)),
                Err(error) if error.is_io_error() => self.weigh(Doubt::Node),
                Err(_) => {}
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
            self.ensure_current()?;
            let wire = self.pooled_mut().wire();
            let result = wire.pipeline(pipeline, offset, count).await;
            match &result {
                Ok(replies) => self.weigh(Doubt::of_all(replies)),
                Err(error) if error.is_io_error() => self.weigh(Doubt::Node),
                Err(_) => {}
            }
            result
        })
    }

    fn get_db(&self) -> i64 {
        self.pooled().home().config.db
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
