//! Certificates and keys in PEM form, from files or from memory.
//!
//! No error here repeats what was read: it may be a private key.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::PathBuf,
};

use rustls::pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject, SectionKind},
};

use crate::config::tls::error::TlsError;

/// The system's whole bundle of CAs has a quarter of a megabyte. A path that leads to an endless
/// device must not fill the memory.
const LARGEST: u64 = 16 << 20;

/// Where a certificate or a key comes from.
#[derive(Clone)]
pub(super) enum Source {
    File(PathBuf),
    Text(Vec<u8>),
}

/// What was read.
pub(super) struct Pem {
    setting: &'static str,
    path: Option<PathBuf>,
    pub(super) bytes: Vec<u8>,
}

impl Source {
    pub(super) fn read(&self, setting: &'static str) -> Result<Pem, TlsError> {
        let (path, bytes) = match self {
            Self::Text(bytes) => (None, Ok(bytes.clone())),
            Self::File(path) => (Some(path.clone()), read_file(path)),
        };
        match bytes {
            Ok(bytes) => Ok(Pem {
                setting,
                path,
                bytes,
            }),
            Err(error) => {
                let reason = format!("cannot be read: {error}").into();
                Err(TlsError::Pem {
                    setting,
                    path,
                    reason,
                })
            }
        }
    }
}

fn read_file(path: &PathBuf) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    if file.metadata()?.is_dir() {
        return Err(io::Error::other("it is a folder"));
    }
    let mut bytes = Vec::new();
    file.take(LARGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LARGEST {
        return Err(io::Error::other("it is larger than 16 MiB"));
    }
    Ok(bytes)
}

impl Pem {
    /// All certificates, of which there is at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let sections = self.sections()?;
        let has_key = sections.iter().any(|(kind, _)| is_key(*kind));
        let certificates: Vec<_> = sections
            .into_iter()
            .filter_map(|(kind, der)| CertificateDer::from_pem(kind, der))
            .collect();
        if !certificates.is_empty() {
            return Ok(certificates);
        }
        Err(self.error(if has_key {
            "holds a private key and no certificate: are the files mixed up?".into()
        } else {
            self.nothing("certificate")
        }))
    }

    /// The first private key.
    pub(super) fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        let sections = self.sections()?;
        let has_certificate = sections
            .iter()
            .any(|(kind, _)| *kind == SectionKind::Certificate);
        let mut keys = sections
            .into_iter()
            .filter_map(|(kind, der)| PrivateKeyDer::from_pem(kind, der));
        if let Some(key) = keys.next() {
            return Ok(key);
        }
        Err(self.error(if self.contains("ENCRYPTED") {
            "is encrypted with a password, which is not supported: `openssl pkey -in … -out …` \
             decrypts it"
                .into()
        } else if has_certificate {
            "holds a certificate and no private key: are the files mixed up?".into()
        } else {
            self.nothing("private key")
        }))
    }

    fn sections(&self) -> Result<Vec<(SectionKind, Vec<u8>)>, TlsError> {
        let mut rest = self.bytes.as_slice();
        let mut sections = Vec::new();
        loop {
            match pem::from_buf(&mut rest) {
                Ok(Some(section)) => sections.push(section),
                Ok(None) => return Ok(sections),
                Err(_) => {
                    let reason = "is damaged: a part of it is not in PEM form";
                    return Err(self.error(reason.into()));
                }
            }
        }
    }

    fn nothing(&self, wanted: &str) -> Cow<'static, str> {
        if self.bytes.trim_ascii().is_empty() {
            return "is empty".into();
        }
        // The first byte of everything in DER form.
        let hint = if self.bytes.first() == Some(&0x30) {
            " (it seems to be in DER form: `openssl x509 -inform der` or `openssl pkey -inform der` \
             converts it)"
        } else {
            ""
        };
        format!("holds no {wanted} in PEM form{hint}").into()
    }

    fn contains(&self, text: &str) -> bool {
        memchr::memmem::find(&self.bytes, text.as_bytes()).is_some()
    }

    pub(super) fn error(&self, reason: Cow<'static, str>) -> TlsError {
        TlsError::Pem {
            setting: self.setting,
            path: self.path.clone(),
            reason,
        }
    }
}

fn is_key(kind: SectionKind) -> bool {
    matches!(
        kind,
        SectionKind::PrivateKey | SectionKind::RsaPrivateKey | SectionKind::EcPrivateKey
    )
}
