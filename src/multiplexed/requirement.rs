//! Reads of a handle that must have seen something, without a session.

use std::{sync::Arc, time::Duration};

use crate::{
    freshness::{
        asks::{Asks, Need},
        requirement::{Freshness, Requirement},
        session_state::SessionState,
    },
    multiplexed::Multiplexed,
    node::Role,
    position::token::Token,
    wire::position_question::{Answers, Want},
};

/// # Fresh reads
///
/// Replication is asynchronous, so a replica may not have yet what was just written. These ask for more.
/// A read then carries one question in the same write, which proves what the node had when the read ran. If
/// that is too little, its reply is dropped and the read goes elsewhere:
/// [`FreshnessLimits`](crate::FreshnessLimits) has the times. Only commands that are known to read only are
/// proven; all others are sent as ever. The user needs the permission `+info`.
///
/// Each replaces what was asked of the handle before. That of a session then belongs to it no longer, and
/// its writes leave no token there. Clones of a handle ask for the same. The reads of a
/// [`writer`](crate::Pool::writer) are on the master, whatever is asked of it.
///
/// Besides the errors of any read, such a read fails with
///
/// - [`Error::Stale`](crate::Error::Stale) if no node that it may go to had enough in time;
/// - [`Error::NoMaster`](crate::Error::NoMaster) if the master must be asked first, and does not answer;
/// - [`Error::PositionRefused`](crate::Error::PositionRefused) without the permission;
/// - [`Error::Lost`](crate::Error::Lost) with [`OnLost::Fail`](crate::OnLost::Fail) only.
impl Multiplexed {
    /// Reads see at least what the master had when this token was made.
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool, job: &str) -> Result<(), Box<dyn std::error::Error>> {
    /// use redis_rw_pool::{Token, redis::AsyncCommands};
    ///
    /// let token: Token = job.parse()?; // from whoever wrote
    /// let name: String = pool.reader().after(&token).get("name").await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn after(self, token: &Token) -> Self {
        self.with(Freshness::After(token.clone()))
    }

    /// Reads see at least what was acknowledged longer ago than this. See [`Freshness::Within`].
    ///
    /// ```no_run
    /// # async fn example(pool: redis_rw_pool::Pool) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// use redis_rw_pool::redis::AsyncCommands;
    ///
    /// let mut reader = pool.reader().within(Duration::from_millis(500));
    /// let orders: Vec<String> = reader.lrange("orders", 0, 9).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn within(self, age: Duration) -> Self {
        self.with(Freshness::Within(age))
    }

    /// Reads see at least this. [`Freshness::Any`] asks for nothing any more.
    #[must_use]
    pub fn with(mut self, freshness: Freshness) -> Self {
        let requirement = Requirement::of(freshness);
        self.ask = requirement.map(|requirement| Arc::new(requirement) as Arc<dyn Asks>);
        self
    }

    /// Whether the last read of this handle returned what there was because no node had what it must see:
    /// with [`Otherwise::Stale`](crate::Otherwise::Stale) only.
    pub fn last_read_was_stale(&self) -> bool {
        self.was_stale
    }
}

impl Asks for Requirement {
    fn want(&self, is_read: bool, role: Role) -> Want {
        match self {
            Self::After(_) | Self::Within(_) if is_read && role == Role::Replica => Want::AHEAD,
            _ => Want::NOTHING,
        }
    }

    fn need(&self) -> Need {
        match self {
            Self::After(token) => Need::After(token.clone()),
            Self::Within(age) => Need::Within(*age),
            Self::Master => Need::Master,
        }
    }

    fn settled(&self, _: &Answers, _: bool) {}

    fn unknown(&self) {}

    fn asked(&self, _: &Token, _: u64) {}

    fn instead(&self, _: &Token, by: &Token, _: SessionState) -> (Token, bool) {
        (by.clone(), true)
    }

    fn told(&self, _: SessionState) {}
}
