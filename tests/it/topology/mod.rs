//! Who is the master, which replicas may be read from, and what the Sentinels have to say about it.

mod acl;
mod addresses;
mod adopt;
mod balanced;
mod claims;
mod discovery;
mod fakes;
mod not_for_replicas;
mod outages;
mod preference;
mod routing;
mod sentinels;
mod silent_replicas;
