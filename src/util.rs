//! Small tools.

pub(crate) mod abort_on_drop;
pub(crate) mod backoff;
pub(crate) mod escape;
pub(crate) mod far;
pub(crate) mod jitter;
pub(crate) mod runtime;
#[cfg(test)]
pub(crate) mod schedule_model;
#[cfg(feature = "serde")]
pub(crate) mod seconds;
pub(crate) mod striped;
