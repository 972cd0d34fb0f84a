//! A Sentinel that sees whatever it is told to see.

use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::conn::Conn;
use super::server::{Action, FakeServer};
use super::session::{self, Identity};
use super::value::Value;
use crate::ports;

/// What a fake Sentinel knows; change any field.
#[derive(Clone, Debug)]
pub struct SentinelView {
    /// The name of the monitored master.
    pub name: String,
    /// Whether a master of that name is monitored.
    pub known: bool,
    /// What `GET-MASTER-ADDR-BY-NAME` answers, and `MASTER` unless the next field says otherwise.
    pub master: (String, u16),
    /// What `MASTER` answers while it still names the old one, as a leader does during a failover.
    pub master_before: Option<(String, u16)>,
    /// The `config-epoch`.
    pub epoch: u64,
    /// The master's flags.
    pub flags: String,
    /// How many Sentinels must agree.
    pub quorum: usize,
    /// What `REPLICAS` answers.
    pub replicas: Vec<ReplicaView>,
    /// What `SENTINELS` answers: id, host, port, flags.
    pub sentinels: Vec<(String, String, u16, String)>,
    /// Its own id, 40 hexadecimal digits.
    pub id: String,
    /// The password it demands.
    pub password: Option<String>,
    /// Whether it knows HELLO; a Sentinel before 6.0 does not.
    pub hello: bool,
    /// Replies for some commands instead of the true ones: the upper-case words that a command
    /// begins with, such as `SENTINEL GET-MASTER-ADDR-BY-NAME`, and what to do.
    pub overrides: Vec<(String, Action)>,
}

impl SentinelView {
    /// A healthy master of the name `mymaster` on this loopback port, without replicas.
    #[must_use]
    pub fn of_master(port: u16) -> Self {
        Self {
            name: "mymaster".to_owned(),
            known: true,
            master: ("127.0.0.1".to_owned(), port),
            master_before: None,
            epoch: 0,
            flags: "master".to_owned(),
            quorum: 2,
            replicas: Vec::new(),
            sentinels: Vec::new(),
            id: format!("{port:040x}"),
            password: None,
            hello: true,
            overrides: Vec::new(),
        }
    }

    /// Adds a healthy replica on this loopback port.
    #[must_use]
    pub fn with_replica(mut self, port: u16) -> Self {
        self.replicas
            .push(ReplicaView::healthy(port, self.master.1));
        self
    }

    /// Adds another Sentinel on this loopback port.
    #[must_use]
    pub fn with_sentinel(mut self, port: u16) -> Self {
        let entry = (
            format!("{port:040x}"),
            "127.0.0.1".to_owned(),
            port,
            "sentinel".to_owned(),
        );
        self.sentinels.push(entry);
        self
    }

    /// Does something else with the commands that begin with these words.
    #[must_use]
    pub fn with_override(mut self, words: &str, action: Action) -> Self {
        self.overrides.push((words.to_ascii_uppercase(), action));
        self
    }
}

/// One entry of `SENTINEL REPLICAS`.
#[derive(Clone, Debug)]
pub struct ReplicaView {
    /// Its address.
    pub ip: String,
    /// Its port.
    pub port: u16,
    /// `slave`, `s_down,slave,disconnected`, ...
    pub flags: String,
    /// `master` or `slave`
    pub role_reported: String,
    /// `ok` or `err`
    pub master_link_status: String,
    /// Whom it replicates.
    pub master_host: String,
    /// Whom it replicates.
    pub master_port: u16,
    /// `slave-priority`; 0 is never promoted.
    pub priority: u32,
    /// `slave-repl-offset`
    pub offset: u64,
    /// `replica-announced`
    pub announced: bool,
}

impl ReplicaView {
    /// A replica on one loopback port, connected to a master on another.
    #[must_use]
    pub fn healthy(port: u16, master_port: u16) -> Self {
        Self {
            ip: "127.0.0.1".to_owned(),
            port,
            flags: "slave".to_owned(),
            role_reported: "slave".to_owned(),
            master_link_status: "ok".to_owned(),
            master_host: "127.0.0.1".to_owned(),
            master_port,
            priority: 100,
            offset: 1000,
            announced: true,
        }
    }
}

/// A Sentinel with a view that can be changed at any time; a [`FakeServer`] in everything else.
#[derive(Debug)]
pub struct FakeSentinel {
    server: FakeServer,
    view: Arc<Mutex<SentinelView>>,
}

/// Starts a Sentinel with this view.
#[must_use]
pub fn sentinel(view: SentinelView) -> FakeSentinel {
    FakeSentinel::start_on(ports::unused(), view)
}

impl FakeSentinel {
    /// As [`sentinel`], on a port of choice.
    #[must_use]
    pub fn start_on(port: u16, view: SentinelView) -> Self {
        let view = Arc::new(Mutex::new(view));
        let server = FakeServer::start_on(port, {
            let view = Arc::clone(&view);
            move |conn, words| answer(&view.lock(), conn, words)
        });
        Self { server, view }
    }

    /// Sees something else from now on; subscribers are not told.
    pub fn set(&self, view: SentinelView) {
        *self.view.lock() = view;
    }

    /// Changes a part of what it sees; subscribers are not told.
    pub fn update(&self, change: impl FnOnce(&mut SentinelView)) {
        change(&mut self.view.lock());
    }

    /// What it sees.
    #[must_use]
    pub fn view(&self) -> SentinelView {
        self.view.lock().clone()
    }

    /// Tells the subscribers; channels and payloads are as in Redis's documentation, such as
    /// `+switch-master` and `mymaster 127.0.0.1 6379 127.0.0.1 6380`.
    pub fn publish(&self, channel: &str, payload: &str) {
        for conn in self.server.connections() {
            conn.deliver(channel, payload);
        }
    }

    /// How many connections have subscribed to something.
    #[must_use]
    pub fn subscribers(&self) -> usize {
        let connections = self.server.connections();
        let subscribed =
            |conn: &&Arc<Conn>| conn.is_open() && conn.session.lock().subscriptions() > 0;
        connections.iter().filter(subscribed).count()
    }
}

impl Deref for FakeSentinel {
    type Target = FakeServer;

    fn deref(&self) -> &FakeServer {
        &self.server
    }
}

fn answer(view: &SentinelView, conn: &Conn, words: &[Vec<u8>]) -> Action {
    let words = words
        .iter()
        .map(|word| String::from_utf8_lossy(word).into_owned());
    let words: Vec<String> = words.collect();
    let line = words.join(" ").to_ascii_uppercase();
    let begins = |(head, _): &&(String, Action)| {
        line.strip_prefix(head.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
    };
    if let Some((_, action)) = view.overrides.iter().find(begins) {
        return action.clone();
    }
    let who = Identity {
        mode: "sentinel",
        role: None,
        password: view.password.as_deref(),
        hello: view.hello,
    };
    let value = session::answer(conn, &words, &who).unwrap_or_else(|| execute(view, &words));
    Action::Reply(value.encode(conn.protocol()))
}

fn execute(view: &SentinelView, words: &[String]) -> Value {
    let name = words[0].to_ascii_uppercase();
    match (name.as_str(), words) {
        ("SENTINEL", [_, subcommand, arguments @ ..]) => {
            sentinel_command(view, subcommand, arguments)
        }
        ("ROLE", _) => {
            let names = view.known.then(|| Value::bulk(view.name.as_str()));
            Value::Array(vec![
                Value::bulk("sentinel"),
                Value::Array(names.into_iter().collect()),
            ])
        }
        ("INFO", _) => Value::bulk(info(view)),
        _ => session::unknown_command(words),
    }
}

fn sentinel_command(view: &SentinelView, subcommand: &str, arguments: &[String]) -> Value {
    let known = view.known && arguments.first() == Some(&view.name);
    let of_known = |value: &dyn Fn() -> Value| match known {
        true => value(),
        false => Value::error("ERR No such master with that name"),
    };
    match subcommand.to_ascii_uppercase().as_str() {
        "GET-MASTER-ADDR-BY-NAME" if !known => Value::NullArray,
        "GET-MASTER-ADDR-BY-NAME" => {
            let (host, port) = &view.master;
            Value::Array(vec![
                Value::bulk(host.as_str()),
                Value::bulk(port.to_string()),
            ])
        }
        "MASTER" => of_known(&|| master(view)),
        "MASTERS" => Value::Array(view.known.then(|| master(view)).into_iter().collect()),
        "REPLICAS" | "SLAVES" => {
            of_known(&|| Value::Array(view.replicas.iter().map(replica).collect()))
        }
        "SENTINELS" => of_known(&|| Value::Array(view.sentinels.iter().map(peer).collect())),
        "MYID" => Value::bulk(view.id.as_str()),
        "CKQUORUM" => of_known(&|| {
            Value::Status(format!(
                "OK {} usable Sentinels. Quorum and failover authorization can be reached",
                view.sentinels.len() + 1
            ))
        }),
        _ => Value::error(format!(
            "ERR unknown subcommand '{subcommand}'. Try SENTINEL HELP."
        )),
    }
}

// The fields and their order are those of 7.0.15, and so is that every value is a string.
fn master(view: &SentinelView) -> Value {
    let (host, port) = view.master_before.as_ref().unwrap_or(&view.master);
    let mut fields = instance(&view.name, host, *port, &run_id(*port), &view.flags);
    fields.extend(reported("master"));
    fields.extend([
        ("config-epoch", view.epoch.to_string()),
        ("num-slaves", view.replicas.len().to_string()),
        ("num-other-sentinels", view.sentinels.len().to_string()),
        ("quorum", view.quorum.to_string()),
        ("failover-timeout", "3000".to_owned()),
        ("parallel-syncs", "1".to_owned()),
    ]);
    map(fields)
}

fn replica(replica: &ReplicaView) -> Value {
    let name = format!("{}:{}", replica.ip, replica.port);
    let port = replica.port;
    let mut fields = instance(&name, &replica.ip, port, &run_id(port), &replica.flags);
    let down_time = if replica.master_link_status == "ok" {
        "0"
    } else {
        "1000"
    };
    fields.extend(reported(&replica.role_reported));
    fields.extend([
        ("master-link-down-time", down_time.to_owned()),
        ("master-link-status", replica.master_link_status.clone()),
        ("master-host", replica.master_host.clone()),
        ("master-port", replica.master_port.to_string()),
        ("slave-priority", replica.priority.to_string()),
        ("slave-repl-offset", replica.offset.to_string()),
        ("replica-announced", u8::from(replica.announced).to_string()),
    ]);
    map(fields)
}

fn peer((id, host, port, flags): &(String, String, u16, String)) -> Value {
    let mut fields = instance(id, host, *port, id, flags);
    fields.extend([
        ("last-hello-message", "100".to_owned()),
        ("voted-leader", "?".to_owned()),
        ("voted-leader-epoch", "0".to_owned()),
    ]);
    map(fields)
}

type Fields = Vec<(&'static str, String)>;

fn instance(name: &str, host: &str, port: u16, run_id: &str, flags: &str) -> Fields {
    vec![
        ("name", name.to_owned()),
        ("ip", host.to_owned()),
        ("port", port.to_string()),
        ("runid", run_id.to_owned()),
        ("flags", flags.to_owned()),
        ("link-pending-commands", "0".to_owned()),
        ("link-refcount", "1".to_owned()),
        ("last-ping-sent", "0".to_owned()),
        ("last-ok-ping-reply", "100".to_owned()),
        ("last-ping-reply", "100".to_owned()),
        ("down-after-milliseconds", "1000".to_owned()),
    ]
}

fn reported(role: &str) -> Fields {
    vec![
        ("info-refresh", "100".to_owned()),
        ("role-reported", role.to_owned()),
        ("role-reported-time", "60000".to_owned()),
    ]
}

fn run_id(port: u16) -> String {
    format!("{port:040x}")
}

fn map(fields: Fields) -> Value {
    let fields = fields.into_iter();
    Value::Map(
        fields
            .map(|(key, value)| (Value::bulk(key), Value::bulk(value)))
            .collect(),
    )
}

fn info(view: &SentinelView) -> String {
    let mut text = format!(
        "# Sentinel\r\nsentinel_masters:{}\r\n",
        u8::from(view.known)
    );
    if view.known {
        let (host, port) = &view.master;
        text.push_str(&format!(
            "master0:name={},status=ok,address={host}:{port},slaves={},sentinels={}\r\n",
            view.name,
            view.replicas.len(),
            view.sentinels.len() + 1
        ));
    }
    text
}
