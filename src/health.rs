//! What a pool can do now.

use std::{fmt, time::Duration};

use crate::error::Error;

/// What a pool can do now, from [`Pool::health`](crate::Pool::health).
///
/// It says what the pool knows, without asking anybody: it keeps a connection of its own to every node and
/// listens to the Sentinels, so it learns of trouble by itself.
///
/// # What probes should ask
///
/// | probe | ask | why |
/// |---|---|---|
/// | liveness (restart me) | nothing about Redis | a restart does not bring Redis back. It only loses what the process has in memory, and all instances restart at once |
/// | readiness (send me requests) | [`is_ready`](Self::is_ready) with what a request needs | true during a failover, which takes a second or two and which callers just wait for. If it were false, every instance would leave the load balancer at once. False when callers get errors: after [`failover_timeout`](crate::Config::failover_timeout) |
/// | startup | [`Pool::connected`](crate::Pool::connected), or `is_ready` | false until a master was found |
///
/// Of Sentinels that do not answer, readiness says nothing: commands go on without them. What they cost is the
/// next failover, so warn of it.
///
/// ```no_run
/// # fn example(pool: redis_rw_pool::Pool) {
/// use redis_rw_pool::Need;
///
/// let health = pool.health();
/// let code = if health.is_ready(Need::Both) { 200 } else { 503 };
/// println!("{code}: {health}");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// Whether the master takes writes.
    pub writes: Ability,
    /// Whether there is a node to read from, as [`read_from`](crate::Config::read_from) has it.
    pub reads: Ability,
    /// Whether most of the known Sentinels answer, so that a failover can take place and is seen. Without
    /// Sentinels, whether any node answers.
    pub sentinels: Ability,
}

/// Whether something can be done now.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(tag = "ability", rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Ability {
    /// It can.
    Able,
    /// Not now. Callers wait, and mostly succeed.
    Waiting {
        /// For how long.
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::util::seconds::serialize")
        )]
        since: Duration,
        /// Why, for a human reader.
        why: String,
    },
    /// For longer than [`failover_timeout`](crate::Config::failover_timeout), or never yet, or the pool is
    /// closed. Callers get errors.
    Unable {
        /// For how long.
        #[cfg_attr(
            feature = "serde",
            serde(serialize_with = "crate::util::seconds::serialize")
        )]
        since: Duration,
        /// Why, for a human reader.
        why: String,
    },
}

impl Ability {
    /// Its name in lower snake case, for a metric's label or a log: `able`, `waiting` or `unable`. These names
    /// are stable.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Able => "able",
            Self::Waiting { .. } => "waiting",
            Self::Unable { .. } => "unable",
        }
    }

    /// Whether it can be done now.
    pub const fn is_able(&self) -> bool {
        matches!(self, Self::Able)
    }

    /// Whether it cannot be done, and waiting for it is in vain by now.
    pub const fn is_unable(&self) -> bool {
        matches!(self, Self::Unable { .. })
    }

    /// Of something that has been in this trouble for so long. `patience` is how long callers wait.
    pub(crate) fn in_trouble(why: String, since: Duration, patience: Duration, hope: bool) -> Self {
        if hope && since < patience {
            Self::Waiting { since, why }
        } else {
            Self::Unable { since, why }
        }
    }
}

impl fmt::Display for Ability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Able => f.write_str("able"),
            Self::Waiting { since, why } => write!(f, "waiting for {since:.1?}: {why}"),
            Self::Unable { since, why } => write!(f, "unable for {since:.1?}: {why}"),
        }
    }
}

/// What a service needs for its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Need {
    /// It only reads.
    Reads,
    /// It only writes, or reads from the master what it reads.
    Writes,
    /// Both.
    Both,
}

impl Health {
    /// Whether to send requests here. Who waits counts as ready, until
    /// [`failover_timeout`](crate::Config::failover_timeout) is over.
    pub fn is_ready(&self, need: Need) -> bool {
        let needed = match need {
            Need::Reads => [&self.reads, &self.reads],
            Need::Writes => [&self.writes, &self.writes],
            Need::Both => [&self.writes, &self.reads],
        };
        !needed.iter().any(|ability| ability.is_unable())
    }

    /// The pool serves nobody any more.
    pub(crate) fn after_the_end(mut self, end: &Error) -> Self {
        for ability in [&mut self.writes, &mut self.reads, &mut self.sentinels] {
            let since = match ability {
                Ability::Able => Duration::ZERO,
                Ability::Waiting { since, .. } | Ability::Unable { since, .. } => *since,
            };
            let why = end.to_string();
            *ability = Ability::Unable { since, why };
        }
        self
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            writes,
            reads,
            sentinels,
        } = self;
        write!(
            f,
            "writes: {writes}; reads: {reads}; sentinels: {sentinels}"
        )
    }
}

#[cfg(test)]
mod tests;
