//! The settings of TLS, one by one.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use rustls::crypto::CryptoProvider;

use crate::config::tls::{
    ServerName, Tls, TlsError, Verify,
    pem::Source,
    recipe::{self, Recipe},
};

/// Settings of [`Tls`], from [`Tls::builder`].
///
/// All have defaults: the system's CAs, no client certificate, full verification of the name that is
/// dialled, no reloading.
#[derive(Clone, Default)]
#[must_use]
pub struct TlsBuilder {
    cas: Vec<Source>,
    client: Option<(Source, Source)>,
    server_name: ServerName,
    verify: Verify,
    provider: Option<Arc<CryptoProvider>>,
    reload_every: Option<Duration>,
}

impl TlsBuilder {
    /// Trusts the CAs in this file *instead of* those of the system.
    ///
    /// One or more certificates in PEM form. May be called several times: all of them are trusted, which
    /// is what a change of the CA needs.
    pub fn ca_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.cas.push(Source::File(path.into()));
        self
    }

    /// As [`ca_file`](Self::ca_file), from memory.
    pub fn ca_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.cas.push(Source::Text(pem.into()));
        self
    }

    /// Shows this certificate to servers that ask for one (`tls-auth-clients`).
    ///
    /// Both in PEM form, and both may be in the same file. The file of the certificate holds the client's
    /// own first and then those of the CAs between it and the one that the servers trust. The key is not
    /// encrypted with a password.
    pub fn client_files(mut self, cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.client = Some((Source::File(cert.into()), Source::File(key.into())));
        self
    }

    /// As [`client_files`](Self::client_files), from memory.
    pub fn client_pem(mut self, cert: impl Into<Vec<u8>>, key: impl Into<Vec<u8>>) -> Self {
        self.client = Some((Source::Text(cert.into()), Source::Text(key.into())));
        self
    }

    /// The name that the servers' certificates must be for. Text is the same name for all of them.
    ///
    /// Defaults to [`ServerName::Dialled`].
    pub fn server_name(mut self, name: impl Into<ServerName>) -> Self {
        self.server_name = name.into();
        self
    }

    /// How much of a server's certificate is checked. Defaults to [`Verify::Full`].
    pub fn verify(mut self, verify: Verify) -> Self {
        self.verify = verify;
        self
    }

    /// What does the cryptography.
    ///
    /// Defaults to the provider that the application has installed for the whole process. If there is
    /// none, it is that of the feature `tls-aws-lc-rs`, or else of `tls-ring`. The crate never installs
    /// one.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// How often a pool looks whether the files have changed, as [`Tls::reload`] does.
    ///
    /// Greater than zero. A minute is usual. Defaults to never.
    pub fn reload_every(mut self, interval: Duration) -> Self {
        self.reload_every = Some(interval);
        self
    }

    /// Reads the files. Nothing is dialled.
    ///
    /// # Errors
    ///
    /// - [`TlsError::NoProvider`] if nothing does the cryptography;
    /// - [`TlsError::NoRoots`] if no CA is named and the system's are not there, or not built in;
    /// - [`TlsError::Pem`] if a file cannot be read, or does not hold what it should;
    /// - [`TlsError::KeyMismatch`] if the private key is not that of the client certificate;
    /// - [`TlsError::Invalid`] if the server name is none, or `reload_every` is zero;
    /// - [`TlsError::Rustls`] if the provider supports no version of TLS.
    pub fn build(self) -> Result<Tls, TlsError> {
        if self.reload_every == Some(Duration::ZERO) {
            return Err(TlsError::Invalid {
                setting: "reload_every",
                reason: "must be greater than zero".into(),
            });
        }
        self.server_name
            .check()
            .map_err(|reason| TlsError::Invalid {
                setting: "server_name",
                reason: reason.into(),
            })?;
        let recipe = Recipe {
            cas: self.cas,
            client: self.client,
            verify: self.verify,
            provider: match self.provider {
                Some(provider) => provider,
                None => recipe::default_provider()?,
            },
        };
        Tls::from_recipe(recipe, self.server_name, self.reload_every)
    }
}

impl fmt::Debug for TlsBuilder {
    /// Without what it holds of keys, and without paths.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsBuilder")
            .field("cas", &self.cas.len())
            .field("client", &self.client.is_some())
            .field("server_name", &self.server_name)
            .field("verify", &self.verify)
            .field("reload_every", &self.reload_every)
            .finish_non_exhaustive()
    }
}
