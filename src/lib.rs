//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings), allow(dead_code, unused_variables))))]

mod clock;
mod config;
mod connection;
mod dialer;
mod error;
mod excluded;
mod home;
#[cfg(any(test, feature = "unstable-internals"))]
#[doc(hidden)]
pub mod internals;
mod jitter;
mod manager;
mod node;
mod pool;
mod pooled;
mod printable;
mod reaper;
mod refresh;
mod sentinel;
mod side;
mod stats;
mod task;
mod topology;
mod wire;

pub use config::{AddressMap, Config, ConfigError, PoolLimits, Protocol, ReadFrom, ReplyLimits};
pub use connection::Connection;
pub use error::{Blocker, Error, PoolName, Said};
pub use excluded::Excluded;
pub use node::{Node, Role};
pub use pool::Pool;
pub use redis;
pub use stats::{Discard, Discards, PoolStatus, SentinelStatus, Status};
pub use topology::{Replica, Topology};
