//! Handles whose commands share a few connections.

mod deadlines;
mod failover;
mod fakes;
mod faults;
mod handles;
mod limits;
mod reply_matching;
mod scripts;
