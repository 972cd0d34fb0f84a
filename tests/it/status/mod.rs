//! What a pool counts and tells.

mod durations;
mod events;
mod health;
mod numbers;
mod openmetrics;
mod traces;
