//! Prints what callers of redis-rw-pool and of its peers notice of a failover; `failover-bench
//! --help` has the rest.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    redis_rw_pool_peer_bench::failover()
}
