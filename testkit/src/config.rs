//! What is written into the configuration files.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::program::redis_version;

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
