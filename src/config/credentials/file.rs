//! A password in a file.

use std::{
    error::Error,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use tokio::task::spawn_blocking;

use crate::config::Secret;

/// More than any token has. The limit is for a path that leads to something else.
const MOST_BYTES: u64 = 64 << 10;

/// Reads the file apart from the runtime's threads: a network file system may take its time.
pub(super) async fn read(path: &Path) -> Result<Secret, Box<dyn Error + Send + Sync>> {
    let path = PathBuf::from(path);
    let read = spawn_blocking(move || read_now(&path)).await;
    match read {
        Ok(read) => read.map_err(Into::into),
        Err(_) => Err("the runtime has ended".into()),
    }
}

/// The error names the path, and shows nothing of the content.
pub(crate) fn read_now(path: &Path) -> Result<Secret, String> {
    let failed = |what: &dyn std::fmt::Display| format!("the file {path:?} {what}");
    let unreadable = |error| failed(&format_args!("cannot be read: {error}"));
    // To open a pipe may wait for ever for somebody who writes to it.
    if !std::fs::metadata(path).map_err(unreadable)?.is_file() {
        return Err(failed(&"is not a regular file"));
    }
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    let read = file.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    let length = read.map_err(unreadable)?;
    if length as u64 > MOST_BYTES {
        return Err(failed(&"is too large for a password"));
    }
    let text = String::from_utf8(bytes).map_err(|_| failed(&"is not UTF-8"))?;
    let password = text.strip_suffix('\n').unwrap_or(&text);
    let password = password.strip_suffix('\r').unwrap_or(password);
    if password.is_empty() {
        return Err(failed(&"is empty"));
    }
    Ok(password.into())
}
