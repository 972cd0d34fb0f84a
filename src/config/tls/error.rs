//! What is wrong with the settings of TLS.

use std::{borrow::Cow, path::PathBuf};

use crate::config::ConfigError;

/// Why connections cannot be encrypted with these settings.
///
/// Texts name the setting and what to do. They never hold what a file contains.
///
/// ```
/// # #[cfg(feature = "tls-ring")] {
/// use redis_rw_pool::{Tls, TlsError};
///
/// let error = Tls::builder().ca_pem("no certificate").build().unwrap_err();
/// assert!(matches!(error, TlsError::Pem { .. }));
/// assert_eq!(error.to_string(), "`ca_file` holds no certificate in PEM form");
/// # }
/// ```
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// Nothing does the cryptography.
    #[error(
        "this build has no cryptography for TLS: add the feature `tls-ring` or `tls-aws-lc-rs`, or hand a provider to `TlsBuilder::provider`"
    )]
    NoProvider,

    /// Nobody is trusted.
    #[error(
        "there is no CA to check the servers' certificates against: set `ca_file`, or add the feature `tls-native-roots` or `tls-webpki-roots`{0}"
    )]
    NoRoots(
        /// Why the system's CAs could not be loaded, if that was tried: `; …`.
        String,
    ),

    /// A file, or a text in PEM form, cannot be used.
    #[error("`{setting}`{} {reason}", shown(.path.as_ref()))]
    #[non_exhaustive]
    Pem {
        /// `ca_file`, `client_cert` or `client_key`.
        setting: &'static str,
        /// The file; `None` for a text.
        path: Option<PathBuf>,
        /// What is wrong with it.
        reason: Cow<'static, str>,
    },

    /// The private key is not that of the client certificate.
    #[error(
        "`client_key` does not belong to `client_cert`: the first certificate must be the client's own, those of its CAs follow"
    )]
    KeyMismatch,

    /// A setting has an impossible value.
    #[error("`{setting}` {reason}")]
    #[non_exhaustive]
    Invalid {
        /// `server_name` or `reload_every`.
        setting: &'static str,
        /// What is allowed.
        reason: Cow<'static, str>,
    },

    /// What rustls says for any other reason.
    #[error("{0}")]
    Rustls(String),
}

impl TlsError {
    /// The setting, named as in a URL.
    fn field(&self) -> Cow<'static, str> {
        match self {
            Self::NoRoots(_) => "tls.ca_file".into(),
            Self::KeyMismatch => "tls.client_key".into(),
            Self::Pem { setting, .. } | Self::Invalid { setting, .. } => {
                format!("tls.{setting}").into()
            }
            Self::NoProvider | Self::Rustls(_) => "tls".into(),
        }
    }
}

fn shown(path: Option<&PathBuf>) -> String {
    path.map_or_else(String::new, |path| format!(" ({})", path.display()))
}

impl From<TlsError> for ConfigError {
    fn from(error: TlsError) -> Self {
        let field = error.field();
        match error {
            TlsError::Pem { path, reason, .. } => {
                let error = Self::new(field, reason);
                match path {
                    Some(path) => error.with_text(&path.to_string_lossy()),
                    None => error,
                }
            }
            TlsError::Invalid { reason, .. } => Self::new(field, reason),
            error => Self::new(field, error.to_string()),
        }
    }
}
