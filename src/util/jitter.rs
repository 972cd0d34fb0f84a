//! Chance, so that many clients do not do the same thing at the same moment.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

/// A duration drawn evenly from `base` ± `percent`.
pub(crate) fn around(base: Duration, percent: u32) -> Duration {
    let share = f64::from(percent) / 100.0;
    base.mul_f64(1.0 - share + 2.0 * share * unit())
}

/// A duration drawn evenly from `low` to `high`.
pub(crate) fn between(low: Duration, high: Duration) -> Duration {
    low + high.saturating_sub(low).mul_f64(unit())
}

/// A state for [`roll`] unlike any other.
pub(crate) fn seed() -> u64 {
    RandomState::new().hash_one(0_u8)
}

/// The next 64 bits from this state (splitmix64, whose constants these are): chance enough to
/// spread load, at the price of a few instructions a command.
#[inline]
pub(crate) fn roll(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut bits = *state;
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A number from 0 up to 1. Every `RandomState` has keys of its own, which is all the chance that
/// spreading timers needs; a crate for it would earn nothing.
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
