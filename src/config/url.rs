//! The URL form of a configuration.
//!
//! A secret with an unescaped `@`, `/`, `?`, `#` or `&` spills over into other parts of the URL.
//! So errors name a part by its field or its position, and repeat text only from a URL without
//! credentials.

mod percent;
mod scheme;

use std::{borrow::Cow, str::FromStr};

use crate::config::{
    Config, ConfigError,
    address::{self, NODE_PORT, SENTINEL_PORT},
    settings::{self, Draft, Refusal, Value},
    tls_settings::TlsSettings,
    url::{
        percent::decode,
        scheme::{Scheme, Source},
    },
};

impl Config {
    /// Reads a configuration from a URL, and validates it.
    ///
    /// ```text
    /// redis-sentinel://[[user]:password@]host[:port][,host[:port]…][/db][?option=value&…]#master_name
    /// redis://[[user]:password@]host[:port][,host[:port]…][/db][?option=value&…]
    /// ```
    ///
    /// With `redis-sentinel` the hosts are the Sentinels, port 26379 unless given. With `redis` they
    /// are the [`nodes`](Config::nodes) of a deployment without Sentinels, port 6379. IPv6 addresses stand
    /// in brackets. The path of a Unix socket is written percent-encoded in place of a host:
    /// `%2Frun%2Fredis.sock`.
    ///
    /// With `rediss-sentinel` and `rediss` connections are encrypted. This needs features: `tls-ring` or
    /// `tls-aws-lc-rs`, and `tls-native-roots` or `tls-webpki-roots` unless `tls.ca_file` is set.
    ///
    /// `valkey` means the same as `redis` in all of these, and a `+` the same as the `-`.
    ///
    /// User and password are those of the data nodes. Everything else is an option, named like its
    /// field:
    ///
    /// | option | value |
    /// |---|---|
    /// | `sentinel_username`, `sentinel_password`, `client_name`, `name` | text |
    /// | `password_file`, `sentinel_password_file` | path of a file, see [`CredentialsSource::file`](crate::CredentialsSource::file) |
    /// | `address_map` | `announced=dialled`, with commas between pairs |
    /// | `read_from` | `replica_preferred`, `replica`, `master`, `master_preferred`, `any` |
    /// | `measure` | `connections`, `commands` |
    /// | `trace` | `off`, `errors`, `commands` |
    /// | `protocol` | `resp2`, `resp3` |
    /// | `adopt` | `announced`, `promoted` |
    /// | `connect_timeout`, `sentinel_timeout`, `refresh_interval`, `failover_timeout` | duration |
    /// | `command_timeout` | duration or `none` |
    /// | `max_active`, `min_idle` | number |
    /// | `max_idle` | number or `none` |
    /// | `wait_timeout`, `idle_timeout`, `max_lifetime`, `test_idle_after` | duration or `none` |
    /// | `multiplexed.connections`, `multiplexed.max_in_flight`, `multiplexed.max_pending_bytes` | number |
    /// | `freshness.patience` | duration |
    /// | `freshness.otherwise` | `master`, `fail`, `stale` |
    /// | `freshness.lost` | `tell`, `fail` |
    /// | `reply_limits.max_depth`, `reply_limits.max_bulk_bytes`, `reply_limits.max_elements`, `reply_limits.max_reply_bytes` | number |
    /// | `tls.ca_file`, `tls.client_cert`, `tls.client_key` | path of a file in PEM form |
    /// | `tls.server_name` | host name or IP address |
    /// | `tls.verify` | `full`, `ca`, `none` |
    /// | `tls.reload_every` | duration or `none` |
    /// | `sentinel_tls` | `as_nodes`, `off` |
    ///
    /// A limit of the pools sets both of them; `write.max_active` or `read.max_active` sets one.
    /// A duration is a whole number with a unit: `500ms`, `5s`, `30m`, `2h`.
    ///
    /// Percent-encoding is decoded in user name, password, host, option value and master name.
    /// Encode every character there that is not a letter, a digit or one of `-._~`. A URL that could be
    /// misunderstood is refused, above all a second `:` or `@` around the password and an `@` anywhere
    /// after the hosts. A `+` is a plus sign, not a space.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// use redis_rw_pool::{Config, Secret};
    ///
    /// let config = Config::from_url(
    ///     "redis-sentinel://app:p%40ss@10.0.0.1,10.0.0.2:26380/2?write.max_active=32&idle_timeout=4m#mymaster",
    /// )?;
    /// assert_eq!(config.sentinels, ["10.0.0.1", "10.0.0.2:26380"]);
    /// assert_eq!(config.password.as_ref().map(Secret::expose), Some("p@ss"));
    /// assert_eq!(config.write.max_active, 32);
    /// assert_eq!(config.read.idle_timeout, Some(Duration::from_secs(240)));
    ///
    /// let config = Config::from_url("redis://:p%40ss@127.0.0.1/2")?;
    /// assert_eq!(config.nodes, ["127.0.0.1"]);
    /// # Ok::<(), redis_rw_pool::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Names the part that cannot be used, and never repeats the URL:
    ///
    /// - another scheme; one that asks for TLS, in a build without; an option for TLS with a scheme for
    ///   plain text;
    /// - a file for TLS that cannot be read or does not hold what it should. The files are read here;
    /// - a host, port, `db` or percent-escape that is malformed; no master name for Sentinels, or one
    ///   for nodes;
    /// - an option that is unknown, given twice, without a value or with a malformed one, or a pool
    ///   limit given both for one pool and for both;
    /// - everything that [`Config::validate`] refuses.
    pub fn from_url(url: &str) -> Result<Self, ConfigError> {
        parse(url)
    }
}

impl FromStr for Config {
    type Err = ConfigError;

    /// Same as [`Config::from_url`].
    fn from_str(url: &str) -> Result<Self, ConfigError> {
        Self::from_url(url)
    }
}

fn parse(url: &str) -> Result<Config, ConfigError> {
    read(url, Draft::finish)
}

/// As [`Config::from_url`], for a URL beside which other settings are given: together they are validated.
pub(super) fn parse_part(url: &str) -> Result<Draft, ConfigError> {
    read(url, Ok)
}

fn read<T>(
    url: &str,
    finish: impl FnOnce(Draft) -> Result<T, ConfigError>,
) -> Result<T, ConfigError> {
    let parts = Parts::split(url)?;
    let mut config = match parts.scheme.source {
        Source::Sentinels => Config::new(parts.hosts()?, parts.master_name()?),
        Source::Nodes => {
            parts.refuse_master_name()?;
            Config::nodes(parts.hosts()?)
        }
    };
    parts.set_credentials(&mut config)?;
    parts.set_db(&mut config)?;
    let tls = TlsSettings::of_scheme(parts.scheme.tls);
    let mut draft = Draft { config, tls };
    parts.set_options(&mut draft)?;
    finish(draft).map_err(|error| parts.censor(error))
}

struct Parts<'a> {
    scheme: Scheme,
    credentials: Option<&'a str>,
    hosts: &'a str,
    path: Option<&'a str>,
    query: Option<&'a str>,
    fragment: Option<&'a str>,
    has_secrets: bool,
}

impl<'a> Parts<'a> {
    fn split(url: &'a str) -> Result<Self, ConfigError> {
        if let Some(position) = url.bytes().position(|b| !b.is_ascii_graphic()) {
            let reason = format!(
                "the character at byte {position} must be percent-encoded: \
                 only printable ASCII without spaces is allowed"
            );
            return Err(ConfigError::new("url", reason));
        }
        let (scheme, rest) = scheme::split(url)?;
        let (rest, fragment) = split_optional(rest, '#');
        let (rest, query) = split_optional(rest, '?');
        let (authority, path) = split_optional(rest, '/');
        if [path, query, fragment]
            .iter()
            .flatten()
            .any(|part| part.contains('@'))
        {
            return Err(ConfigError::new(
                "url",
                "an `@` stands after the hosts: percent-encode `@`, `/`, `?` and `#` in user \
                 name, password and option values",
            ));
        }
        let (credentials, hosts) = match authority.split_once('@') {
            Some((credentials, hosts)) => (Some(credentials), hosts),
            None => (None, authority),
        };
        if hosts.contains('@') {
            return Err(ConfigError::new(
                "password",
                "an `@` in it is written `%40`",
            ));
        }
        Ok(Self {
            scheme,
            credentials,
            hosts,
            path,
            query,
            fragment,
            has_secrets: credentials.is_some() || url.to_ascii_lowercase().contains("pass"),
        })
    }

    fn hosts(&self) -> Result<Vec<String>, ConfigError> {
        let (field, default_port) = match self.scheme.source {
            Source::Sentinels => ("sentinels", SENTINEL_PORT),
            Source::Nodes => ("nodes", NODE_PORT),
        };
        if self.hosts.is_empty() && self.path.is_some_and(|path| path.contains('/')) {
            let reason =
                "the path of a Unix socket stands in place of a host, with `%2F` for each `/`";
            return Err(ConfigError::new(format!("{field}[0]"), reason));
        }
        let decode_address = |(index, text)| {
            decode(text)
                .and_then(|text| address::parse(&text, default_port).map(|_| text))
                .map_err(|reason| ConfigError::new(format!("{field}[{index}]"), reason))
        };
        self.hosts
            .split(',')
            .enumerate()
            .map(decode_address)
            .collect()
    }

    fn master_name(&self) -> Result<String, ConfigError> {
        let missing = "must follow the rest of the URL after a `#`";
        self.fragment
            .filter(|name| !name.is_empty())
            .ok_or(missing)
            .and_then(decode)
            .map_err(|reason| ConfigError::new("master_name", reason))
    }

    fn refuse_master_name(&self) -> Result<(), ConfigError> {
        let reason = "belongs to Sentinels: write `redis-sentinel://` if these hosts are Sentinels, \
                      and leave out the `#` if they are nodes";
        match self.fragment {
            Some(_) => Err(ConfigError::new("master_name", reason)),
            None => Ok(()),
        }
    }

    fn set_credentials(&self, config: &mut Config) -> Result<(), ConfigError> {
        let Some(credentials) = self.credentials else {
            return Ok(());
        };
        let invalid_password = |reason| ConfigError::new("password", reason);
        let (username, password) = credentials
            .split_once(':')
            .ok_or("is missing: write `user:password@` or `:password@`")
            .map_err(invalid_password)?;
        if password.contains(':') {
            return Err(invalid_password("a `:` in it is written `%3A`"));
        }
        if !username.is_empty() {
            let username =
                decode(username).map_err(|reason| ConfigError::new("username", reason))?;
            config.username = Some(username);
        }
        config.password = Some(decode(password).map_err(invalid_password)?.into());
        Ok(())
    }

    fn set_db(&self, config: &mut Config) -> Result<(), ConfigError> {
        let Some(path) = self.path.filter(|path| !path.is_empty()) else {
            return Ok(());
        };
        let reason = if path.contains('/') {
            "the path is the number of a database and has no second `/`"
        } else {
            "must be a number from 0 to 2147483647"
        };
        config.db = settings::digits(path)
            .ok_or_else(|| self.censor(ConfigError::new("db", reason).with_text(path)))?;
        Ok(())
    }

    fn set_options(&self, draft: &mut Draft) -> Result<(), ConfigError> {
        let mut seen = Vec::new();
        for (index, text) in self.query.iter().flat_map(|q| q.split('&')).enumerate() {
            let position = index + 1;
            let (name, value) = text.split_once('=').ok_or_else(|| {
                let reason = format!("option {position} is not of the form `name=value`");
                ConfigError::new("url", reason)
            })?;
            set_option(draft, name, value).map_err(|refusal| {
                self.censor(match refusal {
                    Refusal::Unknown => {
                        let reason = format!("option {position} is not known");
                        ConfigError::new("url", reason).with_text(name)
                    }
                    Refusal::Invalid(reason) => {
                        ConfigError::new(name.to_owned(), reason).with_text(value)
                    }
                })
            })?;
            settings::check_conflicts(&seen, name)?;
            seen.push(name);
        }
        Ok(())
    }

    fn censor(&self, error: ConfigError) -> ConfigError {
        if self.has_secrets {
            error.without_text()
        } else {
            error
        }
    }
}

fn set_option(draft: &mut Draft, name: &str, value: &str) -> Result<(), Refusal> {
    let elsewhere = match name {
        "username" | "password" => "belongs before the hosts",
        "db" => "belongs after the hosts, as in `host/3`",
        "master_name" => "belongs at the end, as in `#mymaster`",
        "sentinels" | "nodes" => "are the hosts of the URL",
        "tls" => "is what the scheme says: begin the URL with `rediss://` or `rediss-sentinel://`",
        _ => {
            let decoded = decode(value);
            // An unknown option is not refused for its value.
            let text = decoded
                .as_ref()
                .map_or_else(|_| Cow::from(value), Cow::from);
            settings::set(draft, name, Value::text_of(&text))?;
            return decoded.map(drop).map_err(Refusal::Invalid);
        }
    };
    Err(Refusal::Invalid(elsewhere))
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests;
