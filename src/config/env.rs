//! A configuration from environment variables.

use std::{ffi::OsString, path::Path};

use crate::config::{
    Config, ConfigError,
    credentials::file,
    given::{self, Given},
    settings::{self, Kind},
};

impl Config {
    /// Reads a configuration from environment variables that begin with `prefix`, and validates it.
    ///
    /// With the prefix `APP_REDIS`:
    ///
    /// - `APP_REDIS_URL` is a whole [URL](Config::from_url). Or there are `APP_REDIS_SENTINELS`
    ///   (`host:port`, with commas between them) and `APP_REDIS_MASTER_NAME`, or without Sentinels
    ///   `APP_REDIS_NODES`;
    /// - every option of the URL, in capitals and with two underscores for a dot:
    ///   `APP_REDIS_READ_FROM=any`, `APP_REDIS_WRITE__MAX_ACTIVE=32`, `APP_REDIS_IDLE_TIMEOUT=4m`. Also
    ///   `APP_REDIS_USERNAME`, `APP_REDIS_PASSWORD` and `APP_REDIS_DB`. They override the URL;
    /// - `APP_REDIS_TLS=true`, or any of `APP_REDIS_TLS__CA_FILE` and the like, for TLS. With a URL its
    ///   scheme says it;
    /// - secrets in files: `APP_REDIS_PASSWORD_FILE` and `APP_REDIS_SENTINEL_PASSWORD_FILE` are read
    ///   at every dial ([`CredentialsSource::file`](crate::CredentialsSource::file)), so a rotated
    ///   password needs no new process. `APP_REDIS_URL_FILE` is read now.
    ///
    /// A variable that is empty counts as not set. All others are not looked at: Kubernetes sets
    /// `REDIS_PORT=tcp://10.43.0.1:6379` and more for a service that is called `redis`.
    ///
    /// ```no_run
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// use redis_rw_pool::{Config, Pool};
    ///
    /// let pool = Pool::connect(Config::from_env("APP_REDIS")?).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Names the variable, and never shows a value that is text:
    ///
    /// - of a URL, Sentinels and nodes, none is given or more than one; a password and its file are both
    ///   given;
    /// - a value that its option does not take, or that is not UTF-8; a file that cannot be read;
    /// - everything that [`Config::validate`] refuses; an empty prefix.
    pub fn from_env(prefix: &str) -> Result<Self, ConfigError> {
        read(prefix, std::env::vars_os())
    }

    /// As [`from_env`](Self::from_env), from pairs of name and value: for tests, and for what was read
    /// from elsewhere.
    ///
    /// ```
    /// use redis_rw_pool::{Config, Secret};
    ///
    /// let config = Config::from_vars("APP_REDIS", [
    ///     ("APP_REDIS_URL", "redis-sentinel://10.0.0.1,10.0.0.2#mymaster"),
    ///     ("APP_REDIS_PASSWORD", "0123"),
    ///     ("APP_REDIS_WRITE__MAX_ACTIVE", "32"),
    /// ])?;
    /// assert_eq!(config.write.max_active, 32);
    /// assert_eq!(config.password.as_ref().map(Secret::expose), Some("0123"));
    /// # Ok::<(), redis_rw_pool::ConfigError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As [`from_env`](Self::from_env).
    pub fn from_vars(
        prefix: &str,
        vars: impl IntoIterator<Item = (impl Into<String>, impl Into<String>)>,
    ) -> Result<Self, ConfigError> {
        let vars = vars.into_iter();
        read(
            prefix,
            vars.map(|(name, value)| (name.into().into(), value.into().into())),
        )
    }
}

fn read(
    prefix: &str,
    vars: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Config, ConfigError> {
    let prefix = prefix.trim_end_matches('_');
    if prefix.is_empty() {
        return Err(ConfigError::new("prefix", "must not be empty"));
    }
    let shown = |name: &str| variable(prefix, name);
    let mut given: Vec<Given> = Vec::new();
    for (variable, value) in vars {
        let Some(mut name) = variable.to_str().and_then(|name| setting(prefix, name)) else {
            continue;
        };
        let invalid = |reason| ConfigError::new(shown(&name), reason);
        let mut text = value
            .into_string()
            .map_err(|_| invalid("is not UTF-8".to_owned()))?;
        if text.is_empty() {
            continue;
        }
        if name == "url_file" {
            let url = file::read_now(Path::new(&text)).map_err(invalid)?;
            (name, text) = ("url".to_owned(), url.expose().to_owned());
        }
        if given.iter().any(|given| given.name == name) {
            return Err(ConfigError::new(shown(&name), "is given twice"));
        }
        let kind = Kind::Text;
        given.push(Given { name, text, kind });
    }
    if given.is_empty() {
        let reason = "is not set, and no other variable with this prefix is";
        return Err(ConfigError::new(shown("url"), reason));
    }
    // The order of variables has no meaning, and must not decide which error is shown.
    given.sort_by(|a, b| a.name.cmp(&b.name));
    given::assemble(&given, shown)
}

/// The setting that a variable has; `None` for a variable that is not ours.
fn setting(prefix: &str, variable: &str) -> Option<String> {
    let name = variable.strip_prefix(prefix)?.strip_prefix('_')?;
    if name.contains(|c: char| c.is_ascii_lowercase() || c == '.') {
        return None;
    }
    let name = name.to_ascii_lowercase().replace("__", ".");
    let known = name == "url" || name == "url_file" || settings::knows(&name);
    known.then_some(name)
}

fn variable(prefix: &str, setting: &str) -> String {
    let name = setting.to_ascii_uppercase().replace('.', "__");
    format!("{prefix}_{name}")
}

#[cfg(test)]
mod tests;
