//! No server outlives the process that started it, however that process ends.
#![allow(
    clippy::disallowed_types,
    reason = "real processes live by the real clock"
)]

use std::env;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use testkit::{Client, Deployment};

const IN_CHILD: &str = "TESTKIT_GUARDIAN_CHILD";

#[test]
fn cleans_up_after_a_process_that_is_killed() {
    if env::var_os(IN_CHILD).is_some() {
        be_the_child();
    }
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "--exact",
            "cleans_up_after_a_process_that_is_killed",
            "--nocapture",
        ])
        .env(IN_CHILD, "1")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let report = output
        .lines()
        .map_while(Result::ok)
        .find_map(|line| line.split_once("ready ").map(|(_, rest)| rest.to_owned()))
        .expect("the child starts a deployment");
    let (folder, ports) = report.split_once(' ').unwrap();
    let ports: Vec<u16> = ports.split(' ').map(|port| port.parse().unwrap()).collect();
    let folder = PathBuf::from(folder);
    assert_eq!(ports.len(), 4);
    assert!(folder.exists() && ports.iter().all(|port| listens(*port)));

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(5);
    while folder.exists() || ports.iter().any(|port| listens(*port)) {
        assert!(
            Instant::now() < deadline,
            "{} is still there",
            folder.display()
        );
        thread::sleep(Duration::from_millis(10));
    }
}

/// One node has been restarted and one is paused when the end comes.
fn be_the_child() -> ! {
    let deployment = Deployment::builder().replicas(1).sentinels(2).start();
    deployment.nodes()[1].restart();
    deployment.sentinels()[0].pause();
    let servers = deployment.nodes().iter().chain(deployment.sentinels());
    let ports: Vec<String> = servers.map(|server| server.port().to_string()).collect();
    let folder = deployment.nodes()[0].dir();
    let folder = folder.parent().map_or(folder.as_path(), |parent| parent);
    println!("ready {} {}", folder.display(), ports.join(" "));
    loop {
        thread::park();
    }
}

fn listens(port: u16) -> bool {
    Client::connect(port, Duration::from_millis(100)).is_ok()
}
