//! Connections over TLS: whom the pool trusts, what it says where it does not, failovers, and new
//! certificates for servers and clients that run.

mod failover;
mod rotation;
mod trust;

use std::fs;

use redis_rw_pool::{Config, SentinelTls, TlsBuilder};
use testkit::{Authority, Deployment, Identity, Server, ServerTls};

use crate::support::config;

/// A deployment whose servers show this certificate.
fn deployment(ca: &Authority, identity: Identity, replicas: usize, sentinels: usize) -> Deployment {
    Deployment::builder()
        .replicas(replicas)
        .sentinels(sentinels)
        .tls(ServerTls {
            identity,
            trusted: ca.pem().to_owned(),
            client_auth: true,
        })
        .start()
}

/// A configuration whose Sentinels are asked in plain text, so that all is about the nodes.
fn nodes_only(deployment: &Deployment, tls: TlsBuilder) -> Config {
    let mut config = config(deployment);
    let sentinels = deployment.sentinels().iter();
    config.sentinels = sentinels
        .map(|sentinel| format!("127.0.0.1:{}", sentinel.plain_port()))
        .collect();
    config.tls = Some(tls.build().expect("good settings"));
    config.sentinel_tls = SentinelTls::Off;
    config
}

/// The server shows another certificate from now on, and trusts these CAs.
fn show(server: &Server, identity: &Identity, trusted: &str) {
    let (cert, key) = identity.write(&server.dir().join("next"));
    let ca = server.dir().join("next").join("ca.crt");
    fs::write(&ca, trusted).unwrap();
    let [cert, key, ca] = [cert, key, ca].map(|path| path.display().to_string());
    let reply = server.cmd(&[
        "CONFIG",
        "SET",
        "tls-cert-file",
        &cert,
        "tls-key-file",
        &key,
        "tls-ca-cert-file",
        &ca,
    ]);
    assert!(!reply.is_error(), "{reply:?}");
}
