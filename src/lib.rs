//! A read/write-splitting connection pool for Redis behind Sentinel.
#![forbid(unsafe_code)]
#![doc(test(attr(deny(warnings))))]

mod node;

pub use node::{Node, Role};
pub use redis;
