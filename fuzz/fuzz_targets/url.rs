//! Configurations as URLs.
#![no_main]

use redis_rw_pool::internals::read_url;

libfuzzer_sys::fuzz_target!(|data: &[u8]| read_url(data));
