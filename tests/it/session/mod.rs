//! One lent connection: its handshake, its commands, their deadlines and what remains of them.

mod cancel;
mod cancel_calls;
mod commands;
mod credentials;
mod deadlines;
mod fakes;
mod handshake;
mod lease;
mod left_behind;
mod outcome;
mod permissions;
mod transaction;
