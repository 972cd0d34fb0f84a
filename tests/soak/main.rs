//! A random mix of faults under load, judged by the rules W1 to W7; and reads that must have seen
//! something, judged by W8 to W10.
//!
//! ```text
//! make soak MINUTES=20            a seed of its own, printed at the start
//! make soak MINUTES=20 SEED=7     the same faults again, on the same kind of deployment
//! make soak DEPLOYMENT=balanced   one kind, whatever the seed; the others are plain,
//!                                 without-events and two-spellings
//! make soak READS=1000000         at least as many reads that must have seen something
//! ```
//!
//! What the callers do and when the machine lets them is not replayed, only what is done to the
//! servers. Among the other tests each runs for less than a minute with seeds that are always the same.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod chance;
mod faults;
mod fresh;
mod kind;
mod load;
mod schedule;
mod soak;

use std::env;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use kind::Kind;
use tokio::sync::Semaphore;

/// The tests here take turns: one counts the files that this process has open, and all keep both cores busy.
static TURN: Semaphore = Semaphore::const_new(1);

/// What every run of the tests repeats: the seed, the kind of deployment, the last round. On the plain
/// one there are faults of most kinds, on each of the others a planned failover.
const SHORT: [(u64, Kind, u64); 4] = [
    (5037, Kind::Plain, 5),
    (139, Kind::WithoutEvents, 1),
    (396, Kind::TwoSpellings, 1),
    (222, Kind::Balanced, 1),
];

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
    let _turn = TURN.acquire().await.unwrap();
    let set = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let seed = set("SOAK_SEED").map(|text| text.parse().expect("SEED is a number"));
    let kind = set("SOAK_DEPLOYMENT").map(|text| text.parse().expect("DEPLOYMENT is a kind"));
    let minutes = set("SOAK_MINUTES").map(|text| text.parse().expect("MINUTES is a number"));
    if seed.is_none() && kind.is_none() && minutes.is_none() {
        for (seed, kind, last) in SHORT {
            soak::run(seed, kind, End::Round(last)).await;
        }
        return;
    }
    let seed = seed.unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    let kind = kind.unwrap_or_else(|| Kind::of(seed));
    let minutes: f64 = minutes.unwrap_or(0.5);
    let end = End::Time(Duration::from_secs_f64(60.0 * minutes));
    soak::run(seed, kind, end).await;
}

/// `make soak` tries a million.
const READS: usize = 10_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_with_a_token_is_stale_under_faults() {
    let _turn = TURN.acquire().await.unwrap();
    let set = |name| env::var(name).ok().filter(|text| !text.is_empty());
    let seed = set("SOAK_SEED").map(|text| text.parse().expect("SEED is a number"));
    let reads = set("SOAK_READS").map(|text| text.parse().expect("READS is a number"));
    let seed = match (seed, reads) {
        (Some(seed), _) => seed,
        (None, Some(_)) => RandomState::new().hash_one(0) % 1_000_000,
        (None, None) => 12,
    };
    fresh::run(seed, reads.unwrap_or(READS)).await;
}
