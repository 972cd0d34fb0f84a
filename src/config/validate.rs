//! The rules that a configuration must keep.

use std::{borrow::Cow, fmt, ops::RangeInclusive, time::Duration};

#[cfg(feature = "tls")]
use crate::config::tls::{SentinelTls, Tls};
use crate::config::{
    Config, ConfigError, CredentialsSource, MultiplexedLimits, PoolLimits, ReplyLimits, Secret,
    address::{self, NODE_PORT, SENTINEL_PORT},
};

impl Config {
    /// Checks every field, so that a mistake is found before the first connection.
    ///
    /// Connecting a pool and [`Config::from_url`] do this too. Nothing is adjusted: what is not
    /// refused is used as it is.
    ///
    /// # Errors
    ///
    /// Names the first field that cannot be used:
    ///
    /// - neither a Sentinel nor a node, or both; an address that is empty or malformed;
    /// - a master name that is empty or has characters other than letters, digits, `.`, `_`, `-`; a
    ///   master name or credentials for Sentinels where there are none;
    /// - a user name without a password or a source of credentials; a password together with a source;
    ///   an empty user name, password or client name; a user name
    ///   with white space or a NUL; a client name with spaces or non-printable characters;
    /// - a `db` that is negative or greater than 2147483647;
    /// - a timeout, interval, idle time or lifetime of zero where zero has no meaning, or one of
    ///   more than 36500 days;
    /// - a `max_staleness` of less than a second;
    /// - `max_active` of 0 or more than 65535, `max_idle` greater than `max_active`, `min_idle`
    ///   greater than `max_idle`;
    /// - a `prefer` without hosts, without the name of a zone, or with no time;
    /// - `multiplexed.connections` of 0 or more than 64, another multiplexed limit of zero;
    /// - a reply limit of zero;
    /// - a server name for TLS that is neither a host name nor an IP address.
    pub fn validate(&self) -> Result<(), ConfigError> {
        self.validate_source()?;
        self.validate_identity()?;
        self.validate_times()?;
        let prefer = self.prefer.check();
        prefer.map_err(|reason| ConfigError::new("prefer", reason))?;
        self.write.validate("write")?;
        self.read.validate("read")?;
        validate_multiplexed(&self.multiplexed)?;
        validate_reply_limits(&self.reply_limits)?;
        #[cfg(feature = "tls")]
        self.validate_tls()?;
        Ok(())
    }

    /// All else was checked when it was built.
    #[cfg(feature = "tls")]
    fn validate_tls(&self) -> Result<(), ConfigError> {
        let check = |field, tls: Option<&Tls>| {
            let checked = tls.map_or(Ok(()), Tls::check);
            checked.map_err(|reason| ConfigError::new(field, reason))
        };
        check("tls.server_name", self.tls.as_ref())?;
        check("sentinel_tls.server_name", self.tls_of_sentinels())
    }

    fn validate_source(&self) -> Result<(), ConfigError> {
        match (&self.sentinels[..], &self.nodes[..]) {
            ([], []) => Err(ConfigError::new(
                "sentinels",
                "name at least one Sentinel, or without Sentinels at least one of `nodes`",
            )),
            (sentinels, []) => {
                validate_addresses("sentinels", sentinels, SENTINEL_PORT)?;
                self.validate_master_name()
            }
            ([], nodes) => {
                validate_addresses("nodes", nodes, NODE_PORT)?;
                self.validate_no_sentinels()
            }
            _ => Err(ConfigError::new(
                "nodes",
                "must be empty where `sentinels` are given: Sentinels name the nodes",
            )),
        }
    }

    /// What is meant for Sentinels and given without any is a mistake somewhere.
    fn validate_no_sentinels(&self) -> Result<(), ConfigError> {
        for (field, is_set) in [
            ("master_name", !self.master_name.is_empty()),
            ("sentinel_username", self.sentinel_username.is_some()),
            ("sentinel_password", self.sentinel_password.is_some()),
            ("sentinel_credentials", self.sentinel_credentials.is_some()),
            #[cfg(feature = "tls")]
            (
                "sentinel_tls",
                !matches!(self.sentinel_tls, SentinelTls::AsNodes),
            ),
        ] {
            if is_set {
                let reason = "is for Sentinels, and `nodes` are given instead of `sentinels`";
                return Err(ConfigError::new(field, reason));
            }
        }
        Ok(())
    }

    fn validate_master_name(&self) -> Result<(), ConfigError> {
        if self.master_name.is_empty() || !self.master_name.chars().all(address::is_name_char) {
            let reason = "must be one or more letters, digits, `.`, `_` or `-`";
            return Err(ConfigError::new("master_name", reason).with_text(&self.master_name));
        }
        Ok(())
    }

    fn validate_identity(&self) -> Result<(), ConfigError> {
        validate_login(
            [
                "sentinel_username",
                "sentinel_password",
                "sentinel_credentials",
            ],
            self.sentinel_username.as_deref(),
            self.sentinel_password.as_ref(),
            self.sentinel_credentials.as_ref(),
        )?;
        validate_login(
            ["username", "password", "credentials"],
            self.username.as_deref(),
            self.password.as_ref(),
            self.credentials.as_ref(),
        )?;
        within("db", &self.db, &(0..=MAX_DB))?;
        match &self.client_name {
            Some(name) if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic()) => {
                let reason = "must be one or more printable ASCII characters, no spaces";
                Err(ConfigError::new("client_name", reason).with_text(name))
            }
            _ => Ok(()),
        }?;
        match &self.name {
            Some(name)
                if name.is_empty() || name.len() > 128 || name.contains(char::is_control) =>
            {
                let reason = "must have 1 to 128 bytes, and no control characters";
                Err(ConfigError::new("name", reason).with_text(name))
            }
            _ => Ok(()),
        }
    }

    fn validate_times(&self) -> Result<(), ConfigError> {
        positive("connect_timeout", Some(self.connect_timeout))?;
        positive("command_timeout", self.command_timeout)?;
        positive("sentinel_timeout", Some(self.sentinel_timeout))?;
        positive("refresh_interval", Some(self.refresh_interval))?;
        any_length("max_staleness", self.max_staleness)?;
        if let Some(age) = self.max_staleness.filter(|age| *age < SHORTEST_STALENESS) {
            let reason = "must be at least 1 second: replicas are always a little behind, and less would \
                          send reads to the master at every hiccup. For single reads there is \
                          `within`";
            return Err(ConfigError::new("max_staleness", reason).with_value(age));
        }
        any_length("failover_timeout", Some(self.failover_timeout))?;
        any_length("freshness.patience", Some(self.freshness.patience))
    }
}

impl PoolLimits {
    fn validate(&self, pool: &str) -> Result<(), ConfigError> {
        let field = |name: &str| format!("{pool}.{name}");
        within(field("max_active"), &self.max_active, &(1..=MAX_ACTIVE))?;
        if let Some(max_idle) = self.max_idle.filter(|&idle| idle > self.max_active) {
            let reason = format!("must be at most `max_active` ({})", self.max_active);
            return Err(ConfigError::new(field("max_idle"), reason).with_value(max_idle));
        }
        let max_idle = self.effective_max_idle();
        if self.min_idle > max_idle {
            let limit = self.max_idle.map_or("max_active", |_| "max_idle");
            let reason = format!("must be at most `{limit}` ({max_idle})");
            return Err(ConfigError::new(field("min_idle"), reason).with_value(self.min_idle));
        }
        any_length(field("wait_timeout"), self.wait_timeout)?;
        positive(field("idle_timeout"), self.idle_timeout)?;
        positive(field("max_lifetime"), self.max_lifetime)?;
        any_length(field("test_idle_after"), self.test_idle_after)
    }
}

fn validate_addresses(field: &str, texts: &[String], default_port: u16) -> Result<(), ConfigError> {
    for (index, text) in texts.iter().enumerate() {
        address::parse(text, default_port).map_err(|reason| {
            ConfigError::new(format!("{field}[{index}]"), reason).with_text(text)
        })?;
    }
    Ok(())
}

fn validate_multiplexed(limits: &MultiplexedLimits) -> Result<(), ConfigError> {
    within("multiplexed.connections", &limits.connections, &(1..=64))?;
    for (name, value) in [
        ("multiplexed.max_in_flight", limits.max_in_flight),
        ("multiplexed.max_pending_bytes", limits.max_pending_bytes),
    ] {
        if value == 0 {
            return Err(ConfigError::new(name, "must be at least 1").with_value(value));
        }
    }
    Ok(())
}

fn validate_reply_limits(limits: &ReplyLimits) -> Result<(), ConfigError> {
    for (name, value) in [
        ("reply_limits.max_depth", limits.max_depth),
        ("reply_limits.max_bulk_bytes", limits.max_bulk_bytes),
        ("reply_limits.max_elements", limits.max_elements),
        ("reply_limits.max_reply_bytes", limits.max_reply_bytes),
    ] {
        if value == 0 {
            return Err(ConfigError::new(name, "must be at least 1").with_value(value));
        }
    }
    Ok(())
}

fn validate_login(
    [username_field, password_field, source_field]: [&'static str; 3],
    username: Option<&str>,
    password: Option<&Secret>,
    source: Option<&CredentialsSource>,
) -> Result<(), ConfigError> {
    let fields = [username_field, password_field];
    let Some(source) = source else {
        return credentials(fields, username, password.map(Secret::expose));
    };
    if password.is_some() {
        let reason = format!("is set beside `{source_field}`: only one of them can be used");
        return Err(ConfigError::new(password_field, reason));
    }
    // What it answers is known only in the case of fixed ones.
    let (username, password) = match source.known() {
        Some(known) => (known.username.as_deref().or(username), &known.password),
        None => (username, &"unknown".into()),
    };
    credentials(fields, username, Some(password.expose()))
}

/// Whether a user name and a password can be used. The error shows neither.
pub(super) fn credentials(
    [username_field, password_field]: [&'static str; 2],
    username: Option<&str>,
    password: Option<&str>,
) -> Result<(), ConfigError> {
    if password == Some("") {
        return Err(ConfigError::new(password_field, "must not be empty"));
    }
    let Some(username) = username else {
        return Ok(());
    };
    // The same characters that `ACL SETUSER` refuses.
    if username.is_empty() || username.contains(|c: char| c.is_ascii_whitespace() || c == '\0') {
        let reason = "must not be empty and holds no white space and no NUL";
        return Err(ConfigError::new(username_field, reason));
    }
    if password.is_none() {
        return Err(ConfigError::new(
            password_field,
            format!("must be set when `{username_field}` is"),
        ));
    }
    Ok(())
}

fn within<T: PartialOrd + fmt::Debug + fmt::Display>(
    field: impl Into<Cow<'static, str>>,
    value: &T,
    range: &RangeInclusive<T>,
) -> Result<(), ConfigError> {
    if range.contains(value) {
        return Ok(());
    }
    let reason = format!("must be from {} to {}", range.start(), range.end());
    Err(ConfigError::new(field, reason).with_value(value))
}

fn positive(
    field: impl Into<Cow<'static, str>>,
    value: Option<Duration>,
) -> Result<(), ConfigError> {
    if value == Some(Duration::ZERO) {
        return Err(ConfigError::new(field, "must be greater than zero").with_value(Duration::ZERO));
    }
    any_length(field, value)
}

fn any_length(
    field: impl Into<Cow<'static, str>>,
    value: Option<Duration>,
) -> Result<(), ConfigError> {
    match value {
        Some(value) if value > MAX_DURATION => {
            Err(ConfigError::new(field, "must be at most 36500 days").with_value(value))
        }
        _ => Ok(()),
    }
}

/// deadpool allocates room for all of them at once, so an absurd number would abort the process.
const MAX_ACTIVE: usize = 65_535;
/// The greatest index that `SELECT` can read.
const MAX_DB: i64 = 2_147_483_647;
/// The master is asked for its position four times in this time, for as long as there are reads, and whenever
/// replication is held up for as long all reads go to the master.
const SHORTEST_STALENESS: Duration = Duration::from_secs(1);
/// Far from where adding a duration to an instant overflows.
const MAX_DURATION: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
