//! Tokens, and which replicas have a write.

use std::{sync::Arc, time::Duration};

use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::Error,
    exclusive::connection::Connection,
    freshness::{
        Shared,
        confirm::Copies,
        line::Line,
        requirement::{Freshness, Requirement},
    },
    multiplexed::SharingPool,
    pool::{Inner, Pool},
    position::token::Token,
    session::Session,
};

impl Pool {
    /// Reads that see the writes of the same session, from replicas.
    ///
    /// [`Session`] has an example, and what is promised.
    pub fn session(&self) -> Session {
        let shared = Arc::clone(&self.inner.connections.role_pool().freshness);
        let pool: Arc<Inner> = Arc::clone(&self.inner);
        Session::new(pool, shared)
    }

    /// Lends an exclusive connection for reading, as [`read`](Self::read), whose reads see at least this.
    ///
    /// [`Connection`] says which reads are proven, and where they go. With [`Freshness::Master`] the
    /// connection is one of [`write`](Self::write), and counts towards the `max_active` of that pool.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use redis_rw_pool::{Freshness, redis::AsyncCommands};
    ///
    /// let mut conn = pool.read_with(Freshness::Within(Duration::from_secs(1))).await?;
    /// let names: Vec<String> = conn.lrange("names", 0, -1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read), and with [`Freshness::Master`] as [`write`](Self::write).
    ///
    /// # Cancel safety
    ///
    /// As [`read`](Self::read).
    pub async fn read_with(&self, freshness: Freshness) -> Result<Connection, Error> {
        if freshness == Freshness::Master {
            return self.write().await;
        }
        let connection = self.inner.connections.read.checkout().await?;
        let Some(requirement) = Requirement::of(freshness) else {
            return Ok(connection);
        };
        let pool: Arc<dyn SharingPool> = Arc::clone(&self.inner) as Arc<dyn SharingPool>;
        Ok(connection.asking(Arc::new(requirement), &pool))
    }

    /// How far the master's data goes now. Who reads after this token sees everything that was acknowledged
    /// before this call, by whomever.
    ///
    /// It asks the master one question, which callers who come together share, and writes nothing.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use redis_rw_pool::redis::AsyncCommands;
    ///
    /// let token = pool.token().await?;
    /// let names: Vec<String> = pool.reader().after(&token).lrange("names", 0, -1).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - as for a command over [`writer`](Self::writer), if there is no master in time;
    /// - [`Error::PositionRefused`] if our user lacks the permission `+info`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn token(&self) -> RedisResult<Token> {
        let (shared, line) = self.fresh();
        let began = Instant::now();
        let until = began + shared.patience_for_the_master();
        match shared.ask_master(&line, until).await {
            Some(asked) => asked,
            None => {
                let role_pool = self.inner.connections.role_pool();
                Err(role_pool.timed_out(None, began.elapsed()).into())
            }
        }
    }

    /// Waits until so many replicas have what this token stands for, and says which.
    ///
    /// It asks the replicas themselves, over the connections behind [`reader`](Self::reader), so
    /// [`read_from`](crate::Config::read_from) must allow replicas. Unlike `WAIT` it holds up no connection
    /// and adds nothing to the replication stream. As with `WAIT`, a replica has a write when it has
    /// executed it in memory. The write survives a failover if one of these replicas is promoted. Sentinel
    /// prefers the one that went furthest.
    ///
    /// Zero copies are there at once. Replicas to which the pool has no connection do not count.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use redis_rw_pool::redis::AsyncCommands;
    ///
    /// let session = pool.session();
    /// let () = session.writer().set("order:7", "paid").await?;
    /// let token = session.token().ok_or("the master did not say where it was")?;
    /// let copies = pool.confirm(&token, 1, Duration::from_millis(50)).await?;
    /// println!("also on {:?}", copies.nodes);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// - [`Error::TooFewCopies`] if time runs out before; the write itself was executed;
    /// - [`Error::Lost`] if a failover lost the write;
    /// - [`Error::PositionRefused`] if our user lacks the permission `+info` at a replica;
    /// - [`Error::Closed`] after [`close`](Self::close).
    ///
    /// # Cancel safety
    ///
    /// Dropping the future changes nothing.
    pub async fn confirm(
        &self,
        token: &Token,
        copies: usize,
        within: Duration,
    ) -> Result<Copies, Error> {
        let role_pool = self.inner.connections.role_pool();
        if role_pool.is_closed() {
            return Err(role_pool.ending());
        }
        let (shared, line) = self.fresh();
        shared.confirm(&line, token, copies, within).await
    }

    fn fresh(&self) -> (Arc<Shared>, Arc<dyn Line>) {
        let shared = Arc::clone(&self.inner.connections.role_pool().freshness);
        let line: Arc<dyn Line> = Arc::clone(&self.inner) as Arc<dyn Line>;
        (shared, line)
    }
}
