//! What an error says, and whether to send again.

pub(crate) mod attempt;
pub(crate) mod request;
