//! Servers, networks and callbacks that misbehave.

mod cut_connections;
mod hostile;
mod panics;
mod refusals;
mod secrets;
mod server_limits;
mod silent_network;
mod turned_away;
