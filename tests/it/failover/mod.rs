//! Masters and replicas that are replaced, die and come back, and what a caller notices of it.

mod fakes;
pub(crate) mod fence;
mod handover;
mod masters;
mod reads;
mod replicas;
mod retry_write;
mod spellings;
mod under_load;
