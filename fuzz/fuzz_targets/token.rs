//! Tokens, from whatever sends a cookie.
#![no_main]

use redis_rw_pool::internals::read_token;

libfuzzer_sys::fuzz_target!(|data: &[u8]| read_token(data));
