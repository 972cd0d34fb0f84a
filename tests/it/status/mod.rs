//! What a pool counts and tells.

mod events;
mod health;
mod numbers;
mod openmetrics;
