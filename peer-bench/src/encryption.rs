//! What a run over TLS is encrypted with.

use std::sync::Arc;

use anyhow::Result;
use redis_rw_pool::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use testkit::{Authority, ServerTls};

/// A CA of this run's own. Everyone trusts it, and nobody leaves out to verify the server.
pub(crate) struct Encryption(Authority);

impl Encryption {
    pub(crate) fn new() -> Self {
        // The redis crate takes what the process has chosen. Where rustls has a second provider too,
        // it chooses none by itself.
        let _ = ring::default_provider().install_default();
        Self(Authority::new("peer-bench"))
    }

    /// Clients show no certificate: it would change the handshake only.
    pub(crate) fn servers(&self) -> ServerTls {
        ServerTls {
            identity: self.0.issue(&["127.0.0.1"]),
            trusted: self.0.pem().to_owned(),
            client_auth: false,
        }
    }

    pub(crate) fn ca_pem(&self) -> &str {
        self.0.pem()
    }

    /// For those who take a configuration of rustls.
    pub(crate) fn client(&self) -> Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ca_pem().as_bytes())?)?;
        let provider = Arc::new(ring::default_provider());
        Ok(ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth())
    }
}
