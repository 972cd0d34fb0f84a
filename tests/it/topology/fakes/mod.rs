//! What fake servers are enough for. `make test-fast` runs these tests, without a redis-server.

mod acl;
mod addresses;
mod adopt;
mod balanced;
mod claims;
mod discovery;
mod outages;
mod preference;
mod sentinels;
mod silent_replicas;
