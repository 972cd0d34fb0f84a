//! One Redis connection on one socket.

mod aborted;
mod addresses;
mod channel;
pub(crate) mod codec;
pub(crate) mod command;
#[cfg(test)]
mod command_table_tests;
pub(crate) mod exclusive;
pub(crate) mod handshake;
pub(crate) mod info;
pub(crate) mod pipeline;
pub(crate) mod reading;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod shared;
pub(crate) mod stream;
pub(crate) mod tie;
pub(crate) mod value;
