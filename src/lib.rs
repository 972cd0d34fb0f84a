//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

mod excluded;
mod node;
mod printable;
mod sentinel;
mod wire;

pub use excluded::Excluded;
pub use node::{Node, Role};
pub use redis;
