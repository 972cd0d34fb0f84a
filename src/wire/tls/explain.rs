//! What rustls and the peer say, in words that tell the reader what to do.

use std::{io, net::IpAddr};

use rustls::{AlertDescription, CertificateError, Error, pki_types::ServerName};

use crate::{
    config::tls::DialFacts,
    error::failure::{Cause, TlsRefusal},
};

/// The error of a handshake that failed.
pub(super) fn handshake_error(error: &io::Error, facts: DialFacts) -> io::Error {
    let Some(tls) = of(error) else {
        return closed_during(error);
    };
    match tls {
        Error::InvalidCertificate(certificate) => refusal(of_certificate(certificate, facts)),
        Error::AlertReceived(alert) => match of_alert(*alert) {
            Some(text) => refusal(text.to_owned()),
            None => other(tls),
        },
        Error::InvalidMessage(_) => io::Error::new(
            error.kind(),
            "what it sends is no TLS: Redis has `tls-port` beside `port`",
        ),
        Error::PeerIncompatible(_) => refusal(format!(
            "it and this client have no version of TLS or no method in common ({tls}): see its \
             `tls-protocols`, `tls-ciphers` and `tls-ciphersuites`"
        )),
        _ => other(tls),
    }
}

/// Why a read or write failed on a connection that is encrypted.
pub(crate) fn cause(error: &io::Error) -> Cause {
    // A server that was killed says no goodbye, which is an error in TLS.
    if error.kind() == io::ErrorKind::UnexpectedEof {
        return Cause::Closed;
    }
    match of(error) {
        // With TLS 1.3 a server checks our certificate only after the handshake.
        Some(Error::AlertReceived(alert)) => match of_alert(*alert) {
            Some(text) => Cause::Tls(text.to_owned()),
            None => Cause::Io(format!("TLS failed: {alert:?}"), error.kind()),
        },
        Some(error_of_tls) => Cause::Io(format!("TLS failed: {error_of_tls}"), error.kind()),
        None => Cause::Io(error.to_string(), error.kind()),
    }
}

fn of(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn refusal(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, TlsRefusal(text))
}

fn other(error: &Error) -> io::Error {
    let text = format!("the TLS handshake failed: {error}");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

fn closed_during(error: &io::Error) -> io::Error {
    let text = format!(
        "the TLS handshake failed ({error}): does it speak TLS on this port? Redis has `tls-port` \
         beside `port`"
    );
    io::Error::new(error.kind(), text)
}

fn of_certificate(error: &CertificateError, facts: DialFacts) -> String {
    use CertificateError as E;
    match error {
        E::NotValidForNameContext {
            expected,
            presented,
        } => wrong_name(expected, presented, facts),
        E::NotValidForName => "its certificate is for another name: set `tls.server_name`".into(),
        E::UnknownIssuer => format!(
            "its certificate was not issued by a CA of {}",
            if facts.own_cas {
                "`tls.ca_file`"
            } else {
                "the system's: name yours with `tls.ca_file`"
            }
        ),
        E::Expired => "its certificate has expired: renew it at the server".into(),
        E::ExpiredContext { time, not_after } => format!(
            "its certificate has expired {} ago: renew it at the server",
            rough(time.as_secs().saturating_sub(not_after.as_secs()))
        ),
        E::NotValidYet => "its certificate is not valid yet: compare the clocks".into(),
        E::NotValidYetContext { time, not_before } => format!(
            "its certificate will be valid in {} only: compare the clocks",
            rough(not_before.as_secs().saturating_sub(time.as_secs()))
        ),
        E::InvalidPurpose | E::InvalidPurposeContext { .. } => {
            "its certificate is not one for servers (extendedKeyUsage without serverAuth)".into()
        }
        E::BadSignature => format!(
            "the signature in its certificate is wrong: is the CA of {} the one that issued it?",
            if facts.own_cas {
                "`tls.ca_file`"
            } else {
                "the system"
            }
        ),
        E::Other(error) => of_webpki(&error.to_string()),
        error => format!("its certificate cannot be used: {error}"),
    }
}

/// rustls passes these on without a type of its own.
fn of_webpki(text: &str) -> String {
    if text.contains("CaUsedAsEndEntity") {
        "its certificate is one of a CA (basicConstraints CA:TRUE), which no server may use: issue a \
         certificate for the server"
            .into()
    } else if text.contains("UnsupportedCertVersion") {
        "its certificate is of version 1 of X.509: issue one with extensions (subjectAltName)"
            .into()
    } else {
        format!("its certificate cannot be used: {text}")
    }
}

fn wrong_name(expected: &ServerName<'_>, presented: &[String], facts: DialFacts) -> String {
    let asked = expected.to_str();
    let names = presented.iter().map(|name| bare(name)).collect::<Vec<_>>();
    let names = if names.is_empty() {
        "no name at all (it has no subjectAltName)".to_owned()
    } else {
        names.join(", ")
    };
    let is_address = asked.parse::<IpAddr>().is_ok();
    if is_address && facts.dialled {
        format!(
            "its certificate is for {names}, and the address is {asked}: set `tls.server_name`, or \
             have the Sentinels announce names (`resolve-hostnames`, `announce-hostnames`, \
             `replica-announce-ip`)"
        )
    } else {
        format!("its certificate is for {names}, not for {asked}: set `tls.server_name`")
    }
}

/// `DnsName("a.internal")` as webpki shows it, without what is around the name.
fn bare(shown: &str) -> &str {
    let inner = shown.split_once('(').map_or(shown, |(_, inner)| inner);
    inner.trim_end_matches(')').trim_matches('"')
}

/// `None` for an alert that says nothing of certificates.
fn of_alert(alert: AlertDescription) -> Option<&'static str> {
    use AlertDescription as A;
    Some(match alert {
        A::CertificateRequired => {
            "the server asks for a client certificate (`tls-auth-clients`): set `tls.client_files` \
             (`tls.client_cert` and `tls.client_key`)"
        }
        A::UnknownCA => {
            "the server does not know the CA of our client certificate: see its `tls-ca-cert-file`"
        }
        A::CertificateExpired => "our client certificate has expired: renew it",
        A::CertificateRevoked => "our client certificate was revoked",
        A::BadCertificate | A::UnsupportedCertificate | A::CertificateUnknown => {
            "the server refuses our client certificate"
        }
        // With TLS 1.2 OpenSSL says so where a client shows no certificate.
        A::HandshakeFailure => {
            "the server refuses the TLS handshake: it may ask for a client certificate \
             (`tls-auth-clients`, here `tls.client_files`), or have no method in common with this \
             client (`tls-ciphers`)"
        }
        A::ProtocolVersion => {
            "the server speaks no version of TLS that this client does (1.2 and 1.3): see its \
             `tls-protocols`"
        }
        _ => return None,
    })
}

/// A time for a reader: days where there are some.
fn rough(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} seconds"),
        120..7200 => format!("{} minutes", seconds / 60),
        7200..172_800 => format!("{} hours", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}
