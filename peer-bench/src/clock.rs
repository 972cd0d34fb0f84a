//! Time that passed, and time that was spent.

use std::time::Duration;

use anyhow::Result;
use nix::sys::{
    resource::{UsageWho, getrusage},
    time::{TimeVal, TimeValLike},
};

// tokio's looks at every call whether a test has paused it, and nobody pauses a bench.
#[allow(clippy::disallowed_types, reason = "what is measured is real")]
pub(crate) type Instant = std::time::Instant;

/// User and system time of all threads, those that ended too.
pub(crate) fn cpu_of_this_process() -> Result<Duration> {
    cpu(UsageWho::RUSAGE_SELF)
}

/// Of those that ended and were waited for.
pub(crate) fn cpu_of_children() -> Result<Duration> {
    cpu(UsageWho::RUSAGE_CHILDREN)
}

fn cpu(who: UsageWho) -> Result<Duration> {
    let usage = getrusage(who)?;
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or_default();
    Ok(Duration::from_micros(
        micros(usage.user_time()) + micros(usage.system_time()),
    ))
}
