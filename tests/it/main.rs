//! What a caller sees of the pool, tried on real Redis and Sentinel processes and on fake ones.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod support;

mod checkout;
mod failover;
mod faults;
mod multiplexed;
mod session;
mod topology;
