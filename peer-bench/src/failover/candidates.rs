//! The candidates, each as its documentation tells one to use it behind Sentinel.

mod bb8;
mod deadpool_redis;
pub(super) mod fred;
mod ours;
mod redis_rs;
mod rustis;

use std::time::Duration;

use crate::failover::client::Candidate;

/// How long a command may take: our default, and the setting of those who have none of their own.
/// Without one a frozen master holds their callers for ever.
pub(crate) const COMMAND_TIMEOUT: Duration = Duration::from_secs(3);

/// What a pool may open, as ours does by default.
const CONNECTIONS: usize = 16;

const VALUE: &str = "sixteen bytes...";

/// In the order in which they are printed.
pub(crate) const ALL: [Candidate; 8] = [
    ours::EXCLUSIVE,
    ours::EXCLUSIVE_PROMOTED,
    ours::MULTIPLEXED,
    ours::MULTIPLEXED_PROMOTED,
    deadpool_redis::CANDIDATE,
    bb8::CANDIDATE,
    fred::CANDIDATE,
    rustis::CANDIDATE,
];

/// Error replies with which a server says that it did nothing.
fn is_refusal(text: &str) -> bool {
    let codes = ["READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS"];
    codes.iter().any(|code| text.contains(code))
}
