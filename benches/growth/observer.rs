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

    /// How often commands were executed whose names begin so.
    pub(crate) fn calls(&self, prefixes: &[&str]) -> f64 {
        let stats = self.info("commandstats");
        let wanted = stats.iter().filter(|(field, _)| {
            let name = field.trim_start_matches("cmdstat_");
            prefixes.iter().any(|prefix| name.starts_with(prefix))
        });
        wanted
            .filter_map(|(_, stats)| stats.strip_prefix("calls=")?.split(',').next())
            .filter_map(|calls| calls.parse::<f64>().ok())
            .sum()
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
        let info = self.info("stats");
        let accepted = info.get("total_connections_received");
        accepted
            .and_then(|text| text.parse().ok())
            .expect("INFO stats has it")
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

    /// Where a Sentinel says that the master is.
    pub(crate) fn master_port(&self, master_name: &str) -> u16 {
        let address = self.call(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", master_name]);
        u16::try_from(address.array()[1].as_int()).expect("a port")
    }
}
