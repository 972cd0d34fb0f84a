//! Since when things have been as they are. Pure.

use tokio::time::Instant;

use crate::{node::Node, status::MasterStatus, topology::Topology};

/// Brought up to date by the refresh task, after each of its decisions.
#[derive(Debug)]
pub(crate) struct Vitals {
    master: Option<Node>,
    /// Why the master cannot be reached.
    error: Option<String>,
    /// Since when there has been this master, reachable or not.
    since: Instant,
    changes: u64,
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            master: None,
            error: None,
            since: Instant::now(),
            changes: 0,
        }
    }
}

impl Vitals {
    pub(crate) fn observe(&mut self, topology: &Topology, now: Instant) {
        let moved = self.master != topology.master;
        if moved || self.error.is_some() != topology.master_error.is_some() {
            self.since = now;
        }
        if moved {
            self.changes += u64::from(self.master.is_some());
            self.master.clone_from(&topology.master);
        }
        if self.error != topology.master_error {
            self.error.clone_from(&topology.master_error);
        }
    }

    pub(crate) fn master(&self, now: Instant) -> MasterStatus {
        MasterStatus {
            node: self.master.clone(),
            reachable: self.master.is_some() && self.error.is_none(),
            since: now - self.since,
            error: self.error.clone(),
        }
    }

    pub(crate) fn master_changes(&self) -> u64 {
        self.changes
    }
}

#[cfg(test)]
mod tests;
