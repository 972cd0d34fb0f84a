//! What a pool counts and tells.

mod numbers;
mod openmetrics;
