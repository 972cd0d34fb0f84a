//! One Redis connection on one socket.

pub(crate) mod command;
pub(crate) mod session;
