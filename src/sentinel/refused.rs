//! Commands that a Sentinel refuses.
//!
//! The user of the pool may lack permissions, and a server may lack commands or hide them. Then the
//! pool makes do with the rest, and tells the operator what is lost.

use std::fmt;

use redis::RedisError;

use crate::error::code::denies_command;

/// A command that a Sentinel refuses, and what it said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) command: &'static str,
    pub(crate) error: String,
}

impl Refused {
    pub(crate) fn new(command: &'static str, error: &RedisError) -> Self {
        let error = error.to_string();
        Self { command, error }
    }

    /// What a pool cannot do without this command.
    pub(crate) fn loss(&self) -> &'static str {
        match self.command {
            "AUTH" | "SENTINEL" => "this Sentinel cannot be used",
            "SENTINEL GET-MASTER-ADDR-BY-NAME" => {
                "a new master is known only when the failover is over"
            }
            "SENTINEL MASTER" => {
                "epochs are not known, and a failover is not seen without its events"
            }
            "SENTINEL REPLICAS" => "it names no replicas to read from",
            "SENTINEL SENTINELS" => "no Sentinels are known but those configured",
            "SENTINEL MYID" => {
                "a Sentinel that has two addresses, or shares one with others, is not recognized"
            }
            _ => "planned failovers may lose acknowledged writes",
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, error } = self;
        write!(f, "{command} is refused ({error}), so {}", self.loss())
    }
}

/// Whether an error reply refuses only this one command. Other commands may work, the server is
/// alive, and it accepts our user.
pub(crate) fn is_about_the_command(error: &RedisError) -> bool {
    let (code, detail) = (error.code(), error.detail().unwrap_or_default());
    let code = code.unwrap_or_default();
    let words = detail.to_ascii_lowercase();
    // "Unknown sentinel subcommand" before 7.0, "unknown subcommand" since.
    let subcommand = code == "ERR" && words.starts_with("unknown") && words.contains("subcommand");
    denies_command(code, detail) || subcommand
}

#[cfg(test)]
mod tests;
