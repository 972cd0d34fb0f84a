//! The temporary folder of a group of servers, and the guardian that outlives the test.

use std::collections::hash_map::RandomState;
use std::fs;
use std::hash::{BuildHasher, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

// A test that is killed runs no destructor, so somebody else has to clean up. This shell holds the
// reading end of a pipe whose writing end dies with the test process. A pid file may be stale and
// its number given to a stranger, hence the look at the command line (servers keep theirs, see
// `set-proc-title` in config.rs).
const GUARDIAN: &str = r#"
trap '' INT TERM HUP
dir=$1
read -r _
for file in "$dir"/*.pid; do
    [ -s "$file" ] || continue
    pid=$(cat "$file")
    if [ -r "/proc/$pid/cmdline" ]; then
        command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    else
        command=$(ps -o command= -p "$pid" 2>/dev/null)
    fi
    case $command in *"$dir"*) kill -9 "$pid" ;; esac
done
[ -n "$KEEP" ] || rm -rf "$dir" || { sleep 1; rm -rf "$dir"; }
"#;

/// A temporary folder of its own. Removed, with every server started in it, when this value is dropped
/// or its process dies, so a static may hold it.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    guardian: Child,
}

impl Folder {
    /// An empty folder.
    ///
    /// # Panics
    ///
    /// If it cannot be made, or `sh` cannot be started, which removes it in the end.
    #[must_use]
    pub fn create() -> Self {
        let path = std::env::temp_dir().join(format!(
            "redis-rw-pool-{}-{:08x}",
            std::process::id(),
            random() & 0xffff_ffff
        ));
        fs::create_dir_all(&path)
            .unwrap_or_else(|error| panic!("cannot create {}: {error}", path.display()));
        let keep = if keeps_folders() { "1" } else { "" };
        let guardian = Command::new("sh")
            .args(["-c", GUARDIAN, "redis-rw-pool-guardian"])
            .arg(&path)
            .env("KEEP", keep)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start sh: {error}"));
        Self { path, guardian }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes a file in it, and returns where it is.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path.join(name);
        fs::write(&path, content)
            .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        let _ = self.guardian.wait();
        if keeps_folders() {
            eprintln!("testkit: kept {}", self.path.display());
        }
    }
}

/// `TESTKIT_KEEP=1` keeps configuration files and logs for a look afterwards.
fn keeps_folders() -> bool {
    std::env::var_os("TESTKIT_KEEP").is_some_and(|value| !value.is_empty() && value != "0")
}

pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
