//! Tests against real Redis and Sentinel processes, one file per behaviour.
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod quiet;
mod shared;
mod stage;
mod support;

mod acl;
mod addresses;
mod adopt;
mod balanced;
mod canary;
mod cancel;
mod cancel_calls;
mod claims;
mod close;
mod commands;
mod conservation;
mod contract;
mod cuts;
mod deadlines;
mod dialing;
mod discovery;
mod failover;
mod fence;
mod growth;
mod handover;
mod handshake;
mod hostile;
mod idle;
mod lease;
mod limits;
mod load;
mod masters;
mod multiplexed;
mod multiplexed_deadlines;
mod multiplexed_failover;
mod multiplexed_faults;
mod multiplexed_limits;
mod multiplexed_storm;
mod outcome;
mod panics;
mod permissions;
mod publish;
mod reads;
mod refusals;
mod replicas;
mod retry;
mod routing;
mod runtimes;
mod scripts;
mod sentinels;
mod server_limits;
mod session;
mod silence;
mod spellings;
mod spread;
mod storms;
mod suspicion;
mod transaction;
mod turned_away;
mod waiting;
mod weather;
