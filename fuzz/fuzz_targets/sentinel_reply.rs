//! What Sentinels and nodes answer.
#![no_main]

use redis_rw_pool::internals::read_sentinel_reply;

libfuzzer_sys::fuzz_target!(|data: &[u8]| read_sentinel_reply(data));
