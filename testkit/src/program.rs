//! Which server everything here is tried on.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

/// A redis-server or a valkey-server; either is a Sentinel too.
#[derive(Debug)]
pub struct Program {
    path: OsString,
    product: String,
    version: String,
    number: (u32, u32),
}

/// The program: `REDIS_SERVER`, or `redis-server` from the path; panics, saying what to do, when
/// there is none.
#[must_use]
pub fn program() -> &'static Program {
    static PROGRAM: OnceLock<Program> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let named = std::env::var_os("REDIS_SERVER").filter(|path| !path.is_empty());
        let path = named.unwrap_or_else(|| "redis-server".into());
        let output = Command::new(&path)
            .arg("--version")
            .output()
            .unwrap_or_else(|error| {
                panic!("cannot run {path:?}: {error}; install Redis 6.2 or later, or run scripts/need-redis")
            });
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Program::parse(&path, &text).unwrap_or_else(|| panic!("{path:?} has no version in {text:?}"))
    })
}

/// Major and minor version of the server. Valkey has numbers of its own, from 7.2 on.
#[must_use]
pub fn redis_version() -> (u32, u32) {
    program().number
}

/// Whether the server has what came with this version; says so where it has not.
///
/// A test leaves out by this what it cannot try.
#[must_use]
pub fn provides(what: &str, since: (u32, u32)) -> bool {
    let provides = redis_version() >= since;
    if !provides {
        let (major, minor) = since;
        eprintln!(
            "left out: {what} needs Redis {major}.{minor}, and this is {}",
            program()
        );
    }
    provides
}

impl Program {
    /// How to start it: a path, or a name in the path.
    #[must_use]
    pub fn path(&self) -> &OsStr {
        &self.path
    }

    /// Whether it is Valkey, which has commands that no Redis has.
    #[must_use]
    pub fn is_valkey(&self) -> bool {
        self.product.eq_ignore_ascii_case("valkey")
    }

    /// The version in full, such as `7.0.15`.
    #[must_use]
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The `cli` or the `benchmark` that is installed with it, by the name in the path where there
    /// is none beside it.
    #[must_use]
    pub fn companion(&self, tool: &str) -> PathBuf {
        let name = format!("{}-{tool}", self.product.to_lowercase());
        let beside = PathBuf::from(&self.path).with_file_name(&name);
        if beside.exists() { beside } else { name.into() }
    }

    // `Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0`
    fn parse(path: &OsStr, text: &str) -> Option<Self> {
        let (product, rest) = text.split_once(" server v=")?;
        let version = rest.split_whitespace().next()?;
        let mut numbers = version.split('.').map(str::parse);
        Some(Self {
            path: path.to_owned(),
            product: product.to_owned(),
            version: version.to_owned(),
            number: (numbers.next()?.ok()?, numbers.next()?.ok()?),
        })
    }
}

/// `Valkey 9.1.2`
impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_version_of_redis_and_of_valkey() {
        for (text, expected) in [
            (
                "Redis server v=7.0.15 sha=00000000:0 malloc=jemalloc-5.3.0 bits=64",
                Some(("Redis 7.0.15", (7, 0))),
            ),
            (
                "Valkey server v=8.1.3 sha=00000000:0",
                Some(("Valkey 8.1.3", (8, 1))),
            ),
            ("bash: redis-server: not found", None),
        ] {
            let program = Program::parse(OsStr::new("any"), text);
            let found = program.map(|program| (program.to_string(), program.number));
            let found = found
                .as_ref()
                .map(|(name, number)| (name.as_str(), *number));
            assert_eq!(found, expected, "{text}");
        }
    }
}
