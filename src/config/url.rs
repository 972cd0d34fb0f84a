//! The URL form of a configuration.
//!
//! A secret with an unescaped `@`, `/`, `?`, `#` or `&` spills over into other parts of the URL.
//! So errors name a part by its field or its position, and repeat text only from a URL that has
//! nothing to hide.

mod option;

use super::{Config, ConfigError, seed};
use option::{Refusal, Value};

pub(super) fn parse(url: &str) -> Result<Config, ConfigError> {
    let parts = Parts::split(url)?;
    let mut config = Config::new(parts.sentinels()?, parts.master_name()?);
    parts.set_credentials(&mut config)?;
    parts.set_db(&mut config)?;
    parts.set_options(&mut config)?;
    config.validate().map_err(|error| parts.censor(error))?;
    Ok(config)
}

struct Parts<'a> {
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
        let rest = strip_scheme(url)?;
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
            credentials,
            hosts,
            path,
            query,
            fragment,
            has_secrets: credentials.is_some() || url.to_ascii_lowercase().contains("pass"),
        })
    }

    fn sentinels(&self) -> Result<Vec<String>, ConfigError> {
        let decode_seed = |(index, text)| {
            decode(text)
                .and_then(|text| seed::parse(&text).map(|_| text))
                .map_err(|reason| ConfigError::new(format!("sentinels[{index}]"), reason))
        };
        self.hosts.split(',').enumerate().map(decode_seed).collect()
    }

    fn master_name(&self) -> Result<String, ConfigError> {
        let missing = "must follow the rest of the URL after a `#`";
        self.fragment
            .filter(|name| !name.is_empty())
            .ok_or(missing)
            .and_then(decode)
            .map_err(|reason| ConfigError::new("master_name", reason))
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
        config.password = Some(decode(password).map_err(invalid_password)?);
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
        config.db = option::digits(path)
            .ok_or_else(|| self.censor(ConfigError::new("db", reason).with_text(path)))?;
        Ok(())
    }

    fn set_options(&self, config: &mut Config) -> Result<(), ConfigError> {
        let mut seen = Vec::new();
        for (index, text) in self.query.iter().flat_map(|q| q.split('&')).enumerate() {
            let position = index + 1;
            let (name, value) = text.split_once('=').ok_or_else(|| {
                let reason = format!("option {position} is not of the form `name=value`");
                ConfigError::new("url", reason)
            })?;
            option::set(config, name, Value(value)).map_err(|refusal| {
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
            option::check_conflicts(&seen, name)?;
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

fn strip_scheme(url: &str) -> Result<&str, ConfigError> {
    let invalid = |reason| Err(ConfigError::new("url", reason));
    let Some((scheme, rest)) = url.split_once("://") else {
        return invalid("must begin with `redis-sentinel://`");
    };
    match scheme.to_ascii_lowercase().as_str() {
        "redis-sentinel" => Ok(rest),
        "rediss" | "rediss-sentinel" | "valkeys" => {
            invalid("the scheme asks for TLS, which is not supported yet; use `redis-sentinel://`")
        }
        "redis" | "valkey" => invalid(
            "the scheme is for a single server; use `redis-sentinel://` and the Sentinels' hosts",
        ),
        _ => invalid("the scheme is not supported; use `redis-sentinel://`"),
    }
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// Stricter than the `percent-encoding` crate, which passes malformed escapes through.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            decoded.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(hex_digit);
        let (Some(high), Some(low)) = (digit(), digit()) else {
            return Err("has a `%` without two hexadecimal digits; a plain `%` is written `%25`");
        };
        decoded.push(high << 4 | low);
    }
    String::from_utf8(decoded).map_err(|_| "is not UTF-8 once percent-decoded")
}

fn hex_digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
