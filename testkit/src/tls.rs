//! Certificates of every kind, for servers and clients that speak TLS.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// A CA.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate with its key, both in PEM form.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The certificate.
    pub cert: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// A CA of this name.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::DigitalSignature,
        ];
        let key = KeyPair::generate().expect("ring makes keys");
        let pem = params.self_signed(&key).expect("it is well formed").pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Its own certificate.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for these names and addresses, for servers and clients.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(params("leaf", names))
    }

    /// As [`issue`](Self::issue), and it expired long ago.
    #[must_use]
    pub fn issue_expired(&self, names: &[&str]) -> Identity {
        let mut params = params("expired", names);
        params.not_before = date_time_ymd(2001, 1, 1);
        params.not_after = date_time_ymd(2002, 1, 1);
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().expect("ring makes keys");
        let cert = params.signed_by(&key, &self.issuer);
        Identity {
            cert: cert.expect("it is well formed").pem(),
            key: key.serialize_pem(),
        }
    }
}

impl Identity {
    /// Writes both into a folder, and returns where: the certificate and the key.
    #[must_use]
    pub fn write(&self, folder: &Path) -> (PathBuf, PathBuf) {
        let (cert, key) = (folder.join("tls.crt"), folder.join("tls.key"));
        fs::create_dir_all(folder)
            .and_then(|()| fs::write(&cert, &self.cert))
            .and_then(|()| fs::write(&key, &self.key))
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        (cert, key)
    }
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names and addresses");
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

/// How the servers of a deployment speak TLS. Beside it they keep a plain port, for the tests' own
/// questions.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// What every server shows, also to the others.
    pub identity: Identity,
    /// The CAs that the servers trust, in PEM form.
    pub trusted: String,
    /// Whether clients must show a certificate.
    pub client_auth: bool,
}

impl ServerTls {
    /// The lines for a server that has this folder.
    pub(crate) fn lines(&self, folder: &Path, port: u16) -> String {
        let (cert, key) = self.identity.write(folder);
        let ca = folder.join("ca.crt");
        fs::write(&ca, &self.trusted).unwrap_or_else(|error| panic!("{}: {error}", ca.display()));
        let auth = if self.client_auth { "yes" } else { "no" };
        format!(
            "tls-port {port}\n\
             tls-cert-file \"{}\"\n\
             tls-key-file \"{}\"\n\
             tls-ca-cert-file \"{}\"\n\
             tls-auth-clients {auth}\n\
             tls-replication yes\n",
            cert.display(),
            key.display(),
            ca.display(),
        )
    }
}
