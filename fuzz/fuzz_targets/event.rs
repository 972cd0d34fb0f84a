//! What Sentinels publish.
#![no_main]

use redis_rw_pool::internals::read_event;

libfuzzer_sys::fuzz_target!(|data: &[u8]| read_event(data));
