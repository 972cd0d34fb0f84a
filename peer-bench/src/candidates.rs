//! The candidates, one file each.

mod bb8;
mod c_client;
mod connection_manager;
mod deadpool_redis;
mod fred;
mod ours_clone_per_op;
mod ours_exclusive;
mod ours_handle_per_op;
mod ours_multiplexed;
mod raw;
mod redis_rs_pool;
mod rustis;

pub(crate) use ours_exclusive::pool;

use crate::{
    candidate::{Candidate, Kind},
    cell::Workload::{Get, Set},
};

/// In the order in which they are printed: ours first in each kind.
pub(crate) const ALL: [Candidate; 13] = [
    OURS_EXCLUSIVE,
    Candidate::of::<deadpool_redis::DeadpoolRedis>(),
    Candidate::of::<bb8::Bb8>(),
    Candidate::of::<redis_rs_pool::RedisRsPool>(),
    Candidate::of::<raw::RawPool>(),
    Candidate::of::<raw::RawLoop>(),
    OURS_MULTIPLEXED,
    // What a handle costs is the same for each operation: seen best where operations cost least.
    Candidate::of::<ours_handle_per_op::HandlePerOp>().only(&[Get, Set]),
    Candidate::of::<ours_clone_per_op::ClonePerOp>().only(&[Get, Set]),
    Candidate::of::<connection_manager::Manager>(),
    Candidate::of::<fred::Fred>(),
    Candidate::of::<rustis::Rustis>(),
    c_client::CANDIDATE,
];

const OURS_EXCLUSIVE: Candidate = Candidate::of::<ours_exclusive::Exclusive>();
const OURS_MULTIPLEXED: Candidate = Candidate::of::<ours_multiplexed::Shared>();

/// The one of ours that the others of its kind are compared with.
pub(crate) fn ours(kind: Kind) -> &'static str {
    match kind {
        Kind::Exclusive => OURS_EXCLUSIVE.name,
        Kind::Shared => OURS_MULTIPLEXED.name,
    }
}
