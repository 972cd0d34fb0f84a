//! Starts real Redis and Sentinel processes for the tests, the demo and the benches.
