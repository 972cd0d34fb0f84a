//! How many connections a pool keeps, and for how long.

use std::time::Duration;

/// How many connections one of the two pools keeps, and for how long.
///
/// Limits that only seem to contradict each other are accepted: with an `idle_timeout` longer than
/// `max_lifetime`, or a `test_idle_after` longer than `idle_timeout`, the shorter one acts first.
///
/// ```
/// use std::time::Duration;
///
/// use redis_rw_pool::Config;
///
/// let mut config = Config::new(["127.0.0.1:26379"], "mymaster");
/// config.write.max_active = 32;
/// config.write.wait_timeout = Some(Duration::ZERO); // fail at once when all 32 are in use
/// config.read.max_idle = Some(8);
/// config.read.idle_timeout = None; // idle connections stay open
/// # config.validate()?;
/// # Ok::<(), redis_rw_pool::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolLimits {
    /// How many connections may be open at once, idle and in use together.
    ///
    /// At least 1 and at most 65535, the number of TCP ports of one address. Defaults to 16.
    #[doc(alias = "MaxActive")]
    pub max_active: usize,

    /// How many connections may be idle at once; one that is returned beyond this is closed.
    ///
    /// `None` means as many as `max_active`; zero keeps none. At most `max_active`.
    /// Defaults to `None`.
    #[doc(alias = "MaxIdle")]
    pub max_idle: Option<usize>,

    /// How many idle connections are kept ready, without traffic too.
    ///
    /// At most `max_idle`. Defaults to 0.
    #[doc(alias = "MinIdle")]
    pub min_idle: usize,

    /// How long a checkout may wait for a connection while `max_active` are in use.
    ///
    /// `None` waits for ever; zero fails at once. It covers the wait in line only: a dial after it is bounded by
    /// [`failover_timeout`](crate::Config::failover_timeout) and
    /// [`connect_timeout`](crate::Config::connect_timeout). Defaults to 5 seconds.
    #[doc(alias = "Wait")]
    pub wait_timeout: Option<Duration>,

    /// How long a connection may stay idle, counted from its return, before it is closed.
    ///
    /// Holds without traffic, and to within a tenth: a task checks the idle connections ten times within
    /// this time (at least every second, at most every 10 ms). Should be shorter than the server's
    /// `timeout`, if that is set. `None` keeps idle connections for ever; zero is refused. Defaults
    /// to 300 seconds.
    #[doc(alias = "IdleTimeout")]
    pub idle_timeout: Option<Duration>,

    /// How long a connection may live, counted from its creation, before it is replaced.
    ///
    /// Each connection's own limit is drawn from within ±10 % of this, so that those opened
    /// together do not all close together. A connection in use is replaced at its return. `None`
    /// means no limit; zero is refused. Defaults to 30 minutes.
    #[doc(alias = "MaxConnLifetime")]
    pub max_lifetime: Option<Duration>,

    /// How long a connection may have been idle and still be lent without a `PING`.
    ///
    /// A connection that the server has closed is noticed without this. Zero sends a `PING` at every
    /// checkout; `None` never does. A server that refuses the `PING` because the user lacks the
    /// permission for it, and takes other commands, passes the test. Defaults to 30 seconds.
    #[doc(alias = "TestOnBorrow")]
    pub test_idle_after: Option<Duration>,
}

impl PoolLimits {
    /// The number that `max_idle` stands for.
    pub(crate) fn effective_max_idle(&self) -> usize {
        self.max_idle.unwrap_or(self.max_active)
    }
}

impl Default for PoolLimits {
    fn default() -> Self {
        Self {
            max_active: 16,
            max_idle: None,
            min_idle: 0,
            wait_timeout: Some(Duration::from_secs(5)),
            idle_timeout: Some(Duration::from_secs(300)),
            max_lifetime: Some(Duration::from_secs(30 * 60)),
            test_idle_after: Some(Duration::from_secs(30)),
        }
    }
}
