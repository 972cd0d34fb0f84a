//! What a caller sees of the pool, tried on real Redis and Sentinel processes and on fake ones. A
//! folder has one subject; `support` has what the tests share.
//!
//! A test that needs fake servers only is in the `fakes` module of its subject, for `make test-fast`.
//! Tests that are elsewhere and pass without a server belong there too:
//!
//! ```text
//! REDIS_SERVER=none cargo test --test it -- --skip fakes::
//! ```
#![allow(
    clippy::unwrap_used,
    reason = "clippy.toml allows it in test functions only, not in what they share"
)]

mod support;

mod checkout;
mod failover;
mod faults;
mod freshness;
mod multiplexed;
mod nodes;
#[cfg(feature = "serde")]
mod page;
mod pubsub;
mod session;
mod status;
#[cfg(feature = "tls")]
mod tls;
mod topology;
