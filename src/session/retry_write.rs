//! Work of a session that is done again until it succeeds.

use std::{future::Future, sync::Arc};

use tokio::time::Instant;

use crate::{
    error::{Error, PoolName},
    exclusive::connection::Connection,
    multiplexed::Multiplexed,
    node::Node,
    retry_write::{self, Lender, Retry, SharedLender, work_error::WorkError},
    session::Session,
};

impl Session {
    /// Does idempotent work on the master, as [`Pool::retry_write`](crate::Pool::retry_write), over
    /// connections of [`write`](Self::write).
    ///
    /// ```no_run
    /// use redis_rw_pool::{Retry, Session, redis::{AsyncCommands, RedisResult}};
    ///
    /// async fn rename(session: &Session, user: &str, name: &str) -> RedisResult<String> {
    ///     session
    ///         .retry_write(Retry::default(), |mut conn| async move {
    ///             conn.hset::<_, _, _, ()>(user, "name", name).await
    ///         })
    ///         .await?;
    ///     session.reader().hget(user, "name").await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Pool::retry_write`](crate::Pool::retry_write). An attempt of unknown outcome makes the session's
    /// next read ask the master first.
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::retry_write`](crate::Pool::retry_write).
    pub async fn retry_write<T, E, View, F, Fut>(&self, policy: Retry, work: F) -> Result<T, E>
    where
        F: FnMut(Connection) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: WorkError<View>,
        View: ?Sized,
    {
        retry_write::run(&GuardLender(self), &policy, work).await
    }

    /// Does idempotent work over a [`writer`](Self::writer) handle, as
    /// [`Pool::retry_writer`](crate::Pool::retry_writer).
    ///
    /// # Errors
    ///
    /// As [`Pool::retry_writer`](crate::Pool::retry_writer). An attempt of unknown outcome makes the
    /// session's next read ask the master first.
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::retry_write`](crate::Pool::retry_write).
    pub async fn retry_writer<T, E, View, F, Fut>(&self, policy: Retry, work: F) -> Result<T, E>
    where
        F: FnMut(Multiplexed) -> Fut,
        Fut: Future<Output = Result<T, E>>,
        E: WorkError<View>,
        View: ?Sized,
    {
        let lender = SharedLender {
            handle: self.writer(),
            connections: Arc::clone(self.pool.writer_connections()),
        };
        retry_write::run(&lender, &policy, work).await
    }
}

/// Lends the connections of [`Session::write`].
struct GuardLender<'a>(&'a Session);

impl Lender for GuardLender<'_> {
    type Lent = Connection;

    async fn lend(&self, until: Option<Instant>) -> Result<(Connection, Node), Error> {
        let connection = self.0.write().await?;
        let node = connection.node();
        Ok((connection.until(until), node))
    }

    fn waited_too_long(&self, waited: std::time::Duration) -> Error {
        let pool = self.0.pool.exclusive_pool(PoolName::Write);
        pool.waited_too_long(waited)
    }
}
