//! On what it was measured, and of which versions.

use serde::Serialize;
use testkit::machine;

/// The crates whose versions decide what the numbers mean.
const CRATES: [&str; 8] = [
    "redis-rw-pool",
    "redis",
    "deadpool",
    "deadpool-redis",
    "bb8",
    "fred",
    "rustis",
    "rustls",
];

#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) date: String,
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) system: String,
    pub(crate) rustc: String,
    pub(crate) server: String,
    pub(crate) crates: Vec<(&'static str, String)>,
}

impl Machine {
    pub(crate) fn look() -> Self {
        let lock = include_str!("../../Cargo.lock");
        let machine = machine::Machine::look();
        let version = |name| locked(lock, name).unwrap_or_else(|| "unknown".to_owned());
        Self {
            date: machine::output_of("date", &["-u", "+%Y-%m-%d"]),
            cpu: machine.cpu,
            cores: machine.cores,
            system: machine.system,
            rustc: machine.rustc,
            server: machine.server,
            crates: CRATES.map(|name| (name, version(name))).into(),
        }
    }
}

fn locked(lock: &str, name: &str) -> Option<String> {
    let (_, package) = lock.split_once(&format!("name = \"{name}\"\nversion = \""))?;
    Some(package.split_once('"')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_crate_that_is_named_is_in_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        for name in CRATES {
            assert!(locked(lock, name).is_some(), "{name}");
        }
        assert_eq!(locked(lock, "redis-rw"), None);
    }
}
