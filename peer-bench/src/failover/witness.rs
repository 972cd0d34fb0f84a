//! Those who watch: a thread for each question, over raw sockets, with testkit's own small client.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Result;
use parking_lot::Mutex;
use testkit::{Client, Reply};

use crate::failover::{
    broadcast::{PUBLISH_PERIOD, Published, Source},
    sightings::{Event, Said, Sightings},
    stopwatch::Stopwatch,
};

const PERIOD: Duration = Duration::from_millis(2);
/// A node that is frozen accepts connections and says nothing.
const PROBE_TIMEOUT: Duration = Duration::from_millis(100);
/// Longer than any round: a listener ends when its Sentinel does.
const LISTEN_TIMEOUT: Duration = Duration::from_secs(600);

/// A server on the loopback address: the port by which it is known, and the one at which it is asked in
/// plain text, which is the same unless it speaks TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) port: u16,
    pub(crate) plain: u16,
}

#[derive(Debug)]
pub(crate) struct Witness {
    shared: Arc<Shared>,
    probes: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    stopwatch: Stopwatch,
    master: u16,
    master_name: String,
    sightings: Mutex<Sightings>,
    stop: AtomicBool,
}

impl Witness {
    pub(crate) fn start(
        stopwatch: Stopwatch,
        master_name: &str,
        master: u16,
        nodes: &[Asked],
        sentinels: &[Asked],
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            stopwatch,
            master,
            master_name: master_name.to_owned(),
            sightings: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let mut probes = Vec::new();
        for &node in nodes {
            let shared = Arc::clone(&shared);
            probes.push(thread::spawn(move || shared.probe_node(node)));
        }
        let publisher = Arc::clone(&shared);
        let all = nodes.to_vec();
        probes.push(thread::spawn(move || publisher.publish(&all)));
        for &sentinel in sentinels {
            let mut subscription = Client::connect(sentinel.plain, LISTEN_TIMEOUT)?;
            subscription.call(&["PSUBSCRIBE", "*"])?;
            let listener = Arc::clone(&shared);
            thread::spawn(move || listener.listen(subscription));
            let shared = Arc::clone(&shared);
            probes.push(thread::spawn(move || shared.probe_sentinel(sentinel)));
        }
        Ok(Self { shared, probes })
    }

    /// Until the sightings show it, or patience is over.
    pub(crate) fn wait_for(&self, patience: Duration, shows: impl Fn(&Sightings) -> bool) {
        let deadline = self.shared.stopwatch.now() + patience;
        while !shows(&self.shared.sightings.lock()) && self.shared.stopwatch.now() < deadline {
            thread::sleep(5 * PERIOD);
        }
    }

    /// Listeners end with their Sentinels.
    pub(crate) fn stop(self) -> Sightings {
        self.shared.stop.store(true, Relaxed);
        for probe in self.probes {
            // One that panicked has seen what it has seen.
            let _ = probe.join();
        }
        std::mem::take(&mut *self.shared.sightings.lock())
    }
}

impl Shared {
    fn probe_node(&self, node: Asked) {
        let Asked { port, plain } = node;
        let mut connection = None;
        let mut number = 0;
        while !self.stop.load(Relaxed) {
            let asked = self.stopwatch.now();
            let role =
                ask(&mut connection, plain, &["ROLE"]).map_or(Said::Nothing, |role| said(&role));
            let answered = self.stopwatch.now();
            let mut sightings = self.sightings.lock();
            sightings.saw_role(port, role, asked, answered);
            let news =
                role == Said::Master && port != self.master && !sightings.taken.contains_key(&port);
            drop(sightings);
            if news {
                number += 1;
                let (key, value) = (format!("probe:{port}"), number.to_string());
                let reply = ask(&mut connection, plain, &["SET", &key, &value]);
                if matches!(reply, Some(Reply::Status(_))) {
                    let now = self.stopwatch.now();
                    self.sightings.lock().taken.insert(port, now);
                }
            }
            thread::sleep(PERIOD);
        }
    }

    /// At the master, and at the next one as soon as that takes writes.
    fn publish(&self, nodes: &[Asked]) {
        let channel = Source::Witness.channel();
        let (mut connection, mut connected) = (None, self.master);
        let mut number = 0;
        while !self.stop.load(Relaxed) {
            number += 1;
            let next = self.sightings.lock().taken.keys().next().copied();
            let master = next.unwrap_or(self.master);
            if std::mem::replace(&mut connected, master) != master {
                connection = None;
            }
            let node = nodes.iter().find(|node| node.port == master);
            let message = ["PUBLISH", channel, &number.to_string()];
            let sent = self.stopwatch.now();
            let reply = node.and_then(|node| ask(&mut connection, node.plain, &message));
            if matches!(reply, Some(Reply::Int(_))) {
                let published = Published {
                    number,
                    sent,
                    acknowledged: self.stopwatch.now(),
                };
                self.sightings.lock().published.push(published);
            }
            thread::sleep(PUBLISH_PERIOD);
        }
    }

    fn probe_sentinel(&self, sentinel: Asked) {
        let question = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &self.master_name];
        let mut connection = None;
        while !self.stop.load(Relaxed) {
            if let Some(Reply::Array(address)) = ask(&mut connection, sentinel.plain, &question)
                && let Some(Reply::Bulk(master)) = address.get(1)
                && let Ok(master) = String::from_utf8_lossy(master).parse()
            {
                let now = self.stopwatch.now();
                self.sightings.lock().saw_named(now, sentinel.port, master);
            }
            thread::sleep(PERIOD);
        }
    }

    fn listen(&self, mut subscription: Client) {
        while let Ok(message) = subscription.read() {
            let at = self.stopwatch.now();
            if let Reply::Array(message) = message
                && let Some(Reply::Bulk(channel)) = message.get(2)
            {
                let channel = String::from_utf8_lossy(channel).into_owned();
                self.sightings.lock().events.push(Event { at, channel });
            }
        }
    }
}

/// Over the connection that there is, or a new one.
fn ask(connection: &mut Option<Client>, port: u16, question: &[&str]) -> Option<Reply> {
    let mut client = match connection.take() {
        Some(client) => client,
        None => Client::connect(port, PROBE_TIMEOUT).ok()?,
    };
    let reply = client.call(question).ok()?;
    *connection = Some(client);
    Some(reply)
}

fn said(role: &Reply) -> Said {
    let Reply::Array(role) = role else {
        return Said::Nothing;
    };
    let is = |index: usize, word: &str| {
        role.get(index)
            .is_some_and(|item| *item == Reply::Bulk(word.as_bytes().to_vec()))
    };
    if is(0, "master") {
        Said::Master
    } else if is(3, "connected") {
        Said::InStep
    } else {
        Said::Replica
    }
}
