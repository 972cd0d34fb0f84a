//! What nodes say of their positions.
#![no_main]

use redis_rw_pool::internals::read_position;

libfuzzer_sys::fuzz_target!(|data: &[u8]| read_position(data));
