//! The Sentinels: what they are asked, what they answer, what they publish.

pub(crate) mod answer;
pub(crate) mod client;
pub(crate) mod event;
pub(crate) mod flags;
pub(crate) mod id;
pub(crate) mod listener;
pub(crate) mod message;
pub(crate) mod refused;
pub(crate) mod reply;
