//! Prints what redis-rw-pool and its peers reach, side by side; `peer-bench --help` has the rest.
#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    redis_rw_pool_peer_bench::throughput()
}
