//! How many connections there are, who gets one, and how pools begin and end.

mod close;
mod connection_counts;
mod contract;
mod dialing;
mod fakes;
mod idle;
mod leaks;
mod limits;
mod overload;
mod runtimes;
mod spread;
mod waiting;
