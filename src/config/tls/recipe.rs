//! From settings to what rustls dials with, at first and at each reload.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use rustls::{
    ClientConfig, ConfigBuilder, InconsistentKeys, RootCertStore, client::WantsClientCert,
    client::WebPkiServerVerifier, crypto::CryptoProvider, pki_types::CertificateDer,
};

use crate::config::tls::{
    Material,
    error::TlsError,
    pem::{Pem, Source},
    verify::{AnyName, Anybody, Verify},
};

/// All that a reload needs.
#[derive(Clone)]
pub(super) struct Recipe {
    pub(super) cas: Vec<Source>,
    /// The certificate with those of its CAs, and the key.
    pub(super) client: Option<(Source, Source)>,
    pub(super) verify: Verify,
    pub(super) provider: Arc<CryptoProvider>,
}

/// The files as they are now.
struct Files {
    cas: Vec<Pem>,
    client: Option<(Pem, Pem)>,
    /// Those of the system, where there are none of our own.
    system: Vec<CertificateDer<'static>>,
    trouble: String,
}

impl Recipe {
    /// Reads all files. `None` where they hold what `before` was made of.
    pub(super) fn read(&self, before: Option<u64>) -> Result<Option<Material>, TlsError> {
        let files = self.files()?;
        let fingerprint = files.fingerprint();
        if before == Some(fingerprint) {
            return Ok(None);
        }
        let roots = self.roots(&files)?;
        let trusted = roots.len();
        let config = self.client_config(roots, &files)?;
        Ok(Some(Material {
            client: files.client.is_some(),
            roots: Some(trusted),
            fingerprint,
            ..Material::new(config)
        }))
    }

    fn files(&self) -> Result<Files, TlsError> {
        let cas: Result<_, _> = self.cas.iter().map(|ca| ca.read("ca_file")).collect();
        let client = match &self.client {
            Some((cert, key)) => Some((cert.read("client_cert")?, key.read("client_key")?)),
            None => None,
        };
        let (system, trouble) = if self.cas.is_empty() && self.verify != Verify::None {
            system_cas()
        } else {
            (Vec::new(), String::new())
        };
        Ok(Files {
            cas: cas?,
            client,
            system,
            trouble,
        })
    }

    fn roots(&self, files: &Files) -> Result<RootCertStore, TlsError> {
        let mut roots = RootCertStore::empty();
        if self.verify == Verify::None {
            return Ok(roots);
        }
        for pem in &files.cas {
            for (index, certificate) in pem.certificates()?.into_iter().enumerate() {
                roots.add(certificate).map_err(|_| {
                    let position = index + 1;
                    pem.error(format!("is damaged: certificate {position} is none").into())
                })?;
            }
        }
        // Those of a system include some that rustls does not understand.
        roots.add_parsable_certificates(files.system.iter().cloned());
        #[cfg(feature = "tls-webpki-roots")]
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        if roots.is_empty() {
            return Err(TlsError::NoRoots(files.trouble.clone()));
        }
        Ok(roots)
    }

    fn client_config(&self, roots: RootCertStore, files: &Files) -> Result<ClientConfig, TlsError> {
        let builder = self.verified(roots)?;
        let Some((cert, key)) = &files.client else {
            return Ok(builder.with_no_client_auth());
        };
        let (chain, private_key) = (cert.certificates()?, key.private_key()?);
        builder
            .with_client_auth_cert(chain, private_key)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    TlsError::KeyMismatch
                }
                rustls::Error::InvalidCertificate(_) => {
                    cert.error("is damaged: the first certificate is none".into())
                }
                _ => key.error("is damaged, or of a kind that the provider does not know".into()),
            })
    }

    fn verified(
        &self,
        roots: RootCertStore,
    ) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
        let other = |error: &dyn std::fmt::Display| TlsError::Rustls(error.to_string());
        let provider = &self.provider;
        let builder = ClientConfig::builder_with_provider(Arc::clone(provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| other(&error))?;
        if self.verify == Verify::None {
            let anybody = Arc::new(Anybody(Arc::clone(provider)));
            let builder = builder.dangerous();
            return Ok(builder.with_custom_certificate_verifier(anybody));
        }
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = verifier.build().map_err(|error| other(&error))?;
        Ok(match self.verify {
            Verify::Ca => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(AnyName(verifier))),
            _ => builder.with_webpki_verifier(verifier),
        })
    }
}

impl Files {
    /// Differs where the files do. Kept instead of the private key itself.
    fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        for pem in &self.cas {
            pem.bytes.hash(&mut hasher);
        }
        if let Some((cert, key)) = &self.client {
            (&cert.bytes, &key.bytes).hash(&mut hasher);
        }
        for certificate in &self.system {
            certificate.hash(&mut hasher);
        }
        hasher.finish()
    }
}

/// The CAs that the system trusts, and why some could not be loaded.
fn system_cas() -> (Vec<CertificateDer<'static>>, String) {
    #[cfg(feature = "tls-native-roots")]
    {
        let loaded = rustls_native_certs::load_native_certs();
        let trouble = loaded.errors.first();
        let trouble = trouble.map_or_else(
            || "; the system has none".to_owned(),
            |error| format!("; of the system's: {error}"),
        );
        (loaded.certs, trouble)
    }
    #[cfg(not(feature = "tls-native-roots"))]
    (Vec::new(), String::new())
}

/// What does the cryptography, if the settings do not say: what the application has chosen for the
/// whole process, or what this build has. Nothing is installed for the process, since that is the
/// application's right.
pub(super) fn default_provider() -> Result<Arc<CryptoProvider>, TlsError> {
    if let Some(chosen) = CryptoProvider::get_default() {
        return Ok(Arc::clone(chosen));
    }
    #[cfg(feature = "tls-aws-lc-rs")]
    return Ok(Arc::new(rustls::crypto::aws_lc_rs::default_provider()));
    #[cfg(all(feature = "tls-ring", not(feature = "tls-aws-lc-rs")))]
    return Ok(Arc::new(rustls::crypto::ring::default_provider()));
    #[cfg(not(any(feature = "tls-ring", feature = "tls-aws-lc-rs")))]
    Err(TlsError::NoProvider)
}
