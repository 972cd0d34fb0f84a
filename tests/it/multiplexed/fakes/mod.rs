//! What fake servers are enough for. `make test-fast` runs these tests, without a redis-server.

mod deadlines;
mod failover;
mod faults;
mod handles;
mod limits;
mod scripts;
