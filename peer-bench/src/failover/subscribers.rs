//! The subscribers, each as its documentation tells one to use it behind Sentinel.

mod fred;
mod ours;
mod redis_rs;
mod rustis;

use crate::failover::audience::Listener;

/// In the order in which they are printed.
pub(crate) const ALL: [Listener; 5] = [
    ours::SUBSCRIBER,
    ours::SUBSCRIBER_PROMOTED,
    redis_rs::LISTENER,
    fred::LISTENER,
    rustis::LISTENER,
];
