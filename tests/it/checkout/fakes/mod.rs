//! What fake servers are enough for. `make test-fast` runs these tests, without a redis-server.

mod contract;
mod dialing;
mod idle;
mod limits;
mod overload;
mod runtimes;
