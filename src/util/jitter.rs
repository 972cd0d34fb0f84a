//! Random numbers, so that many clients do not do the same thing at the same moment.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A random duration, evenly distributed over `base` ± `percent`.
pub(crate) fn around(base: Duration, percent: u32) -> Duration {
    let share = f64::from(percent) / 100.0;
    base.mul_f64(1.0 - share + 2.0 * share * unit())
}

/// A random duration, evenly distributed from `low` to `high`.
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    low + high.saturating_sub(low).mul_f64(unit())
}

/// A random state for [`roll`].
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// The next 64 random bits (splitmix64, with its constants): good enough to spread load, and only a few
/// instructions for each command.
#[inline]
pub(crate) fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A random number from 0 up to 1. Every `RandomState` has random keys, which is enough to spread
/// timers without a dependency.
fn unit() -> f64 {
    let bits = seed() >> 11;
    #[allow(
        clippy::cast_precision_loss,
        reason = "53 bits are what an f64 holds exactly"
    )]
    let fraction = bits as f64 / (1_u64 << 53) as f64;
    fraction
}

#[cfg(test)]
mod tests;
