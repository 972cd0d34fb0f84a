//! Which of the nodes that reads may go to are taken first.

use std::time::Duration;

use crate::config::{HostPattern, host_pattern, settings::Value};

/// Which of the nodes that [`read_from`](crate::Config::read_from) admits are read from while there are any.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prefer {
    /// All alike. The default.
    #[default]
    Nobody,
    /// Those that one of these fits.
    Hosts(Vec<HostPattern>),
    /// Those that say they are in this zone.
    Zone(String),
    /// Those that answer within so much of the fastest.
    Nearest {
        /// Greater than zero.
        within: Duration,
    },
}

const FORMS: &str =
    "must be `nobody`, `hosts:` with patterns, `zone:` with a name, or `nearest:` with a duration";

/// Reads `nobody`, `hosts:10.1.0.0/16,redis-a*`, `zone:eu-central-1a` or `nearest:2ms`.
pub(super) fn parse(text: &str) -> Result<Prefer, &'static str> {
    if text == "nobody" {
        return Ok(Prefer::Nobody);
    }
    match text.split_once(':').ok_or(FORMS)? {
        ("hosts", patterns) => {
            let patterns = patterns.split(',').map(str::trim);
            let patterns: Result<_, _> = patterns.map(host_pattern::parse).collect();
            patterns.map(Prefer::Hosts)
        }
        ("zone", "") => Err("the name of the zone is missing"),
        ("zone", name) if name.contains(char::is_control) => {
            Err("the name of a zone holds no control characters")
        }
        ("zone", name) => Ok(Prefer::Zone(name.to_owned())),
        ("nearest", within) => match Value::text_of(within).duration()? {
            Duration::ZERO => Err("the duration after `nearest:` must be greater than zero"),
            within => Ok(Prefer::Nearest { within }),
        },
        _ => Err(FORMS),
    }
}

#[cfg(test)]
mod tests;
