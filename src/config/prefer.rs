//! Which of the nodes that reads may go to are taken first.

use std::{fmt, str::FromStr, time::Duration};

use crate::config::{ConfigError, HostPattern, host_pattern, settings::Value};

/// Which of the nodes that [`read_from`](crate::Config::read_from) admits are read from while there are any.
///
/// Reads go to the preferred nodes that `read_from` admits, with even shares. While none of these can be read
/// from, they go to all that `read_from` admits, as without a preference: because they are left out
/// ([`Replica::excluded`](crate::Replica::excluded)), refuse to serve, or cannot be connected to. So a
/// preference makes no read fail. When one is back, the connections of the pool move there one after the
/// other, within two seconds under load.
///
/// The master may be preferred like any other node. Reads go there only where `read_from` admits it
/// ([`Any`](crate::ReadFrom::Any), [`MasterPreferred`](crate::ReadFrom::MasterPreferred)). A read that must
/// have seen something ([`Freshness`](crate::Freshness)) leaves the preferred nodes where these are behind.
///
/// [`Topology::preferred`](crate::Topology::preferred) has the nodes that are preferred now.
///
/// ```
/// use redis_rw_pool::{Config, Prefer};
///
/// let mut config = Config::new(["10.0.0.1"], "mymaster");
/// config.prefer = Prefer::Hosts(vec!["10.1.0.0/16".parse()?, "redis-a*.internal".parse()?]);
/// // As text, the form of URLs, files and variables:
/// config.prefer = "zone:eu-central-1a".parse()?;
/// # Ok::<(), redis_rw_pool::ConfigError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Prefer {
    /// All alike. The default.
    #[default]
    Nobody,
    /// Those that one of these fits: as they are announced or configured, as they are dialled, and for
    /// addresses and networks also by what their names resolve to. At least one.
    Hosts(Vec<HostPattern>),
    /// Those that say they are in this zone: `availability-zone` in their `valkey.conf`.
    ///
    /// Valkey tells it from 8.0 on in `INFO server`, for which our user needs the permission `+info`, and from
    /// 8.1 on in `HELLO`, too. Redis does not, so there no node is preferred. Upper and lower case differ.
    Zone(String),
    /// Those that take at most so much longer to answer than the fastest that reads may go to. 2
    /// milliseconds are a good value within one region.
    ///
    /// What counts is the middle one of the last five times in which a node has answered the pool's own
    /// questions, over a connection that was open: about one every
    /// [`refresh_interval`](crate::Config::refresh_interval). Who is near stays so until it takes half as
    /// much longer.
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
        ("zone", name) => Prefer::Zone(name.to_owned()).checked(),
        ("nearest", within) => {
            let within = Value::text_of(within).duration()?;
            Prefer::Nearest { within }.checked()
        }
        _ => Err(FORMS),
    }
}

impl Prefer {
    /// Whether it can be used.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        match self {
            Self::Hosts(patterns) if patterns.is_empty() => Err("names no hosts"),
            Self::Zone(name) if name.is_empty() => Err("the name of the zone is missing"),
            Self::Zone(name) if name.contains(char::is_control) => {
                Err("the name of a zone holds no control characters")
            }
            Self::Nearest { within } if within.is_zero() => {
                Err("the duration after `nearest:` must be greater than zero")
            }
            _ => Ok(()),
        }
    }

    fn checked(self) -> Result<Self, &'static str> {
        self.check().map(|()| self)
    }

    /// What to look at where no node is preferred.
    pub(crate) fn why_none(&self) -> &'static str {
        match self {
            Self::Nobody => "none is to be",
            Self::Hosts(_) => "no pattern fits the address of a node",
            Self::Zone(_) => {
                "no node says that it is in this zone (`availability-zone` of Valkey 8.0 or later, and \
                 the permission +info)"
            }
            Self::Nearest { .. } => "no node that reads may go to has answered yet",
        }
    }
}

impl FromStr for Prefer {
    type Err = ConfigError;

    /// Reads what [`Display`](fmt::Display) writes: `nobody`, `hosts:10.1.0.0/16,redis-a*`,
    /// `zone:eu-central-1a`, `nearest:2ms`.
    ///
    /// # Errors
    ///
    /// Says what is wrong, and does not repeat the text.
    fn from_str(text: &str) -> Result<Self, ConfigError> {
        parse(text).map_err(|reason| ConfigError::new("prefer", reason))
    }
}

impl fmt::Display for Prefer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => f.write_str("nobody"),
            Self::Hosts(patterns) => {
                f.write_str("hosts:")?;
                for (place, pattern) in patterns.iter().enumerate() {
                    let comma = if place == 0 { "" } else { "," };
                    write!(f, "{comma}{pattern}")?;
                }
                Ok(())
            }
            Self::Zone(name) => write!(f, "zone:{name}"),
            Self::Nearest { within } if within.subsec_nanos() % 1_000_000 == 0 => {
                write!(f, "nearest:{}ms", within.as_millis())
            }
            Self::Nearest { within } => write!(f, "nearest:{within:?}"),
        }
    }
}

#[cfg(test)]
mod tests;
