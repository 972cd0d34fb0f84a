//! A master, its replicas and their Sentinels, as real processes.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::thread;
use std::time::{Duration, Instant};

use crate::builder::Builder;
use crate::client::Reply;
use crate::server::Server;

const POLL: Duration = Duration::from_millis(10);
const MASTER_TIMEOUT: Duration = Duration::from_secs(10);
// A Sentinel refuses a manual failover while another one runs, which can take its failover-timeout.
const FAILOVER_ACCEPT_TIMEOUT: Duration = Duration::from_secs(15);

/// One master, replicas and Sentinels on loopback ports, in a temporary folder.
///
/// Dropping it kills every process and removes the folder; when the test process dies without that,
/// a guardian process does it. Calls block; most take about a millisecond, those that wait say so
/// (in an async test run them with `tokio::task::block_in_place` or on a thread of their own).
#[derive(Debug)]
pub struct Deployment {
    master_name: String,
    nodes: Vec<Server>,
    sentinels: Vec<Server>,
}

impl Deployment {
    /// One master, two replicas, three Sentinels, fast settings; healthy when this returns.
    #[must_use]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A deployment that differs from [`start`](Self::start).
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn new(master_name: String, nodes: Vec<Server>, sentinels: Vec<Server>) -> Self {
        Self {
            master_name,
            nodes,
            sentinels,
        }
    }

    /// The name the Sentinels know the master by.
    #[must_use]
    pub fn master_name(&self) -> &str {
        &self.master_name
    }

    /// The addresses to configure a client with.
    #[must_use]
    pub fn sentinel_addrs(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::addr).collect()
    }

    /// The Sentinels.
    #[must_use]
    pub fn sentinels(&self) -> &[Server] {
        &self.sentinels
    }

    /// The data nodes; the first one was the master at the start.
    #[must_use]
    pub fn nodes(&self) -> &[Server] {
        &self.nodes
    }

    /// The data node on this port.
    #[must_use]
    pub fn node(&self, port: u16) -> &Server {
        self.nodes
            .iter()
            .find(|node| node.port() == port)
            .unwrap_or_else(|| panic!("no data node has port {port}\n{}", self.describe()))
    }

    /// The node that most running Sentinels name and that itself says it is the master; waits for
    /// there to be one, and panics with the whole picture when there is none in ten seconds.
    #[must_use]
    pub fn master(&self) -> &Server {
        self.wait_for("a master", MASTER_TIMEOUT, || {
            self.find_master().ok_or_else(|| "no agreement".to_owned())
        })
    }

    /// As [`master`](Self::master), without waiting.
    #[must_use]
    pub fn find_master(&self) -> Option<&Server> {
        let mut votes = BTreeMap::<u16, usize>::new();
        let running = self.sentinels.iter().filter(|server| server.is_running());
        let mut voters = 0;
        for sentinel in running {
            voters += 1;
            if let Some(port) = self.port_named_by(sentinel) {
                *votes.entry(port).or_default() += 1;
            }
        }
        let (port, _) = votes.into_iter().find(|(_, count)| 2 * count > voters)?;
        let node = self.nodes.iter().find(|node| node.port() == port)?;
        (Role::of(node)? == Role::Master).then_some(node)
    }

    /// The nodes that say they are replicas.
    #[must_use]
    pub fn replicas(&self) -> Vec<&Server> {
        let is_replica = |node: &&Server| matches!(Role::of(node), Some(Role::Replica { .. }));
        self.nodes.iter().filter(is_replica).collect()
    }

    /// Asks a Sentinel for a failover and returns that Sentinel, which leads it, as soon as it has
    /// agreed; waits up to 15 s for that.
    pub fn failover(&self) -> &Server {
        let command = ["SENTINEL", "FAILOVER", &self.master_name];
        self.wait_for(
            "a Sentinel to start a failover",
            FAILOVER_ACCEPT_TIMEOUT,
            || {
                let mut refusals = String::new();
                for sentinel in self.sentinels.iter().filter(|server| server.is_running()) {
                    match sentinel.try_cmd(&command) {
                        Ok(Reply::Status(_)) => return Ok(sentinel),
                        // Two leaders at once would only abort each other.
                        Ok(Reply::Error(error)) if error.starts_with("INPROG") => {
                            return Err(error);
                        }
                        other => {
                            let _ = write!(refusals, "{}: {other:?}; ", sentinel.name());
                        }
                    }
                }
                Err(refusals)
            },
        )
    }

    /// Lets this Sentinel call the master `localhost`, as one does that was told its name. It forgets
    /// the replicas and the other Sentinels, and finds them again.
    pub fn name_localhost(&self, sentinel: &Server, down_after: Duration) {
        let name = self.master_name();
        let port = self.master().port().to_string();
        for setting in ["resolve-hostnames", "announce-hostnames"] {
            sentinel.cmd(&["SENTINEL", "CONFIG", "SET", setting, "yes"]);
        }
        sentinel.cmd(&["SENTINEL", "REMOVE", name]);
        sentinel.cmd(&["SENTINEL", "MONITOR", name, "localhost", &port, "2"]);
        let down_after = down_after.as_millis().to_string();
        for (setting, value) in [
            ("down-after-milliseconds", down_after.as_str()),
            ("failover-timeout", "3000"),
        ] {
            sentinel.cmd(&["SENTINEL", "SET", name, setting, value]);
        }
    }

    /// Whether this Sentinel calls the master so.
    #[must_use]
    pub fn is_named_localhost_by(&self, sentinel: &Server) -> bool {
        let reply = self.ask(sentinel, "GET-MASTER-ADDR-BY-NAME");
        matches!(reply, Ok(Reply::Array(address)) if address[0].text() == Some("localhost"))
    }

    /// Whether [`find_master`](Self::find_master) finds another node than the one on `port` in this time.
    #[must_use]
    pub fn gets_master_other_than(&self, port: u16, timeout: Duration) -> bool {
        let given_up = Instant::now() + timeout;
        while Instant::now() < given_up {
            if self.find_master().is_some_and(|now| now.port() != port) {
                return true;
            }
            thread::sleep(POLL);
        }
        false
    }

    /// Waits until [`find_master`](Self::find_master) finds another node than the one on `port`.
    pub fn wait_for_master_other_than(&self, port: u16, timeout: Duration) -> &Server {
        self.wait_for("another master", timeout, || match self.find_master() {
            Some(master) if master.port() != port => Ok(master),
            Some(_) => Err(format!("it is still {port}")),
            None => Err("no agreement".to_owned()),
        })
    }

    /// Waits until everything that runs agrees: every Sentinel names the same master and sees the
    /// other Sentinels and the replicas up, and every replica is connected to that master.
    pub fn wait_healthy(&self, timeout: Duration) {
        self.wait_for("everything to be healthy", timeout, || self.check_health());
    }

    /// What every node and every Sentinel says now, and where their logs are.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = String::new();
        for node in &self.nodes {
            let role = node.try_cmd(&["ROLE"]).map_err(|error| error.to_string());
            let log = node.log_path();
            let _ = writeln!(text, "{}: {role:?} (log: {})", node.name(), log.display());
        }
        for sentinel in &self.sentinels {
            let port = self.port_named_by(sentinel);
            let flags = self.ask(sentinel, "MASTER");
            let flags = flags.map(|reply| reply.fields().remove("flags"));
            let log = sentinel.log_path();
            let _ = writeln!(
                text,
                "{}: master {port:?}, flags {flags:?} (log: {})",
                sentinel.name(),
                log.display()
            );
        }
        text
    }

    fn wait_for<'a, T>(
        &'a self,
        what: &str,
        timeout: Duration,
        attempt: impl Fn() -> Result<T, String> + 'a,
    ) -> T {
        let deadline = Instant::now() + timeout;
        loop {
            match attempt() {
                Ok(found) => return found,
                Err(reason) if Instant::now() > deadline => panic!(
                    "waited {timeout:?} for {what}: {reason}\n{}",
                    self.describe()
                ),
                Err(_) => thread::sleep(POLL),
            }
        }
    }

    fn port_named_by(&self, sentinel: &Server) -> Option<u16> {
        let reply = self.ask(sentinel, "GET-MASTER-ADDR-BY-NAME").ok()?;
        match reply {
            Reply::Array(address) => address.get(1)?.text()?.parse().ok(),
            _ => None,
        }
    }

    fn ask(&self, sentinel: &Server, question: &str) -> Result<Reply, String> {
        match sentinel.try_cmd(&["SENTINEL", question, &self.master_name]) {
            Ok(Reply::Error(error)) => Err(error),
            Ok(reply) => Ok(reply),
            Err(error) => Err(error.to_string()),
        }
    }

    fn check_health(&self) -> Result<(), String> {
        let nodes: Vec<&Server> = running(&self.nodes);
        let mut masters = nodes
            .iter()
            .filter(|node| Role::of(node) == Some(Role::Master));
        let (Some(master), None) = (masters.next(), masters.next()) else {
            return Err("there is not exactly one master".to_owned());
        };
        let connected = Role::Replica {
            master: master.port(),
            connected: true,
        };
        let replicas: Vec<&Server> = nodes
            .iter()
            .copied()
            .filter(|node| node.port() != master.port())
            .collect();
        for replica in &replicas {
            match Role::of(replica) {
                Some(role) if role == connected => {}
                role => return Err(format!("{} says {role:?}", replica.name())),
            }
        }
        let sentinels = running(&self.sentinels);
        sentinels.iter().try_for_each(|sentinel| {
            let peers = sentinels
                .iter()
                .filter(|peer| peer.port() != sentinel.port());
            self.check_view(sentinel, master, &replicas, peers.copied())
                .map_err(|reason| format!("{} {reason}", sentinel.name()))
        })
    }

    fn check_view<'a>(
        &self,
        sentinel: &Server,
        master: &Server,
        replicas: &[&Server],
        peers: impl Iterator<Item = &'a Server>,
    ) -> Result<(), String> {
        let named = self.port_named_by(sentinel);
        if named != Some(master.port()) {
            return Err(format!("names {named:?} as the master"));
        }
        let port = master.port().to_string();
        let of_master = self.ask(sentinel, "MASTER")?.fields();
        expect(&of_master, &[("flags", "master"), ("port", &port)])?;
        let of_replicas = by_port(&self.ask(sentinel, "REPLICAS")?);
        for replica in replicas {
            let wanted = [
                ("flags", "slave"),
                ("master-link-status", "ok"),
                ("master-port", port.as_str()),
            ];
            expect(find(&of_replicas, replica)?, &wanted)?;
        }
        let of_peers = by_port(&self.ask(sentinel, "SENTINELS")?);
        for peer in peers {
            let mut fields = find(&of_peers, peer)?.clone();
            // Valkey 9.1 never takes back that a peer once saw the old master down.
            if let Some(flags) = fields.get_mut("flags") {
                *flags = flags.replace(",master_down", "");
            }
            expect(&fields, &[("flags", "sentinel")])?;
        }
        Ok(())
    }
}

/// What a node says of itself.
#[derive(Debug, PartialEq, Eq)]
enum Role {
    Master,
    Replica { master: u16, connected: bool },
}

impl Role {
    fn of(node: &Server) -> Option<Self> {
        let Ok(Reply::Array(role)) = node.try_cmd(&["ROLE"]) else {
            return None;
        };
        match role.first()?.text()? {
            "master" => Some(Self::Master),
            _ => Some(Self::Replica {
                master: u16::try_from(role.get(2)?.as_int()).ok()?,
                connected: role.get(3)?.text() == Some("connected"),
            }),
        }
    }
}

type Fields = BTreeMap<String, String>;

fn running(servers: &[Server]) -> Vec<&Server> {
    servers
        .iter()
        .filter(|server| server.is_running())
        .collect()
}

fn by_port(reply: &Reply) -> BTreeMap<String, Fields> {
    let entries = reply.array().iter().map(Reply::fields);
    entries
        .filter_map(|fields| Some((fields.get("port")?.clone(), fields)))
        .collect()
}

fn find<'a>(entries: &'a BTreeMap<String, Fields>, server: &Server) -> Result<&'a Fields, String> {
    entries
        .get(&server.port().to_string())
        .ok_or_else(|| format!("does not know {}", server.name()))
}

fn expect(fields: &Fields, wanted: &[(&str, &str)]) -> Result<(), String> {
    for (field, value) in wanted {
        let found = fields.get(*field).map(String::as_str);
        if found != Some(*value) {
            let of = fields.get("name");
            return Err(format!(
                "says {field} of {of:?} is {found:?}, not {value:?}"
            ));
        }
    }
    Ok(())
}
