//! How a deployment is to be, and its start.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::config;
use crate::deployment::Deployment;
use crate::folder::{Folder, random};
use crate::ports;
use crate::program::redis_version;
use crate::server::{Blueprint, Server, StartFailure};
use crate::tls::ServerTls;

const HEALTHY_TIMEOUT: Duration = Duration::from_secs(20);

const ARBITER_DELAY: Duration = Duration::from_millis(300);

// Sentinel's own periods are 10 s, 1 s, 1 s and 2 s, and 30 s for TILT. Much shorter ones break the
// failover, because some other times are fixed:
//
// - While the master is down, INFO goes to the replicas once a second, and a replica whose last
//   INFO is older than five ping-periods is no candidate. At 100 ms most attempts end with
//   `-failover-abort-no-good-slave`.
// - A node that has said for four publish-periods that it is a master, and should be a replica, is
//   demoted. The leader sees the promotion in the next INFO and tells the others; at 100 ms they
//   undo it before they have heard of it.
const FAST_PERIODS: [(&str, &str); 5] = [
    ("info-period", "300"),
    ("ping-period", "400"),
    ("ask-period", "100"),
    ("publish-period", "500"),
    ("tilt-period", "2000"),
];

/// What a [`Deployment`] consists of; see [`Deployment::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    replicas: usize,
    sentinels: usize,
    quorum: Option<usize>,
    down_after: Duration,
    failover_timeout: Duration,
    fast: bool,
    master_name: String,
    password: Option<String>,
    sentinel_password: Option<String>,
    node_config: Vec<String>,
    sentinel_config: Vec<String>,
    fixed_ports: Option<(u16, u16)>,
    tls: Option<ServerTls>,
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            replicas: 2,
            sentinels: 3,
            quorum: None,
            down_after: Duration::from_secs(1),
            failover_timeout: Duration::from_secs(3),
            fast: true,
            master_name: "mymaster".to_owned(),
            password: None,
            sentinel_password: None,
            node_config: Vec::new(),
            sentinel_config: Vec::new(),
            fixed_ports: None,
            tls: None,
        }
    }
}

impl Builder {
    /// How many replicas; 2 if not said.
    pub fn replicas(mut self, count: usize) -> Self {
        self.replicas = count;
        self
    }

    /// How many Sentinels; 3 if not said.
    pub fn sentinels(mut self, count: usize) -> Self {
        self.sentinels = count;
        self
    }

    /// How many Sentinels must agree that the master is down; the majority if not said.
    pub fn quorum(mut self, count: usize) -> Self {
        self.quorum = Some(count);
        self
    }

    /// Silence after which a node counts as down; 1 s if not said. Less gives false alarms.
    /// Sentinels beyond the quorum wait 0.3 s longer, so that an election never ends in a draw.
    pub fn down_after(mut self, silence: Duration) -> Self {
        self.down_after = silence;
        self
    }

    /// Sentinel's `failover-timeout`; 3 s if not said. After a failed attempt the next one waits
    /// twice as long.
    pub fn failover_timeout(mut self, timeout: Duration) -> Self {
        self.failover_timeout = timeout;
        self
    }

    /// Whether the Sentinels look and talk much more often than by default; they do if not said.
    ///
    /// Then a replaced master is demoted two to three seconds after the switch. With `false` it
    /// stays writable for some ten seconds, as in production.
    pub fn fast(mut self, fast: bool) -> Self {
        self.fast = fast;
        self
    }

    /// The name the Sentinels know the master by; `mymaster` if not said.
    pub fn master_name(mut self, name: impl Into<String>) -> Self {
        self.master_name = name.into();
        self
    }

    /// The password of the data nodes' default user.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// One more user on every data node, with rules such as `~* &* +@all -@dangerous`.
    pub fn username_acl(self, username: &str, password: &str, rules: &str) -> Self {
        self.node_config(format!("user {username} on >{password} {rules}"))
    }

    /// The password of the Sentinels' default user.
    pub fn sentinel_password(mut self, password: impl Into<String>) -> Self {
        self.sentinel_password = Some(password.into());
        self
    }

    /// One more line for the configuration of every data node.
    pub fn node_config(mut self, line: impl Into<String>) -> Self {
        self.node_config.push(line.into());
        self
    }

    /// One more line for the configuration of every Sentinel.
    pub fn sentinel_config(mut self, line: impl Into<String>) -> Self {
        self.sentinel_config.push(line.into());
        self
    }

    /// Fixed ports: data nodes from `nodes` upwards, Sentinels from `sentinels` upwards.
    pub fn ports(mut self, nodes: u16, sentinels: u16) -> Self {
        self.fixed_ports = Some((nodes, sentinels));
        self
    }

    /// All servers speak TLS on the ports that they are known by, also among themselves.
    pub fn tls(mut self, tls: ServerTls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// Starts everything and returns when it is healthy.
    #[must_use]
    pub fn start(self) -> Deployment {
        for _ in 0..3 {
            match self.try_start() {
                Ok(deployment) => {
                    deployment.wait_healthy(HEALTHY_TIMEOUT);
                    return deployment;
                }
                Err(failure) if failure.port_taken && self.fixed_ports.is_none() => {}
                Err(failure) => panic!("{}", failure.text),
            }
        }
        panic!("ports that looked free were taken three times running");
    }

    fn try_start(&self) -> Result<Deployment, StartFailure> {
        let folder = Arc::new(Folder::create());
        let plan = self.plan();
        let create_node = |port: &u16| {
            let master = (*port != plan.nodes[0]).then_some(plan.nodes[0]);
            self.create_node(&folder, *port, master)
        };
        let nodes: Vec<Server> = plan.nodes.iter().map(create_node).collect();
        // A replica that does not find its master tries again only a second later, and a Sentinel
        // that finds a replica without its master asks again only a second later.
        nodes[0].spawn();
        nodes[0].await_ready()?;
        start_all(&nodes[1..])?;
        nodes[1..].iter().try_for_each(await_link)?;

        let sentinels = (0..self.sentinels).map(|own| self.create_sentinel(&folder, &plan, own));
        let sentinels: Vec<Server> = sentinels.collect();
        start_all(&sentinels)?;
        Ok(Deployment::new(self.master_name.clone(), nodes, sentinels))
    }

    fn plan(&self) -> Plan {
        let (nodes, sentinels) = match self.fixed_ports {
            Some((first_node, first_sentinel)) => (
                (first_node..).take(self.replicas + 1).collect(),
                (first_sentinel..).take(self.sentinels).collect(),
            ),
            None => (ports::take(self.replicas + 1), ports::take(self.sentinels)),
        };
        Plan {
            nodes,
            sentinels: sentinels
                .into_iter()
                .map(|port| (port, random_id()))
                .collect(),
        }
    }

    fn create_node(&self, folder: &Arc<Folder>, port: u16, master: Option<u16>) -> Server {
        let name = format!("node-{port}");
        let plain_port = self.plain_port(port);
        let mut config = config::node(folder.path(), &name, plain_port);
        self.push_tls(&mut config, folder, &name, port);
        if let Some(password) = &self.password {
            push(&mut config, format_args!("requirepass \"{password}\""));
            push(&mut config, format_args!("masterauth \"{password}\""));
        }
        if let Some(master) = master {
            push(&mut config, format_args!("replicaof 127.0.0.1 {master}"));
        }
        for line in &self.node_config {
            push(&mut config, format_args!("{line}"));
        }
        let password = self.password.clone();
        Server::create(
            folder,
            Blueprint {
                name,
                port,
                plain_port,
                sentinel: false,
                config,
                password,
                after_start: Vec::new(),
            },
        )
    }

    fn create_sentinel(&self, folder: &Arc<Folder>, plan: &Plan, own: usize) -> Server {
        let port = plan.sentinels[own].0;
        let name = format!("sentinel-{port}");
        let mut after_start = Vec::new();
        if self.fast && redis_version() >= (7, 0) {
            let mut command = vec!["SENTINEL".to_owned(), "DEBUG".to_owned()];
            for (key, value) in FAST_PERIODS {
                command.extend([key.to_owned(), value.to_owned()]);
            }
            after_start.push(command);
        }
        let plain_port = self.plain_port(port);
        let mut config = config::process(folder.path(), &name, plain_port);
        self.push_tls(&mut config, folder, &name, port);
        for line in self.sentinel_lines(plan, own) {
            push(&mut config, format_args!("{line}"));
        }
        let password = self.sentinel_password.clone();
        Server::create(
            folder,
            Blueprint {
                name,
                port,
                plain_port,
                sentinel: true,
                config,
                password,
                after_start,
            },
        )
    }

    fn plain_port(&self, port: u16) -> u16 {
        match &self.tls {
            Some(_) => ports::take(1)[0],
            None => port,
        }
    }

    fn push_tls(&self, config: &mut String, folder: &Folder, name: &str, port: u16) {
        if let Some(tls) = &self.tls {
            config.push_str(&tls.lines(&folder.path().join(name), port));
        }
    }

    // Sentinels need seconds to discover each other and the replicas; told from the start, they
    // need none.
    fn sentinel_lines(&self, plan: &Plan, own: usize) -> Vec<String> {
        let master = &self.master_name;
        let quorum = self.quorum.unwrap_or(self.sentinels / 2 + 1);
        let down_after = self.down_after_of(own, quorum).as_millis();
        let failover_timeout = self.failover_timeout.as_millis();
        let mut lines = vec![
            format!("sentinel myid {}", plan.sentinels[own].1),
            format!(
                "sentinel monitor {master} 127.0.0.1 {} {quorum}",
                plan.nodes[0]
            ),
            format!("sentinel down-after-milliseconds {master} {down_after}"),
            format!("sentinel failover-timeout {master} {failover_timeout}"),
        ];
        for replica in &plan.nodes[1..] {
            lines.push(format!(
                "sentinel known-replica {master} 127.0.0.1 {replica}"
            ));
        }
        for (index, (port, id)) in plan.sentinels.iter().enumerate() {
            if index != own {
                lines.push(format!(
                    "sentinel known-sentinel {master} 127.0.0.1 {port} {id}"
                ));
            }
        }
        if let Some(password) = &self.password {
            lines.push(format!("sentinel auth-pass {master} \"{password}\""));
        }
        if let Some(password) = &self.sentinel_password {
            lines.push(format!("requirepass \"{password}\""));
            lines.push(format!("sentinel sentinel-pass \"{password}\""));
        }
        lines.extend_from_slice(&self.sentinel_config);
        lines
    }

    // When all three notice a crash in the same moment, each votes for itself, and the next attempt
    // comes only after twice the failover-timeout. With a third that is not yet a candidate its
    // vote decides.
    fn down_after_of(&self, own: usize, quorum: usize) -> Duration {
        let delay = if own < quorum {
            Duration::ZERO
        } else {
            ARBITER_DELAY
        };
        self.down_after + delay
    }
}

/// The ports, and the Sentinels' ids.
struct Plan {
    nodes: Vec<u16>,
    sentinels: Vec<(u16, String)>,
}

fn push(config: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(config, "{line}").expect("writing to a String cannot fail");
}

fn start_all(servers: &[Server]) -> Result<(), StartFailure> {
    servers.iter().for_each(Server::spawn);
    servers.iter().try_for_each(Server::await_ready)
}

fn await_link(replica: &Server) -> Result<(), StartFailure> {
    replica.await_that(|replica| {
        let role = replica.try_cmd(&["ROLE"]);
        role.is_ok_and(|role| {
            role.array().get(3).and_then(|state| state.text()) == Some("connected")
        })
    })
}

fn random_id() -> String {
    let id = format!("{:016x}{:016x}{:016x}", random(), random(), random());
    id[..40].to_owned()
}
