//! One Redis connection on one socket.

mod addresses;
pub(crate) mod codec;
pub(crate) mod command;
pub(crate) mod connection;
mod framed;
pub(crate) mod handshake;
pub(crate) mod info;
pub(crate) mod mux;
pub(crate) mod pipeline;
pub(crate) mod position_question;
pub(crate) mod pubsub;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod stream;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod value;
