//! What is written into the configuration files, and which Redis reads them.

use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The program: `REDIS_SERVER`, or `redis-server` from the path.
pub(crate) fn redis_server() -> OsString {
    std::env::var_os("REDIS_SERVER").unwrap_or_else(|| "redis-server".into())
}

/// Major and minor version of the installed Redis; panics, saying what to do, when there is none.
#[must_use]
pub fn redis_version() -> (u32, u32) {
    static VERSION: OnceLock<(u32, u32)> = OnceLock::new();
    *VERSION.get_or_init(|| {
        let program = redis_server();
        let output = Command::new(&program)
            .arg("--version")
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run {program:?}: {error}; install Redis 6.2 or later, or run scripts/need-redis")
            });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        parse_version(&text).unwrap_or_else(|| panic!("{program:?} has no version in {text:?}"))
    })
}

fn parse_version(text: &str) -> Option<(u32, u32)> {
    let (_, version) = text.split_once("v=")?;
    let mut numbers = version.split(['.', ' ']).map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}

pub(crate) fn log_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.log"))
}

pub(crate) fn pid_path(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.pid"))
}

/// The lines every data node has.
pub(crate) fn node(folder: &Path, name: &str, port: u16) -> String {
    let mut lines = process(folder, name, port);
    lines.push_str(
        "save \"\"\n\
         appendonly no\n\
         repl-diskless-sync yes\n\
         repl-diskless-sync-delay 0\n\
         repl-ping-replica-period 1\n",
    );
    if redis_version() >= (7, 0) {
        // Refused by default since 7.0, and then a test with DEBUG SLEEP passes without testing.
        lines.push_str("enable-debug-command local\n");
    }
    lines
}

/// The lines every process has.
pub(crate) fn process(folder: &Path, name: &str, port: u16) -> String {
    let mut lines = String::new();
    let settings = [
        ("port", port.to_string()),
        ("bind", "127.0.0.1".to_owned()),
        ("protected-mode", "no".to_owned()),
        ("daemonize", "no".to_owned()),
        ("dir", quoted(&folder.join(name))),
        ("logfile", quoted(&log_path(folder, name))),
        ("pidfile", quoted(&pid_path(folder, name))),
        // The guardian knows a server by the folder in its command line.
        ("set-proc-title", "no".to_owned()),
    ];
    for (key, value) in settings {
        writeln!(lines, "{key} {value}").expect("writing to a String cannot fail");
    }
    lines
}

fn quoted(path: &Path) -> String {
    format!("\"{}\"", path.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_redis_and_of_valkey() {
        for (text, version) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
                Some((7, 0)),
            ),
            ("Valkey server v=8.1.3 sha=00000000:0", Some((8, 1))),
            ("bash: redis-server: not found", None),
        ] {
            assert_eq!(parse_version(text), version, "{text}");
        }
    }
}
