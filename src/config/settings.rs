//! Every setting by its name, which is that of its field: the one vocabulary of URLs, of
//! configuration files and of environment variables.
//!
//! A new field gets a line in [`set`] or one of its helpers, a name in [`NAMES`], and a row in the
//! tests, which compare all ways to give it.

use std::{str::FromStr, time::Duration};

#[cfg(feature = "tls")]
use crate::config::tls::{SentinelTls, Verify};
use crate::{
    config::{
        AddressMap, Adopt, Config, ConfigError, CredentialsSource, FreshnessLimits, Measure,
        MultiplexedLimits, OnLost, Otherwise, PoolLimits, Protocol, ReadFrom, ReplyLimits, Secret,
        Trace, address, prefer, tls_settings::TlsSettings,
    },
    node::Node,
};

/// For the suggestion in an error. A limit of a pool is here once.
#[cfg(feature = "serde")]
pub(super) const NAMES: &[&str] = &[
    "sentinels",
    "master_name",
    "nodes",
    "sentinel_username",
    "sentinel_password",
    "sentinel_password_file",
    "username",
    "password",
    "password_file",
    "db",
    "client_name",
    "name",
    "measure",
    "trace",
    "read_from",
    "prefer",
    "max_staleness",
    "protocol",
    "connect_timeout",
    "command_timeout",
    "sentinel_timeout",
    "refresh_interval",
    "failover_timeout",
    "adopt",
    "address_map",
    "max_active",
    "max_idle",
    "min_idle",
    "wait_timeout",
    "idle_timeout",
    "max_lifetime",
    "test_idle_after",
    "multiplexed.connections",
    "multiplexed.max_in_flight",
    "multiplexed.max_pending_bytes",
    "freshness.patience",
    "freshness.otherwise",
    "freshness.lost",
    "reply_limits.max_depth",
    "reply_limits.max_bulk_bytes",
    "reply_limits.max_elements",
    "reply_limits.max_reply_bytes",
    "tls",
    "tls.ca_file",
    "tls.client_cert",
    "tls.client_key",
    "tls.server_name",
    "tls.verify",
    "tls.reload_every",
    "sentinel_tls",
];

/// A configuration in the making.
pub(super) struct Draft {
    pub(super) config: Config,
    pub(super) tls: TlsSettings,
}

impl Draft {
    pub(super) fn of(config: Config) -> Self {
        Self {
            config,
            tls: TlsSettings::default(),
        }
    }

    /// Makes a valid configuration of it. Reads the files of TLS.
    pub(super) fn finish(self) -> Result<Config, ConfigError> {
        let mut config = self.config;
        self.tls.apply(&mut config)?;
        config.validate()?;
        Ok(config)
    }
}

pub(super) enum Refusal {
    Unknown,
    /// The option is a known one, so the error may show its name. The reason shows no text of the
    /// value.
    Invalid(&'static str),
}

impl From<&'static str> for Refusal {
    fn from(reason: &'static str) -> Self {
        Self::Invalid(reason)
    }
}

pub(super) fn set(draft: &mut Draft, name: &str, value: Value<'_>) -> Result<(), Refusal> {
    let config = &mut draft.config;
    match name {
        "tls" | "sentinel_tls" => draft.tls.set(name, value)?,
        "sentinel_username" => config.sentinel_username = Some(value.text()?),
        "sentinel_password" => config.sentinel_password = Some(value.secret()?),
        "sentinel_password_file" => config.sentinel_credentials = Some(value.file()?),
        "username" => config.username = Some(value.text()?),
        "password" => config.password = Some(value.secret()?),
        "password_file" => config.credentials = Some(value.file()?),
        "sentinels" => config.sentinels = value.list()?,
        "master_name" => config.master_name = value.text()?,
        "nodes" => config.nodes = value.list()?,
        "db" => config.db = value.db()?,
        "client_name" => config.client_name = Some(value.text()?),
        "name" => config.name = Some(value.text()?),
        "measure" => config.measure = value.measure()?,
        "trace" => config.trace = value.trace()?,
        "read_from" => config.read_from = value.read_from()?,
        "prefer" => config.prefer = prefer::parse(&value.text()?)?,
        "max_staleness" => config.max_staleness = value.optional(Value::duration)?,
        "protocol" => config.protocol = value.protocol()?,
        "connect_timeout" => config.connect_timeout = value.duration()?,
        "command_timeout" => config.command_timeout = value.optional(Value::duration)?,
        "sentinel_timeout" => config.sentinel_timeout = value.duration()?,
        "refresh_interval" => config.refresh_interval = value.duration()?,
        "failover_timeout" => config.failover_timeout = value.duration()?,
        "adopt" => config.adopt = value.adopt()?,
        "address_map" => config.address_map = Some(value.address_map()?),
        _ => match name.split_once('.') {
            None => {
                set_limit(&mut config.write, name, value)?;
                set_limit(&mut config.read, name, value)?;
            }
            Some(("tls", _)) => draft.tls.set(name, value)?,
            Some(("write", limit)) => set_limit(&mut config.write, limit, value)?,
            Some(("read", limit)) => set_limit(&mut config.read, limit, value)?,
            Some(("multiplexed", limit)) => {
                set_multiplexed_limit(&mut config.multiplexed, limit, value)?;
            }
            Some(("freshness", limit)) => set_freshness(&mut config.freshness, limit, value)?,
            Some(("reply_limits", limit)) => {
                set_reply_limit(&mut config.reply_limits, limit, value)?;
            }
            Some(_) => return Err(Refusal::Unknown),
        },
    }
    Ok(())
}

pub(super) fn set_limit(
    limits: &mut PoolLimits,
    name: &str,
    value: Value<'_>,
) -> Result<(), Refusal> {
    match name {
        "max_active" => limits.max_active = value.number()?,
        "max_idle" => limits.max_idle = value.optional(Value::number)?,
        "min_idle" => limits.min_idle = value.number()?,
        "wait_timeout" => limits.wait_timeout = value.optional(Value::duration)?,
        "idle_timeout" => limits.idle_timeout = value.optional(Value::duration)?,
        "max_lifetime" => limits.max_lifetime = value.optional(Value::duration)?,
        "test_idle_after" => limits.test_idle_after = value.optional(Value::duration)?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

pub(super) fn set_multiplexed_limit(
    limits: &mut MultiplexedLimits,
    name: &str,
    value: Value<'_>,
) -> Result<(), Refusal> {
    match name {
        "connections" => limits.connections = value.number()?,
        "max_in_flight" => limits.max_in_flight = value.number()?,
        "max_pending_bytes" => limits.max_pending_bytes = value.number()?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

pub(super) fn set_freshness(
    limits: &mut FreshnessLimits,
    name: &str,
    value: Value<'_>,
) -> Result<(), Refusal> {
    match name {
        "patience" => limits.patience = value.duration()?,
        "otherwise" => limits.otherwise = value.otherwise()?,
        "lost" => limits.lost = value.on_lost()?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

pub(super) fn set_reply_limit(
    limits: &mut ReplyLimits,
    name: &str,
    value: Value<'_>,
) -> Result<(), Refusal> {
    match name {
        "max_depth" => limits.max_depth = value.number()?,
        "max_bulk_bytes" => limits.max_bulk_bytes = value.number()?,
        "max_elements" => limits.max_elements = value.number()?,
        "max_reply_bytes" => limits.max_reply_bytes = value.number()?,
        _ => return Err(Refusal::Unknown),
    }
    Ok(())
}

/// Whether there is a setting of this name.
pub(super) fn knows(name: &str) -> bool {
    let mut nobodys = Draft::of(Config::new(Vec::<String>::new(), ""));
    !matches!(
        set(&mut nobodys, name, Value::text_of("")),
        Err(Refusal::Unknown)
    )
}

/// `seen` and `name` are known options.
///
/// An option for one pool and the same option for both are refused together: different readers
/// would expect different ones to win. So are a password and the file that has it.
pub(super) fn check_conflicts(seen: &[&str], name: &str) -> Result<(), ConfigError> {
    if seen.contains(&name) {
        return Err(ConfigError::new(name.to_owned(), "is given twice"));
    }
    for pair in [
        ["password", "password_file"],
        ["sentinel_password", "sentinel_password_file"],
    ] {
        if pair.contains(&name)
            && let Some(other) = pair
                .iter()
                .find(|other| **other != name && seen.contains(other))
        {
            let reason = format!("is also given as `{other}`");
            return Err(ConfigError::new(name.to_owned(), reason));
        }
    }
    let limit_for_one_pool = |name: &str| {
        let (pool, limit) = name.split_once('.')?;
        (pool == "write" || pool == "read").then(|| limit.to_owned())
    };
    for other in seen {
        for (one, both) in [(name, *other), (*other, name)] {
            if limit_for_one_pool(one).is_some_and(|limit| limit == both) {
                let reason = format!("is also given for both pools, as `{both}`");
                return Err(ConfigError::new(one.to_owned(), reason));
            }
        }
    }
    Ok(())
}

/// What is given for a setting.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    text: &'a str,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, or something of which the text is all that there is to know.
    Text,
    /// Neither text nor a whole number: as text it need not be what somebody wrote.
    #[cfg(feature = "serde")]
    Inexact,
    /// A whole number, where the format has numbers.
    #[cfg(feature = "serde")]
    Number,
    /// There is no value, as the format says.
    #[cfg(feature = "serde")]
    Null,
}

impl Kind {
    pub(super) fn is_null(self) -> bool {
        match self {
            Self::Text => false,
            #[cfg(feature = "serde")]
            other => other == Self::Null,
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn text_of(text: &'a str) -> Self {
        Self::of(text, Kind::Text)
    }

    pub(super) fn of(text: &'a str, kind: Kind) -> Self {
        Self { text, kind }
    }

    fn is_null(self) -> bool {
        self.kind.is_null()
    }

    pub(super) fn text(self) -> Result<String, &'static str> {
        match self.kind {
            Kind::Text => Ok(self.text.to_owned()),
            #[cfg(feature = "serde")]
            Kind::Number => Ok(self.text.to_owned()),
            #[cfg(feature = "serde")]
            Kind::Inexact => Err("must be text: write it in quotes"),
            #[cfg(feature = "serde")]
            Kind::Null => Err("must have a value"),
        }
    }

    /// Crates that read the environment make a number of every password that looks like one.
    pub(super) fn secret(self) -> Result<Secret, &'static str> {
        self.text().map(Into::into)
    }

    fn file(self) -> Result<CredentialsSource, &'static str> {
        self.path().map(CredentialsSource::file)
    }

    pub(super) fn path(self) -> Result<String, &'static str> {
        match self.text()? {
            path if path.is_empty() => Err("must be the path of a file"),
            path => Ok(path),
        }
    }

    pub(super) fn switch(self) -> Result<bool, &'static str> {
        match self.text()?.as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err("must be `true` or `false`"),
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn verify(self) -> Result<Verify, &'static str> {
        match self.text()?.as_str() {
            "full" => Ok(Verify::Full),
            "ca" => Ok(Verify::Ca),
            "none" => Ok(Verify::None),
            _ => Err("must be `full`, `ca` or `none`"),
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn sentinel_tls(self) -> Result<SentinelTls, &'static str> {
        match self.text()?.as_str() {
            "as_nodes" => Ok(SentinelTls::AsNodes),
            "off" => Ok(SentinelTls::Off),
            _ => Err("must be `as_nodes` or `off`"),
        }
    }

    fn list(self) -> Result<Vec<String>, &'static str> {
        let text = self.text()?;
        Ok(text.split(',').map(|item| item.trim().to_owned()).collect())
    }

    fn db(self) -> Result<i64, &'static str> {
        digits(&self.text()?).ok_or("must be a number from 0 to 2147483647")
    }

    #[cfg(feature = "serde")]
    pub(super) fn node(self) -> Result<Node, &'static str> {
        node(&self.text()?)
    }

    pub(super) fn address_map(self) -> Result<AddressMap, &'static str> {
        let text = self.text()?;
        let pair = |pair: &str| {
            let reason =
                "must be pairs of addresses, `announced=dialled`, with commas between them";
            let (announced, dialled) = pair.split_once('=').ok_or(reason)?;
            Ok((node(announced.trim())?, node(dialled.trim())?))
        };
        text.split(',').map(pair).collect()
    }

    fn number(self) -> Result<usize, &'static str> {
        digits(&self.text()?).ok_or("must be a whole number")
    }

    pub(super) fn duration(self) -> Result<Duration, &'static str> {
        let text = self.text()?;
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        let (number, unit) = text.split_at(end);
        let reason = "must be a whole number with one of the units `ms`, `s`, `m` and `h`";
        let number: u64 = digits(number).ok_or(reason)?;
        let seconds = |factor| number.checked_mul(factor).map(Duration::from_secs);
        match unit {
            "ms" => Ok(Duration::from_millis(number)),
            "s" => Ok(Duration::from_secs(number)),
            "m" => seconds(60).ok_or(reason),
            "h" => seconds(60 * 60).ok_or(reason),
            _ => Err(reason),
        }
    }

    pub(super) fn optional<T>(
        self,
        parse: impl FnOnce(Self) -> Result<T, &'static str>,
    ) -> Result<Option<T>, &'static str> {
        if self.is_null() || self.text == "none" {
            return Ok(None);
        }
        parse(self).map(Some)
    }

    pub(super) fn read_from(self) -> Result<ReadFrom, &'static str> {
        match self.text {
            "replica_preferred" => Ok(ReadFrom::ReplicaPreferred),
            "replica" => Ok(ReadFrom::Replica),
            "master" => Ok(ReadFrom::Master),
            "master_preferred" => Ok(ReadFrom::MasterPreferred),
            "any" => Ok(ReadFrom::Any),
            _ => {
                Err("must be `replica_preferred`, `replica`, `master`, `master_preferred` or `any`")
            }
        }
    }

    pub(super) fn measure(self) -> Result<Measure, &'static str> {
        match self.text {
            "connections" => Ok(Measure::Connections),
            "commands" => Ok(Measure::Commands),
            _ => Err("must be `connections` or `commands`"),
        }
    }

    pub(super) fn trace(self) -> Result<Trace, &'static str> {
        match self.text {
            "off" => Ok(Trace::Off),
            "errors" => Ok(Trace::Errors),
            "commands" => Ok(Trace::Commands),
            _ => Err("must be `off`, `errors` or `commands`"),
        }
    }

    pub(super) fn adopt(self) -> Result<Adopt, &'static str> {
        match self.text {
            "announced" => Ok(Adopt::Announced),
            "promoted" => Ok(Adopt::Promoted),
            _ => Err("must be `announced` or `promoted`"),
        }
    }

    pub(super) fn otherwise(self) -> Result<Otherwise, &'static str> {
        match self.text {
            "master" => Ok(Otherwise::Master),
            "fail" => Ok(Otherwise::Fail),
            "stale" => Ok(Otherwise::Stale),
            _ => Err("must be `master`, `fail` or `stale`"),
        }
    }

    pub(super) fn on_lost(self) -> Result<OnLost, &'static str> {
        match self.text {
            "tell" => Ok(OnLost::Tell),
            "fail" => Ok(OnLost::Fail),
            _ => Err("must be `tell` or `fail`"),
        }
    }

    pub(super) fn protocol(self) -> Result<Protocol, &'static str> {
        match self.text {
            "resp2" => Ok(Protocol::Resp2),
            "resp3" => Ok(Protocol::Resp3),
            _ => Err("must be `resp2` or `resp3`"),
        }
    }
}

/// Digits only: `parse` would also accept a `+`.
pub(super) fn digits<T: FromStr>(text: &str) -> Option<T> {
    text.bytes()
        .all(|b| b.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// The address of a data node as people write it: its port is a part of it.
fn node(text: &str) -> Result<Node, &'static str> {
    let node = address::parse(text, address::NODE_PORT)?;
    let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
    if !node.is_unix() && (host.is_empty() || port.contains(']') || port.is_empty()) {
        return Err("the port is missing");
    }
    Ok(node)
}

// All of them are there with these features only.
#[cfg(all(test, feature = "serde", feature = "tls"))]
mod tests;
