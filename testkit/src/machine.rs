//! On what something was measured.

use std::{fs, process::Command, thread};

/// This machine, and what runs on it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The model of its first core.
    pub cpu: String,
    /// How many cores this process may use.
    pub cores: usize,
    /// Kernel, its version, and the architecture.
    pub system: String,
    /// The compiler in the path.
    pub rustc: String,
    /// The server that testkit starts.
    pub server: String,
}

impl Machine {
    /// Asks the system; says `unknown` where it does not tell.
    #[must_use]
    pub fn look() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").ok();
        Self {
            cpu: cpuinfo
                .and_then(|text| cpu_model(&text))
                .unwrap_or_else(unknown),
            cores: thread::available_parallelism().map_or(0, Into::into),
            system: output_of("uname", &["-srm"]),
            rustc: output_of("rustc", &["--version"]),
            server: crate::program().to_string(),
        }
    }
}

/// What a program writes, in one line; `unknown` where it writes nothing.
#[must_use]
pub fn output_of(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().ok();
    output
        .and_then(|output| String::from_utf8(output.stdout).ok())
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .unwrap_or_else(unknown)
}

fn unknown() -> String {
    "unknown".to_owned()
}

fn cpu_model(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo
        .lines()
        .find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_model_of_the_first_core() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC\nmodel\t: 1\nmodel name\t: other\n";
        assert_eq!(cpu_model(text).as_deref(), Some("AMD EPYC"));
        assert_eq!(cpu_model("processor : 0\n"), None);
    }
}
