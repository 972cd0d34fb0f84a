//! What fake servers are enough for. `make test-fast` runs these tests, without a redis-server.

mod hostile;
mod panics;
mod refusals;
mod secrets;
mod turned_away;
