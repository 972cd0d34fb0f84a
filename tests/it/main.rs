//! Tests against real Redis and Sentinel processes, one file per behaviour.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod quiet;
mod shared;
mod stage;
mod support;

mod cancel;
mod close;
mod commands;
mod conservation;
mod contract;
mod deadlines;
mod dialing;
mod discovery;
mod failover;
mod fence;
mod handshake;
mod hostile;
mod idle;
mod limits;
mod multiplexed;
mod multiplexed_deadlines;
mod multiplexed_failover;
mod multiplexed_faults;
mod multiplexed_limits;
mod multiplexed_storm;
mod outcome;
mod retry;
mod session;
mod spread;
mod suspicion;
mod waiting;
mod weather;
