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

/// What every run of the tests repeats: rounds with faults of most kinds, in half a minute.
const SHORT: (u64, End) = (5037, End::Round(6));

/// When it is enough.
#[derive(Debug, Clone, Copy)]
enum End {
    Round(u64),
    Time(Duration),
}

impl End {
    fn has_come(self, rounds: u64, time: Duration) -> bool {
        match self {
            Self::Round(last) => rounds >= last,
            Self::Time(limit) => rounds > 0 && time >= limit,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rules_hold_under_random_faults() {
    let set = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let seed = set("SOAK_SEED").map(|seed| seed.parse().expect("SEED is a number"));
    let minutes = set("SOAK_MINUTES").map(|text| text.parse().expect("MINUTES is a number"));
    let end = minutes.map(|minutes: f64| End::Time(Duration::from_secs_f64(60.0 * minutes)));
    let seed = match (seed, end) {
        (None, None) => SHORT.0,
        (None, Some(_)) => RandomState::new().hash_one(0) % 1_000_000,
        (Some(seed), _) => seed,
    };
    soak::run(seed, end.unwrap_or(SHORT.1)).await;
}
