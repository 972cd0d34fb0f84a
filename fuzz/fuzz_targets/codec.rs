//! Replies cut anywhere, and hostile bytes, beside the redis crate's own parser.
#![no_main]

use redis_rw_pool::internals::compare_with_redis;

libfuzzer_sys::fuzz_target!(|data: &[u8]| compare_with_redis(data));
