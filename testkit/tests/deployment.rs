//! The harness itself, on real servers.
#![allow(
    clippy::disallowed_types,
    reason = "real processes live by the real clock"
)]

use std::time::{Duration, Instant};

use testkit::{Deployment, Server};

// Before Redis 7.0 Sentinels look every ten seconds, whatever they are told.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_deployment_starts_healthy_and_survives_a_failover_and_a_crash() {
    let begun = Instant::now();
    let deployment = Deployment::start();
    eprintln!("start-up: {:?}", begun.elapsed());
    let first = deployment.master();
    assert_eq!(first.port(), deployment.nodes()[0].port());
    assert_eq!(deployment.replicas().len(), 2);

    let begun = Instant::now();
    deployment.failover();
    let second = deployment.wait_for_master_other_than(first.port(), PATIENCE);
    eprintln!("failover, new master: {:?}", begun.elapsed());
    deployment.wait_healthy(PATIENCE);
    eprintln!("failover, healthy again: {:?}", begun.elapsed());

    let begun = Instant::now();
    second.kill();
    let third = deployment.wait_for_master_other_than(second.port(), PATIENCE);
    eprintln!("kill, new master: {:?}", begun.elapsed());
    assert!(!second.is_running());
    second.restart();
    deployment.wait_healthy(PATIENCE);
    eprintln!("kill, healthy again: {:?}", begun.elapsed());
    assert_eq!(deployment.master().port(), third.port());
    assert_eq!(deployment.replicas().len(), 2);
}

#[test]
fn passwords_users_and_names_reach_every_server() {
    let deployment = Deployment::builder()
        .replicas(1)
        .password("data secret")
        .username_acl("app", "pw", "~* &* +@all")
        .sentinel_password("other secret")
        .master_name("orders")
        .node_config("maxmemory 50mb")
        .start();
    let master = deployment.master();
    assert_eq!(master.cmd(&["SET", "k", "v"]).as_str(), "OK");
    assert_eq!(
        master.cmd(&["CONFIG", "GET", "maxmemory"]).fields()["maxmemory"],
        "52428800"
    );
    let stranger = testkit::Client::connect(master.port(), PATIENCE).and_then(|mut client| {
        assert!(client.call(&["GET", "k"])?.is_error());
        client.call(&["AUTH", "app", "pw"])?;
        client.call(&["GET", "k"])
    });
    assert_eq!(stranger.unwrap().as_str(), "v");
    let sentinel = &deployment.sentinels()[0];
    assert!(sentinel.cmd(&["SENTINEL", "MASTER", "orders"]).fields()["flags"] == "master");
}

#[test]
fn a_standalone_server_tells_what_happened_to_it() {
    let server = Server::standalone(&["requirepass secret"]);
    assert!(server.unix_socket().exists());
    let mut client = server.connect().unwrap();
    client.call(&["CLIENT", "SETNAME", "mine"]).unwrap();
    for _ in 0..3 {
        client.call(&["GET", "k"]).unwrap();
    }
    assert_eq!(server.command_stat("GET"), 3);
    assert_eq!(server.client_count_named("mine"), 1);
    assert_eq!(server.info("replication")["role"], "master");

    server.pause();
    assert!(server.is_running());
    assert!(server.try_cmd(&["PING"]).is_err());
    server.resume();
    assert_eq!(server.cmd(&["PING"]).as_str(), "PONG");

    let before = server.pid();
    server.shutdown();
    assert_eq!(server.pid(), None);
    assert!(server.connect().is_err());
    server.restart();
    assert_ne!(server.pid(), before);
}

#[test]
#[should_panic(expected = "'no-such-setting yes'")]
fn a_server_that_does_not_start_says_why() {
    let _ = Server::standalone(&["no-such-setting yes"]);
}
