//! Where the numbers come from.

use std::{fs, process::Command};

/// The processor, the system and the versions, in one line.
pub(crate) fn describe(descriptors: u64) -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map_or("an unknown processor", |line| {
            line.trim_matches([' ', '\t', ':'])
        });
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let server = testkit::program();
    let rustc = Command::new("rustc").arg("--version").output();
    let rustc = rustc.map_or_else(
        |_| String::new(),
        |output| format!(", {}", String::from_utf8_lossy(&output.stdout).trim()),
    );
    format!(
        "{cores} cores of {model}, servers on the same machine; Linux {}, {server}\
         {rustc}; at most {descriptors} descriptors a process.",
        kernel.trim()
    )
}
