//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

mod config;
#[cfg(any(test, feature = "unstable-internals"))]
#[doc(hidden)]
pub mod internals;
mod node;
#[allow(dead_code, reason = "until the connection is here to read replies")]
mod wire;

pub use config::{AddressMap, Config, ConfigError, PoolLimits, Protocol, ReadFrom, ReplyLimits};
pub use node::{Node, Role};
pub use redis;
