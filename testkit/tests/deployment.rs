//! The harness itself, on real servers.
#![allow(
    clippy::disallowed_types,
    reason = "real processes live by the real clock"
)]

use std::time::{Duration, Instant};

use testkit::Deployment;

const PATIENCE: Duration = Duration::from_secs(15);

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
