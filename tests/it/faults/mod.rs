//! Servers, networks and callbacks that misbehave.

mod cut_connections;
mod fakes;
mod secrets;
mod server_limits;
mod silent_network;
mod turned_away;
