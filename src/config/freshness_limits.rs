//! What a read may cost that must have seen something.

use std::time::Duration;

/// What a read may cost that must have seen a certain write, and what happens where no replica has it.
///
/// Without effect on reads that ask for nothing.
///
/// ```
/// use std::time::Duration;
///
/// use redis_rw_pool::{Config, Otherwise};
///
/// let config = Config::new(["10.0.0.1"], "mymaster").with(|c| {
///     c.freshness.patience = Duration::from_millis(20);
///     c.freshness.otherwise = Otherwise::Fail;
/// });
/// # config.validate()?;
/// # Ok::<(), redis_rw_pool::ConfigError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct FreshnessLimits {
    /// How long replicas that are behind get to catch up, from the beginning of the read.
    ///
    /// Zero does not wait. Where `command_timeout` is shorter, that ends the wait. Defaults to 5
    /// milliseconds: a replica in the same zone has a write in less than one, and one in the next zone in a
    /// few.
    pub patience: Duration,

    /// What happens when no replica has caught up by then. Defaults to [`Otherwise::Master`].
    pub otherwise: Otherwise,

    /// What happens when a failover lost the write that a read must have seen. Defaults to
    /// [`OnLost::Tell`].
    pub lost: OnLost,
}

impl Default for FreshnessLimits {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(5),
            otherwise: Otherwise::default(),
            lost: OnLost::default(),
        }
    }
}

/// What happens to a read that must have seen a certain write when no replica has caught up within
/// [`patience`](FreshnessLimits::patience).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Otherwise {
    /// The master serves it. The default.
    ///
    /// With [`ReadFrom::Replica`](crate::ReadFrom::Replica), and while there is no master, the read goes on
    /// waiting for a replica. After `command_timeout` it fails with [`Error::Stale`](crate::Error::Stale).
    #[default]
    Master,
    /// It fails with [`Error::Stale`](crate::Error::Stale).
    Fail,
    /// It returns what the replica that went furthest has, which may be older than the write.
    /// [`Multiplexed::last_read_was_stale`](crate::Multiplexed::last_read_was_stale) tells.
    Stale,
}

/// What happens to a read when a failover lost the write that it must have seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum OnLost {
    /// It sees what is left: everything up to the failover. The session's state, a warning in the log and
    /// [`FreshnessStatus::lost`](crate::FreshnessStatus::lost) tell of it. The default.
    #[default]
    Tell,
    /// It fails with [`Error::Lost`](crate::Error::Lost).
    Fail,
}
