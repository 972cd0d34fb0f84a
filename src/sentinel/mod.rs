//! The Sentinels: asking them, understanding them.

pub(crate) mod address;
pub(crate) mod event;
pub(crate) mod flags;
pub(crate) mod reply;
