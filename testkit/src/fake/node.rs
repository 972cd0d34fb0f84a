//! A data node whose role can be switched.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::Arc;

use parking_lot::Mutex;

use super::conn::Conn;
use super::server::{Action, FakeServer};
use super::session::{self, Identity};
use super::value::Value;
use crate::ports;

/// What a fake node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// It takes writes.
    Master,
    /// It refuses writes.
    Replica {
        /// Host and port of its master.
        master: (String, u16),
        /// The state of the link, `connected` when all is well.
        state: String,
    },
}

impl NodeRole {
    /// A replica that is connected to the master on this loopback port.
    #[must_use]
    pub fn replica_of(port: u16) -> Self {
        Self::Replica {
            master: ("127.0.0.1".to_owned(), port),
            state: "connected".to_owned(),
        }
    }
}

#[derive(Debug)]
struct State {
    role: NodeRole,
    password: Option<String>,
    hello: bool,
    override_all: Option<Action>,
    data: BTreeMap<Vec<u8>, Vec<u8>>,
}

/// A node that answers HELLO, AUTH, ROLE, INFO, SELECT, PING, CLIENT, GET, SET, DEL and the
/// subscription commands; a [`FakeServer`] in everything else.
#[derive(Debug)]
pub struct FakeNode {
    server: FakeServer,
    state: Arc<Mutex<State>>,
}

/// Starts a data node with this role.
#[must_use]
pub fn node(role: NodeRole) -> FakeNode {
    FakeNode::start_on(ports::unused(), role)
}

impl FakeNode {
    /// As [`node`], on a port of choice.
    #[must_use]
    pub fn start_on(port: u16, role: NodeRole) -> Self {
        let state = Arc::new(Mutex::new(State {
            role,
            password: None,
            hello: true,
            override_all: None,
            data: BTreeMap::new(),
        }));
        let server = FakeServer::start_on(port, {
            let state = Arc::clone(&state);
            move |conn, words| state.lock().answer(conn, words)
        });
        Self { server, state }
    }

    /// Changes what it says of itself; connections stay, as with `REPLICAOF`.
    pub fn set_role(&self, role: NodeRole) {
        self.state.lock().role = role;
    }

    /// Demands this password from now on.
    pub fn set_password(&self, password: Option<&str>) {
        self.state.lock().password = password.map(str::to_owned);
    }

    /// Whether it knows HELLO; a Redis before 6.0 does not.
    pub fn set_hello(&self, known: bool) {
        self.state.lock().hello = known;
    }

    /// Does the same with every command from now on, or with `None` answers again.
    pub fn set_override(&self, action: Option<Action>) {
        self.state.lock().override_all = action;
    }
}

impl Deref for FakeNode {
    type Target = FakeServer;

    fn deref(&self) -> &FakeServer {
        &self.server
    }
}

impl State {
    fn answer(&mut self, conn: &Conn, words: &[Vec<u8>]) -> Action {
        if let Some(action) = &self.override_all {
            return action.clone();
        }
        let text = words
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned());
        let text: Vec<String> = text.collect();
        let who = Identity {
            mode: "standalone",
            role: Some(match self.role {
                NodeRole::Master => "master",
                NodeRole::Replica { .. } => "replica",
            }),
            password: self.password.as_deref(),
            hello: self.hello,
        };
        let value = match session::answer(conn, &text, &who) {
            Some(value) => value,
            None if text[0].eq_ignore_ascii_case("QUIT") => {
                return Action::ReplyThenClose(b"+OK\r\n".to_vec());
            }
            None => self.execute(words, &text),
        };
        Action::Reply(value.encode(conn.protocol()))
    }

    fn execute(&mut self, words: &[Vec<u8>], text: &[String]) -> Value {
        let read_only = || Value::error("READONLY You can't write against a read only replica.");
        let is_replica = matches!(self.role, NodeRole::Replica { .. });
        match (text[0].to_ascii_uppercase().as_str(), words) {
            ("ROLE", _) => self.role(),
            ("INFO", _) => Value::bulk(self.info()),
            ("SELECT", _) => Value::ok(),
            ("GET", [_, key]) => self.data.get(key).cloned().map_or(Value::Null, Value::Bulk),
            ("SET" | "DEL", _) if is_replica => read_only(),
            ("SET", [_, key, value, ..]) => {
                self.data.insert(key.clone(), value.clone());
                Value::ok()
            }
            ("DEL", [_, key]) => Value::Int(self.data.remove(key).is_some().into()),
            _ => session::unknown_command(text),
        }
    }

    fn role(&self) -> Value {
        Value::Array(match &self.role {
            NodeRole::Master => vec![Value::bulk("master"), Value::Int(0), Value::Array(vec![])],
            NodeRole::Replica { master, state } => vec![
                Value::bulk("slave"),
                Value::bulk(master.0.as_str()),
                Value::Int(master.1.into()),
                Value::bulk(state.as_str()),
                Value::Int(if state == "connected" { 1 } else { -1 }),
            ],
        })
    }

    fn info(&self) -> String {
        match &self.role {
            NodeRole::Master => "# Replication\r\nrole:master\r\nconnected_slaves:0\r\n".to_owned(),
            NodeRole::Replica { master, state } => {
                let up = if state == "connected" { "up" } else { "down" };
                format!(
                    "# Replication\r\nrole:slave\r\nmaster_host:{}\r\nmaster_port:{}\r\n\
                     master_link_status:{up}\r\nslave_read_only:1\r\n",
                    master.0, master.1
                )
            }
        }
    }
}
