//! A caller's own writes, seen again by its reads.

mod core;
mod record;
mod retry_write;

use std::{fmt, sync::Arc};

use crate::{
    error::{Error, PoolName},
    exclusive::{ExclusivePool, connection::Connection},
    freshness::{Shared, asks::Asks, session_state::SessionState},
    multiplexed::{Multiplexed, SharingPool, connections::SharedConnections},
    position::token::Token,
    session::core::Core,
};

/// Reads that see the writes of the same session, from replicas.
///
/// From [`Pool::session`](crate::Pool::session). Each write over [`writer`](Self::writer) or
/// [`write`](Self::write) leaves the master's position behind it in the session, as a [`Token`]. Each read
/// over [`reader`](Self::reader) or [`read`](Self::read) goes to a node that has it, and the node proves
/// that when it serves the read. Where replicas are behind, the read waits
/// for a few milliseconds and then goes to the master. [`FreshnessLimits`](crate::FreshnessLimits) has the
/// times and what else may happen.
///
/// Clones share one token, so a session is for what belongs together: a request, a user, a job. A session
/// costs as much as an [`Arc`]; nothing is checked out.
///
/// ```no_run
/// use redis_rw_pool::redis::AsyncCommands;
/// # async fn example(pool: redis_rw_pool::Pool, cookie: &str) -> Result<(), Box<dyn std::error::Error>> {
/// // One request writes, and gives the token to the browser,
/// let session = pool.session();
/// let () = session.writer().set("name", "Ada").await?;
/// let cookie = session.token().map(|token| token.to_string());
///
/// // and the next one reads what was written, in any process.
/// let session = pool.session().resume(cookie.as_deref().unwrap_or_default());
/// let name: String = session.reader().get("name").await?;
/// # Ok(())
/// # }
/// ```
///
/// # What is promised
///
/// - A read sees every write of the session that was answered before the read began, and everything that
///   the master had executed before those. If the outcome of a write is unknown, the next read asks the
///   master first where it is, and sees all that was executed by then.
/// - If a failover loses a write, reads see what is left, and [`state`](Self::state) says so.
///   [`OnLost::Fail`](crate::OnLost::Fail) makes it an error.
/// - Only commands that are known to read only are proven; all others are sent as ever. [`Connection`] says
///   which reads over an exclusive connection are not.
///
/// # What is not
///
/// - A key with a time to live may vanish early on a replica whose clock is ahead: Redis sends it as a
///   moment of the master's clock, and each node compares that with its own.
/// - What is not replicated cannot be seen: what modules and scripts hold back
///   ([`redis.set_repl`](https://redis.io/docs/latest/develop/programmability/lua-api/)), writes to a replica.
/// - Two reads may see different replicas, and the second an older state than the first, as long as both
///   have the session's writes; [`monotonic`](Self::monotonic) rules that out.
#[derive(Clone)]
pub struct Session {
    pool: Arc<dyn SessionPool>,
    core: Arc<Core>,
}

/// The pool that a session belongs to and keeps running.
pub(crate) trait SessionPool: SharingPool {
    fn exclusive_pool(&self, name: PoolName) -> &ExclusivePool;

    /// The connections behind [`Session::writer`].
    fn writer_connections(&self) -> &Arc<SharedConnections>;
}

impl Session {
    pub(crate) fn new(pool: Arc<dyn SessionPool>, shared: Arc<Shared>) -> Self {
        Self {
            pool,
            core: Arc::new(Core::new(shared)),
        }
    }

    /// Goes on with the token of another session, of another process even. A text that is no token is
    /// ignored: a browser may send anything.
    #[must_use]
    pub fn resume(self, token: &str) -> Self {
        match token.parse() {
            Ok(token) => self.after(&token),
            Err(_) => self,
        }
    }

    /// Goes on after this token, in addition to what the session knows.
    ///
    /// It never takes the place of the session's own writes, before or after this call. If nobody here knows
    /// the token's history beside that of those writes, the next read asks the master where it is.
    #[must_use]
    pub fn after(self, token: &Token) -> Self {
        self.core.resume(token);
        self
    }

    /// Whether reads never go back behind what earlier reads of the session have seen. Defaults to false.
    ///
    /// Every read then has a second question behind it, and a token that grows with each.
    #[must_use]
    pub fn monotonic(self, monotonic: bool) -> Self {
        self.core.set_monotonic(monotonic);
        self
    }

    /// A handle to the master, as [`Pool::writer`](crate::Pool::writer). Each write leaves its token in the
    /// session.
    pub fn writer(&self) -> Multiplexed {
        self.share(PoolName::Write)
    }

    /// A handle for reads, as [`Pool::reader`](crate::Pool::reader). Each read sees at least what the
    /// session has written.
    ///
    /// In a session that has neither written nor gone on with a token it costs nothing.
    pub fn reader(&self) -> Multiplexed {
        self.share(PoolName::Read)
    }

    /// Lends an exclusive connection to the master, as [`Pool::write`](crate::Pool::write). Each command that
    /// may write leaves its token in the session.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use redis_rw_pool::redis::{AsyncCommands, pipe};
    ///
    /// let session = pool.session();
    /// let mut conn = session.write().await?;
    /// let () = pipe().atomic().set("name", "Ada").incr("version", 1).query_async(&mut conn).await?;
    /// drop(conn);
    /// let name: String = session.read().await?.get("name").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Pool::write`](crate::Pool::write).
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::write`](crate::Pool::write).
    pub async fn write(&self) -> Result<Connection, Error> {
        self.lend(PoolName::Write).await
    }

    /// Lends an exclusive connection for reading, as [`Pool::read`](crate::Pool::read). Each read sees at
    /// least what the session has written.
    ///
    /// The connection may have to move to another node for that. [`Connection`] has the rules.
    ///
    /// # Errors
    ///
    /// As [`Pool::read`](crate::Pool::read).
    ///
    /// # Cancel safety
    ///
    /// As [`Pool::read`](crate::Pool::read).
    pub async fn read(&self) -> Result<Connection, Error> {
        self.lend(PoolName::Read).await
    }

    /// What reads of the session see at least, for a cookie, a header or a message. `None` where nothing
    /// was written and nothing resumed.
    ///
    /// It covers all writes of the session that were answered. Where a token that the session went on with
    /// turns out to be lost or unknown in a read, it gives what that read saw instead; [`state`](Self::state)
    /// goes on telling.
    ///
    /// After a write of unknown outcome, or one of which only the reply came before the connection was lost,
    /// it is a token of no history. Who reads after it asks the master first, so that its reads see what was
    /// executed. Their session's [`state`](Self::state) is then [`Unknown`](SessionState::Unknown).
    pub fn token(&self) -> Option<Token> {
        self.core.token()
    }

    /// What is known of the session's writes.
    pub fn state(&self) -> SessionState {
        self.core.state()
    }

    fn share(&self, name: PoolName) -> Multiplexed {
        let watched = self.pool.watches_calls();
        Multiplexed::asking(self.sharing_pool(), name, Some(self.asks())).watched(watched)
    }

    async fn lend(&self, name: PoolName) -> Result<Connection, Error> {
        let connection = self.pool.exclusive_pool(name).checkout().await?;
        Ok(connection.asking(self.asks(), &self.sharing_pool()))
    }

    fn asks(&self) -> Arc<dyn Asks> {
        Arc::clone(&self.core) as Arc<dyn Asks>
    }

    fn sharing_pool(&self) -> Arc<dyn SharingPool> {
        Arc::clone(&self.pool) as Arc<dyn SharingPool>
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("token", &self.token())
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
