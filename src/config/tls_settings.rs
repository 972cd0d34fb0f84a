//! The settings of TLS by their names. Several of them make one field of the configuration, so they are
//! collected first.

#[cfg(feature = "tls")]
use std::time::Duration;

#[cfg(feature = "tls")]
use crate::config::tls::{SentinelTls, Tls, Verify};
use crate::config::{
    Config, ConfigError,
    settings::{Refusal, Value},
};

/// Those that are of use with TLS only.
const NAMES: [&str; 7] = [
    "tls.ca_file",
    "tls.client_cert",
    "tls.client_key",
    "tls.server_name",
    "tls.verify",
    "tls.reload_every",
    "sentinel_tls",
];

#[cfg(not(feature = "tls"))]
const NEEDS_FEATURE: &str = "needs the feature `tls-ring` or `tls-aws-lc-rs` of redis-rw-pool";

#[derive(Default)]
pub(super) struct TlsSettings {
    /// What the scheme of a URL says.
    scheme: Option<bool>,
    /// What the setting `tls` says.
    switch: Option<bool>,
    /// One of those that are given. A setting of the nodes rather than `sentinel_tls`, which alone does
    /// not ask for TLS.
    given: Option<&'static str>,
    #[cfg(feature = "tls")]
    values: Values,
}

#[cfg(feature = "tls")]
#[derive(Default)]
struct Values {
    ca_file: Option<String>,
    client_cert: Option<String>,
    client_key: Option<String>,
    server_name: Option<String>,
    verify: Verify,
    reload_every: Option<Duration>,
    sentinels: SentinelTls,
}

impl TlsSettings {
    /// Whether the scheme of a URL asks for TLS.
    pub(super) fn of_scheme(tls: bool) -> Self {
        Self {
            scheme: Some(tls),
            ..Self::default()
        }
    }

    pub(super) fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), Refusal> {
        if name == "tls" {
            return Ok(self.turn(value.switch()?)?);
        }
        let Some(name) = NAMES.into_iter().find(|known| *known == name) else {
            return Err(Refusal::Unknown);
        };
        // One of the two is a mistake, and the password must not go out in plain text by it.
        if self.scheme == Some(false) {
            return Err(
                "is about TLS: begin the URL with `rediss://` or `rediss-sentinel://`".into(),
            );
        }
        #[cfg(feature = "tls")]
        self.values.set(name, value)?;
        #[cfg(not(feature = "tls"))]
        value.text().and(Err(NEEDS_FEATURE))?;
        if self.given.is_none() || name != "sentinel_tls" {
            self.given = Some(name);
        }
        Ok(())
    }

    fn turn(&mut self, on: bool) -> Result<(), &'static str> {
        if self.scheme.is_some_and(|scheme| scheme != on) {
            return Err("says something else than the scheme of the URL");
        }
        #[cfg(not(feature = "tls"))]
        if on {
            return Err(NEEDS_FEATURE);
        }
        self.switch = Some(on);
        Ok(())
    }

    /// Makes the fields of them, for which it reads the files.
    #[cfg_attr(
        not(feature = "tls"),
        expect(unused_variables, reason = "there are no such fields")
    )]
    pub(super) fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        let asked_for = self.given.is_some_and(|name| name != "sentinel_tls");
        let on = self.scheme.or(self.switch).unwrap_or(asked_for);
        match self.given {
            Some(name) if !on => Err(ConfigError::new(
                name,
                "is about TLS, which is off: set `tls` to `true`",
            )),
            #[cfg(feature = "tls")]
            _ if on => self.values.apply(config),
            _ => Ok(()),
        }
    }
}

#[cfg(feature = "tls")]
impl Values {
    fn set(&mut self, name: &str, value: Value<'_>) -> Result<(), &'static str> {
        match name {
            "tls.ca_file" => self.ca_file = Some(value.path()?),
            "tls.client_cert" => self.client_cert = Some(value.path()?),
            "tls.client_key" => self.client_key = Some(value.path()?),
            "tls.server_name" => self.server_name = Some(value.text()?),
            "tls.verify" => self.verify = value.verify()?,
            "tls.reload_every" => self.reload_every = value.optional(Value::duration)?,
            _ => self.sentinels = value.sentinel_tls()?,
        }
        Ok(())
    }

    fn apply(self, config: &mut Config) -> Result<(), ConfigError> {
        let mut builder = Tls::builder().verify(self.verify);
        if let Some(path) = self.ca_file {
            builder = builder.ca_file(path);
        }
        builder = match (self.client_cert, self.client_key) {
            (Some(cert), Some(key)) => builder.client_files(cert, key),
            (None, None) => builder,
            (Some(_), None) => return Err(lacks("tls.client_key", "tls.client_cert")),
            (None, Some(_)) => return Err(lacks("tls.client_cert", "tls.client_key")),
        };
        if let Some(name) = self.server_name {
            builder = builder.server_name(name);
        }
        if let Some(interval) = self.reload_every {
            builder = builder.reload_every(interval);
        }
        config.tls = Some(builder.build()?);
        config.sentinel_tls = self.sentinels;
        Ok(())
    }
}

#[cfg(feature = "tls")]
fn lacks(missing: &'static str, given: &str) -> ConfigError {
    ConfigError::new(missing, format!("must be set when `{given}` is"))
}
