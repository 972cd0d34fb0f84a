//! What is done to the servers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use testkit::history::{Event, History};
use testkit::proxy::{Ending, Flow, Toward};
use testkit::{Client, Deployment, Proxies, Server};
use tokio::time::Instant;

use crate::chance::Chance;
use crate::faults::LIMIT;

/// How long small faults go on before and after the main one.
const LAG: Duration = Duration::from_millis(500);
/// How long a planned failover may take before it is asked for again.
const SWITCH: Duration = Duration::from_secs(15);
const POLL: Duration = Duration::from_millis(20);

/// What a round is about, apart from small faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Main {
    /// The replicas of the master are late, stand still, are cut off, and begin anew.
    Lag,
    /// A failover that somebody asks for.
    HandOver,
    /// The master dies while no replica executes anything.
    KillLagging,
    /// The master starts again with what it had some time ago.
    RestoreMaster,
    /// A replica follows one that is behind, and is behind from then on.
    GoBack,
    /// A replica follows another one.
    Chain,
}

impl Main {
    pub(crate) const ALL: [Self; 6] = [
        Self::Lag,
        Self::HandOver,
        Self::KillLagging,
        Self::RestoreMaster,
        Self::GoBack,
        Self::Chain,
    ];
}

/// Everything that happens in a round; returns when the deployment is healthy again.
pub(crate) fn run(
    deployment: &Deployment,
    proxies: &Proxies,
    history: &History,
    main: Main,
    mut chance: Chance,
) {
    nag(deployment, proxies, history, &mut chance, LAG);
    history.note(Event::Note(format!("{main:?}")));
    match main {
        Main::Lag => nag(deployment, proxies, history, &mut chance, LAG),
        Main::HandOver => hand_over(deployment),
        Main::KillLagging => kill_lagging(deployment),
        Main::RestoreMaster => restore(deployment),
        Main::GoBack => go_back(deployment),
        Main::Chain => chain(deployment),
    }
    history.note(Event::Note("it is over".to_owned()));
    proxies.heal();
    deployment.wait_healthy(LIMIT);
    history.note(Event::Note("healthy".to_owned()));
}

fn replicas(deployment: &Deployment) -> Vec<&Server> {
    let master = deployment.master().port();
    let nodes = deployment.nodes().iter();
    nodes.filter(|node| node.port() != master).collect()
}

/// It receives and does not execute what its master sends.
fn hold(replica: &Server, time: Duration) {
    let time = time.as_millis().to_string();
    let _ = replica.try_cmd(&["CLIENT", "PAUSE", &time, "WRITE"]);
}

fn follow(replica: &Server, master: &Server) {
    let port = master.port().to_string();
    replica.cmd(&["REPLICAOF", "127.0.0.1", &port]);
}

/// Small faults, one after the other, and each still there when the next one comes.
fn nag(
    deployment: &Deployment,
    proxies: &Proxies,
    history: &History,
    chance: &mut Chance,
    time: Duration,
) {
    let until = Instant::now() + time;
    let replicas = replicas(deployment);
    let master = deployment.master();
    while Instant::now() < until {
        let one = replicas[chance.index(replicas.len())];
        let lasts = chance.millis(30..=250);
        let fault = chance.below(10);
        history.note(Event::Note(format!(
            "{fault} at {} for {lasts:?}",
            one.name()
        )));
        match fault {
            0 | 1 => hold(one, lasts),
            2 | 3 => replicas.iter().for_each(|replica| hold(replica, lasts)),
            4 => {
                one.pause();
                thread::sleep(lasts);
                one.resume();
            }
            5 => drop(master.try_cmd(&["CLIENT", "KILL", "TYPE", "replica"])),
            // It has to begin anew: the master keeps less than it misses.
            6 => {
                one.pause();
                let _ = master.try_cmd(&["CLIENT", "KILL", "TYPE", "replica"]);
                thread::sleep(lasts);
                one.resume();
            }
            7 => {
                master.pause();
                thread::sleep(lasts / 2);
                master.resume();
            }
            8 => proxies.of(one).end_connections(Ending::Reset),
            _ => {
                // Replies of executed writes are lost.
                let (after, ending) = (chance.index(3000), Ending::Reset);
                proxies
                    .of(master)
                    .set(Toward::Client, Flow::Cut { after, ending });
                thread::sleep(Duration::from_millis(20));
                proxies.of(master).heal();
            }
        }
        thread::sleep(chance.millis(20..=120));
    }
}

fn hand_over(deployment: &Deployment) {
    let old = deployment.master().port();
    let deadline = Instant::now() + LIMIT;
    while Instant::now() < deadline {
        deployment.failover();
        if deployment.gets_master_other_than(old, SWITCH) {
            return;
        }
    }
    panic!("nothing is handed over\n{}", deployment.describe());
}

fn kill_lagging(deployment: &Deployment) {
    let old = deployment.master();
    // What they have received and not executed they throw away with their link. They must go on before the
    // Sentinels, whose own messages wait too, take them for dead.
    let held = Duration::from_millis(500);
    let replicas = replicas(deployment);
    replicas.iter().for_each(|replica| hold(replica, held));
    thread::sleep(held / 3);
    old.kill();
    let _ = deployment.wait_for_master_other_than(old.port(), LIMIT);
    thread::sleep(Duration::from_millis(200));
    old.restart();
}

fn restore(deployment: &Deployment) {
    let master = deployment.master();
    master.cmd(&["SAVE"]);
    thread::sleep(Duration::from_millis(200));
    master.restart();
    thread::sleep(Duration::from_millis(300));
}

fn go_back(deployment: &Deployment) {
    let [behind, back] = replicas(deployment)[..] else {
        panic!("there are two");
    };
    hold(behind, LIMIT);
    thread::sleep(Duration::from_millis(150));
    follow(back, behind);
    thread::sleep(Duration::from_millis(700));
    let _ = behind.try_cmd(&["CLIENT", "UNPAUSE"]);
    follow(back, deployment.master());
}

fn chain(deployment: &Deployment) {
    let [first, second] = replicas(deployment)[..] else {
        panic!("there are two");
    };
    follow(second, first);
    thread::sleep(Duration::from_millis(300));
    hold(first, Duration::from_millis(200));
    thread::sleep(Duration::from_millis(500));
    follow(second, deployment.master());
}

/// Takes down which history of data every master began, until it is dropped.
pub(crate) struct Lineage {
    over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Lineage {
    pub(crate) fn watch(deployment: &Deployment, history: &History) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let known = Arc::new(Mutex::new(BTreeSet::new()));
        let threads = deployment.nodes().iter().map(|node| {
            let (port, history) = (node.port(), history.clone());
            let (over, known) = (Arc::clone(&over), Arc::clone(&known));
            thread::spawn(move || {
                while !over.load(Relaxed) {
                    if let Some(info) = replication(port)
                        && info.get("role").is_some_and(|role| role == "master")
                        && known.lock().insert(info["master_replid"].clone())
                    {
                        note_master(&history, &info);
                    }
                    thread::sleep(POLL);
                }
            })
        });
        let threads = threads.collect();
        Self { over, threads }
    }
}

impl Drop for Lineage {
    fn drop(&mut self) {
        self.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn replication(port: u16) -> Option<BTreeMap<String, String>> {
    let mut client = Client::connect(port, Duration::from_millis(500)).ok()?;
    let reply = client.call(&["INFO", "replication"]).ok()?;
    if reply.is_error() {
        return None;
    }
    let lines = reply.as_str().lines().map(str::to_owned);
    let fields = lines.filter_map(|line| {
        let (key, value) = line.split_once(':')?;
        Some((key.to_owned(), value.trim().to_owned()))
    });
    Some(fields.collect())
}

/// Takes down which history a master has, and where it came from.
pub(crate) fn note_master(history: &History, info: &BTreeMap<String, String>) {
    let cut = info["second_repl_offset"].parse().ok();
    history.note(Event::Began {
        history: info["master_replid"].clone(),
        from: cut.map(|cut| (info["master_replid2"].clone(), cut)),
    });
}
