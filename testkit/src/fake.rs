//! Servers that misbehave on command: any RESP peer, a Sentinel with any view, a data node.

mod command;
mod conn;
mod node;
mod sentinel;
mod server;
mod session;
mod value;

pub use conn::Conn;
pub use node::{FakeNode, NodeRole, node};
pub use sentinel::{FakeSentinel, ReplicaView, SentinelView, sentinel};
pub use server::{Action, FakeServer, hung, not_redis};
pub use value::Value;
