//! Whom the pool trusts, and what it says where it does not.

use std::{sync::Arc, time::Duration};

use redis_rw_pool::{
    Config, Discard, Error, Outcome, Pool, ServerName, Tls, TlsBuilder, Verify, outcome,
    redis::{AsyncCommands, RedisError, pipe},
    rustls::{
        ClientConfig, RootCertStore,
        crypto::{aws_lc_rs, ring},
        pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    },
};
use testkit::{Authority, Identity};

use super::{deployment, nodes_only, show};
use crate::support::{SOON, config, eventually};

async fn works(what: &str, config: Config) {
    let pool = Pool::connect(config)
        .await
        .unwrap_or_else(|error| panic!("{what}: {error}"));
    let () = pool.write().await.unwrap().set("k", what).await.unwrap();
    let got: String = pool.writer().get("k").await.unwrap();
    assert_eq!(got, what);
    eventually("a Sentinel is heard", SOON, || async {
        pool.status().sentinel.listening > 0
    })
    .await;
}

async fn fails(what: &str, mut config: Config, text: &str) -> Error {
    // What Sentinels do not take may be taken soon.
    config.connect_timeout = Duration::from_secs(1);
    config.failover_timeout = Duration::from_secs(1);
    let error = Pool::connect(config).await.expect_err(what);
    assert!(error.to_string().contains(text), "{what}: {error}");
    assert!(!error.to_string().contains("BEGIN"), "{what}: {error}");
    error
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_with_names_only_and_clients_that_must_show_one() {
    let (ca, other) = (Authority::new("ours"), Authority::new("other"));
    let deployment = deployment(&ca, ca.issue(&["redis.internal"]), 0, 1);
    let client = ca.issue(&["app"]);
    let with = |tls: TlsBuilder| {
        let mut config = config(&deployment);
        config.sentinel_timeout = Duration::from_secs(2);
        config.tls = Some(tls.build().expect("good settings"));
        config
    };
    let shown = |builder: TlsBuilder| builder.client_pem(client.cert.clone(), client.key.clone());
    let anonymous = || Tls::builder().ca_pem(ca.pem());
    let ours = || shown(anonymous());

    works("named", with(ours().server_name("redis.internal"))).await;
    let by = ServerName::by(|_| "redis.internal".to_owned());
    works("named by a function", with(ours().server_name(by))).await;
    works("any name", with(ours().verify(Verify::Ca))).await;
    works("anybody", with(shown(Tls::builder()).verify(Verify::None))).await;
    for provider in [ring::default_provider(), aws_lc_rs::default_provider()] {
        let tls = ours().server_name("redis.internal");
        works("provider", with(tls.provider(Arc::new(provider)))).await;
    }
    let mut by_hand = with(ours());
    let tls = Tls::from_rustls(by_hand_config(&ca, &client));
    by_hand.tls = Some(tls.server_name("redis.internal"));
    works("a configuration of rustls", by_hand).await;
    works(
        "plain Sentinels",
        nodes_only(&deployment, ours().verify(Verify::Ca)),
    )
    .await;

    let address = "its certificate is for redis.internal, and the address is 127.0.0.1: set";
    fails("the address", with(ours()), address).await;
    let another = ours().server_name("redis.external");
    let not_for = "for redis.internal, not for redis.external";
    fails("another name", with(another), not_for).await;
    let stranger = || shown(Tls::builder().ca_pem(other.pem()));
    let issued = "its certificate was not issued by a CA of `tls.ca_file`";
    fails("another CA", with(stranger().verify(Verify::Ca)), issued).await;
    let error = fails("another CA", nodes_only(&deployment, stranger()), issued).await;
    assert!(matches!(error, Error::Connect { .. }) && !error.is_transient());

    let any = || anonymous().verify(Verify::Ca);
    let asks = "asks for a client certificate (`tls-auth-clients`";
    fails(
        "no client certificate",
        nodes_only(&deployment, any()),
        asks,
    )
    .await;
    fails("no client certificate", with(any()), asks).await;
    let unknown = other.issue(&["app"]);
    let tls = any().client_pem(unknown.cert, unknown.key);
    let ca_file = "`tls-ca-cert-file`";
    fails(
        "a client of another CA",
        nodes_only(&deployment, tls),
        ca_file,
    )
    .await;

    let expired = ca.issue_expired(&["app"]);
    let tls = any().client_pem(expired.cert, expired.key);
    let renew = "our client certificate has expired";
    fails("an expired client", nodes_only(&deployment, tls), renew).await;

    let node = &deployment.nodes()[0];
    node.cmd(&["CONFIG", "SET", "tls-protocols", "TLSv1.2"]);
    let any_name = ours().verify(Verify::Ca);
    works("TLS 1.2", nodes_only(&deployment, any_name)).await;
    let asks = "`tls-auth-clients`";
    fails("TLS 1.2, anonymous", nodes_only(&deployment, any()), asks).await;
    node.cmd(&["CONFIG", "SET", "tls-protocols", "TLSv1.2 TLSv1.3"]);

    let plain = config(&deployment);
    fails("plain text", plain, "does it expect TLS (`rediss://`").await;
    let mut to_plain = with(ours().verify(Verify::Ca));
    to_plain.sentinels = vec![format!(
        "127.0.0.1:{}",
        deployment.sentinels()[0].plain_port()
    )];
    to_plain.sentinel_timeout = Duration::from_millis(500);
    fails(
        "TLS to a plain port",
        to_plain,
        "no TLS handshake within 500ms",
    )
    .await;

    show(node, &ca.issue_expired(&["127.0.0.1"]), ca.pem());
    let expired = "its certificate has expired";
    fails("expired", nodes_only(&deployment, ours()), expired).await;
    show(node, &ca.issue(&["127.0.0.1"]), ca.pem());
    works("an address only", nodes_only(&deployment, ours())).await;
}

fn by_hand_config(ca: &Authority, client: &Identity) -> Arc<ClientConfig> {
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(der(ca.pem())).unwrap();
    let key = PrivateKeyDer::from_pem_slice(client.key.as_bytes()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let config = builder.with_client_auth_cert(vec![der(&client.cert)], key);
    Arc::new(config.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_outlives_its_session_tickets_and_carries_long_replies() {
    let ca = Authority::new("ours");
    let deployment = deployment(&ca, ca.issue(&["127.0.0.1"]), 0, 1);
    let client = ca.issue(&["app"]);
    let tls = Tls::builder().ca_pem(ca.pem());
    let mut config = nodes_only(&deployment, tls.client_pem(client.cert, client.key));
    config.command_timeout = Some(Duration::from_secs(20));
    config.write.max_active = 1;
    let pool = Pool::connect(config).await.unwrap();
    for _ in 0..3 {
        // Nothing is read here, so the tickets lie on the socket.
        drop(pool.write().await.unwrap());
        tokio::time::sleep(Duration::from_millis(400)).await;
    }
    let long = vec![b'x'; 5_000_001];
    for number in 0..3 {
        let () = pool.write().await.unwrap().set("a", &long).await.unwrap();
        let () = pool.writer().set("b", &long).await.unwrap();
        let a: Vec<u8> = pool.writer().get("a").await.unwrap();
        let b: Vec<u8> = pool.write().await.unwrap().get("b").await.unwrap();
        assert!(a == long && b == long, "{number}");
    }
    let mut many = pipe();
    for number in 0..20_000 {
        many.cmd("ECHO").arg(number);
    }
    let echoed: Vec<i64> = many
        .query_async(&mut pool.write().await.unwrap())
        .await
        .unwrap();
    assert!(echoed.iter().copied().eq(0..20_000));
    let echoed: Vec<i64> = many.query_async(&mut pool.writer()).await.unwrap();
    assert!(echoed.iter().copied().eq(0..20_000));
    let status = pool.status();
    assert_eq!(
        (status.write.created, status.writer.created),
        (1, 1),
        "{status:?}"
    );
    assert_eq!(status.write.discards.get(Discard::Broken), 0);

    let mut lent = pool.write().await.unwrap();
    let waits = tokio::spawn(async move {
        let popped: Result<(), RedisError> = lent.blpop("empty", 20.0).await;
        popped.expect_err("the server dies")
    });
    let node = &deployment.nodes()[0];
    eventually("it waits", SOON, || async {
        node.info("clients")["blocked_clients"] == "1"
    })
    .await;
    node.kill();
    let error = waits.await.unwrap();
    assert_eq!(outcome(&error), Outcome::Unknown, "{error}");
    let text = error.to_string();
    assert!(
        text.contains("the server closed the connection; the outcome"),
        "{text}"
    );
}
