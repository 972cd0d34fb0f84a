//! What fake servers are enough for. `make test-fast` runs these tests, without a redis-server.

mod cancel_calls;
mod commands;
mod deadlines;
mod handshake;
mod lease;
mod left_behind;
mod outcome;
mod permissions;
