//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

#[cfg(any(test, feature = "unstable-internals"))]
#[doc(hidden)]
pub mod internals;
mod node;
#[allow(dead_code, reason = "until the connection is here to read replies")]
mod wire;

pub use node::{Node, Role};
pub use redis;
pub use wire::codec::ReplyLimits;
