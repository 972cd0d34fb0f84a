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
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "no caller wants positions yet (issue 12)")
)]
pub(crate) mod position_question;
pub(crate) mod role;
pub(crate) mod session;
pub(crate) mod stream;
#[cfg(feature = "tls")]
mod tls;
pub(crate) mod value;
