//! What a server saw of its clients.

use std::{collections::BTreeMap, time::Duration};

use parking_lot::Mutex;
use testkit::{Client, Reply};

const PATIENCE: Duration = Duration::from_secs(10);

/// One connection to one server or Sentinel, apart from all that is measured.
pub(crate) struct Observer(Mutex<Client>);

impl Observer {
    pub(crate) fn new(port: u16) -> Self {
        let client = Client::connect(port, PATIENCE).expect("the server runs");
        Self(Mutex::new(client))
    }

    fn call(&self, command: &[&str]) -> Reply {
        let reply = self.0.lock().call(command);
        reply.expect("the server answers")
    }

    fn info(&self, section: &str) -> BTreeMap<String, String> {
        self.call(&["INFO", section])
            .as_str()
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(field, value)| (field.to_owned(), value.to_owned()))
            .collect()
    }

    /// How often this command was executed. A Sentinel keeps no such statistics.
    pub(crate) fn calls(&self, command: &str) -> f64 {
        let stats = self.info("commandstats");
        let calls = stats.get(&format!("cmdstat_{command}")).and_then(|stats| {
            stats
                .strip_prefix("calls=")?
                .split(',')
                .next()?
                .parse()
                .ok()
        });
        calls.unwrap_or(0.0)
    }

    /// Commands of any kind executed since the start.
    pub(crate) fn commands(&self) -> f64 {
        self.stat("total_commands_processed")
    }

    /// Seconds of CPU.
    pub(crate) fn cpu(&self) -> f64 {
        let info = self.info("cpu");
        let seconds = |field| info.get(field).and_then(|text| text.parse::<f64>().ok());
        let used = seconds("used_cpu_sys").zip(seconds("used_cpu_user"));
        let (system, user) = used.expect("INFO cpu has both");
        system + user
    }

    /// Connections accepted since the start.
    pub(crate) fn accepted(&self) -> f64 {
        self.stat("total_connections_received")
    }

    fn stat(&self, field: &str) -> f64 {
        let info = self.info("stats");
        let value = info.get(field).and_then(|text| text.parse().ok());
        value.expect("INFO stats has it")
    }

    /// Clients connected now, and those of them that have subscribed to something.
    pub(crate) fn clients(&self) -> (f64, f64) {
        let list = self.call(&["CLIENT", "LIST"]);
        let clients = list.as_str().lines().count();
        let subscribed = list
            .as_str()
            .lines()
            .filter(|line| !line.contains(" sub=0 "));
        (clients as f64, subscribed.count() as f64)
    }

    /// Where a Sentinel says that the replicas are.
    pub(crate) fn replica_ports(&self, master_name: &str) -> Vec<u16> {
        let replicas = self.call(&["SENTINEL", "REPLICAS", master_name]);
        let port = |fields: &Reply| fields.fields()["port"].parse().expect("a port");
        replicas.array().iter().map(port).collect()
    }

    /// Sends a command whose reply nobody reads.
    pub(crate) fn send(&self, command: &[&str]) {
        let sent = self.0.lock().send(command);
        sent.expect("the server runs");
    }
}
