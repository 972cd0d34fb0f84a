//! On what it was measured.

use std::{fs, process::Command, thread};

use serde::Serialize;

/// The crates whose versions decide what the numbers mean.
const CRATES: [&str; 7] = [
    "redis-rw-pool",
    "redis",
    "deadpool",
    "deadpool-redis",
    "bb8",
    "fred",
    "rustis",
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
        Self {
            date: said("date", &["-u", "+%Y-%m-%d"]),
            cpu: fs::read_to_string("/proc/cpuinfo")
                .ok()
                .and_then(|text| cpu_model(&text))
                .unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, Into::into),
            system: said("uname", &["-srm"]),
            rustc: said("rustc", &["--version"]),
            server: testkit::program().to_string(),
            crates: CRATES
                .into_iter()
                .map(|name| (name, locked(lock, name).unwrap_or_else(unknown)))
                .collect(),
        }
    }
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn said(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    output
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(unknown)
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
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

    #[test]
    fn finds_the_model_of_the_first_core() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel\t: 1\nmodel name\t: other\n";
        assert_eq!(cpu_model(text).as_deref(), Some("AMD EPYC"));
        assert_eq!(cpu_model("processor : 0\n"), None);
    }
}
