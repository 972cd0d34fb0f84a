//! One Redis connection on one socket.

pub(crate) mod codec;
