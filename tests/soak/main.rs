//! A random mix of faults under load, judged by the rules W1 to W7.
//!
//! ```text
//! make soak MINUTES=20            a seed of its own, printed at the start
//! make soak MINUTES=20 SEED=7     the same faults again
//! ```
//!
//! What the callers do and when the machine lets them is not replayed, only what is done to the
//! servers. Among the other tests it runs for half a minute with a seed that is always the same.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod chance;
mod faults;
mod load;
mod schedule;
mod soak;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Some rounds that every run of the tests repeats.
const SHORT: (u64, Duration) = (7, Duration::from_secs(35));

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_hold_under_random_faults() {
    let number = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let minutes = number("SOAK_MINUTES").map(|text| text.parse().expect("MINUTES is a number"));
    let seed = number("SOAK_SEED").map(|text| text.parse().expect("SEED is a number"));
    let (seed, time) = match (seed, minutes) {
        (None, None) => SHORT,
        (seed, minutes) => (
            seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000),
            minutes.map_or(SHORT.1, |minutes: f64| {
                Duration::from_secs_f64(60.0 * minutes)
            }),
        ),
    };
    soak::run(seed, time).await;
}
