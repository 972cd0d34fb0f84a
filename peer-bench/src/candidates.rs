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
mod ours_plain;
mod raw;
mod redis_rs_pool;
mod rustis;

pub(crate) use ours_exclusive::pool;

use crate::{
    candidate::{
        Candidate, Kind,
        Transport::{BesideTls, Either, Plain},
    },
    cell::Workload::{Get, Set},
};

/// In the order in which they are printed: ours first in each kind.
pub(crate) const ALL: [Candidate; 15] = [
    OURS_EXCLUSIVE,
    Candidate::of::<deadpool_redis::DeadpoolRedis>(),
    Candidate::of::<bb8::Bb8>(),
    Candidate::of::<redis_rs_pool::RedisRsPool>(),
    Candidate::of::<raw::RawPool>().over(Plain),
    Candidate::of::<raw::RawLoop>().over(Plain),
    Candidate::of::<ours_plain::Exclusive>().over(BesideTls),
    OURS_MULTIPLEXED,
    // What a handle costs is the same for each operation: seen best where operations cost least.
    Candidate::of::<ours_handle_per_op::HandlePerOp>().only(&[Get, Set]),
    Candidate::of::<ours_clone_per_op::ClonePerOp>().only(&[Get, Set]),
    Candidate::of::<connection_manager::Manager>(),
    Candidate::of::<fred::Fred>(),
    Candidate::of::<rustis::Rustis>().over(if cfg!(feature = "rustis-tls") {
        Either
    } else {
        Plain
    }),
    c_client::CANDIDATE,
    Candidate::of::<ours_plain::Shared>().over(BesideTls),
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
