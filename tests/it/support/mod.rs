//! What the tests share, one kind of helper in each file. Tests import all of it from here.

mod checks;
mod commands;
mod config;
mod deployments;
mod fakes;
pub(crate) mod load;
mod logs;
mod polling;
mod random;
mod relay;
mod silent_master;
mod stage;
mod watcher;

pub(crate) use checks::*;
pub(crate) use commands::*;
pub(crate) use config::*;
pub(crate) use deployments::*;
pub(crate) use fakes::*;
pub(crate) use logs::*;
pub(crate) use polling::*;
pub(crate) use random::*;
pub(crate) use relay::*;
pub(crate) use silent_master::*;
pub(crate) use stage::*;
pub(crate) use watcher::*;
