//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

mod config;
mod node;

pub use config::{AddressMap, Config, ConfigError, PoolLimits, Protocol, ReadFrom, ReplyLimits};
pub use node::{Node, Role};
pub use redis;
