//! Since when things have been as they are. Pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::{
    config::ReadFrom,
    health::{Ability, Health},
    node::{Node, Role},
    status::MasterStatus,
    topology::{Replica, Topology, excluded::Excluded},
};

/// Brought up to date by the refresh task, after each of its decisions.
#[derive(Debug)]
pub(crate) struct Vitals {
    master: Option<Node>,
    /// Why the master cannot be reached.
    error: Option<String>,
    /// Since when there has been this master, reachable or not.
    since: Instant,
    changes: u64,
    writes: Condition,
    reads: Condition,
    sentinels: Condition,
}

/// Who answers when asked who is master.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Turnout {
    Sentinels {
        known: usize,
        reachable: usize,
    },
    /// There are no Sentinels, and this says whether any node answers.
    Nodes(bool),
}

/// Whether something works, and since when it does not.
#[derive(Debug)]
struct Condition {
    /// `None` while all is well.
    trouble: Option<String>,
    since: Instant,
    /// Whether it has ever worked. Until then nothing speaks for it to work soon.
    proven: bool,
}

impl Condition {
    fn new() -> Self {
        Self {
            trouble: Some("no master was found yet".to_owned()),
            since: Instant::now(),
            proven: false,
        }
    }

    fn observe(&mut self, trouble: Option<String>, now: Instant) {
        if self.trouble.is_some() != trouble.is_some() {
            self.since = now;
        }
        self.proven |= trouble.is_none();
        self.trouble = trouble;
    }

    fn ability(&self, patience: Duration, now: Instant) -> Ability {
        match &self.trouble {
            None => Ability::Able,
            Some(why) => Ability::in_trouble(why.clone(), now - self.since, patience, self.proven),
        }
    }
}

impl Default for Vitals {
    fn default() -> Self {
        Self {
            master: None,
            error: None,
            since: Instant::now(),
            changes: 0,
            writes: Condition::new(),
            reads: Condition::new(),
            sentinels: Condition::new(),
        }
    }
}

impl Vitals {
    pub(crate) fn observe(&mut self, topology: &Topology, policy: ReadFrom, now: Instant) {
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
        self.writes.observe(trouble_with_writes(topology), now);
        self.reads
            .observe(trouble_with_reads(topology, policy), now);
    }

    pub(crate) fn hear(&mut self, turnout: Turnout, now: Instant) {
        self.sentinels.observe(trouble_with_sentinels(turnout), now);
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

    /// `patience` is how long callers wait.
    pub(crate) fn health(&self, patience: Duration, now: Instant) -> Health {
        Health {
            writes: self.writes.ability(patience, now),
            reads: self.reads.ability(patience, now),
            sentinels: self.sentinels.ability(patience, now),
        }
    }
}

/// Why nothing can be written now.
fn trouble_with_writes(topology: &Topology) -> Option<String> {
    let Some(master) = &topology.master else {
        return Some("no master was found yet".to_owned());
    };
    let fenced = || {
        let sign = topology.fence.as_ref()?;
        Some(format!("the master {master} is being replaced ({sign})"))
    };
    trouble_with_master(topology).or_else(fenced)
}

fn trouble_with_master(topology: &Topology) -> Option<String> {
    let (master, error) = (topology.master.as_ref()?, topology.master_error.as_ref()?);
    Some(format!("the master {master} cannot be reached: {error}"))
}

/// Why nothing can be read now.
fn trouble_with_reads(topology: &Topology, policy: ReadFrom) -> Option<String> {
    if topology.master.is_none() {
        return Some("no master was found yet".to_owned());
    }
    let serves = |role, node: &Node| match role {
        Role::Master => topology.master_error.is_none(),
        // With `ReadFrom::Replica` silent ones are tried as a last resort.
        Role::Replica => topology.readable().any(|readable| readable == node),
    };
    let mut targets = topology.targets(Some(policy)).into_iter();
    if targets.any(|target| serves(target.role, &target.node)) {
        return None;
    }
    let excluded = |replica: &Replica| {
        let why: &Excluded = replica.excluded.as_ref()?;
        Some(format!("{} {why}", replica.node))
    };
    let replicas = topology.replicas.iter().filter_map(excluded);
    let replicas = replicas.filter(|_| policy != ReadFrom::Master);
    let all: Vec<_> = trouble_with_master(topology)
        .into_iter()
        .chain(replicas)
        .collect();
    Some(if all.is_empty() {
        "there is no replica".to_owned()
    } else {
        all.join("; ")
    })
}

/// Why no failover can take place, or none would be seen.
fn trouble_with_sentinels(turnout: Turnout) -> Option<String> {
    match turnout {
        Turnout::Nodes(true) => None,
        Turnout::Nodes(false) => Some("no node answers".to_owned()),
        Turnout::Sentinels { reachable: 0, .. } => Some("no Sentinel answers".to_owned()),
        Turnout::Sentinels { known, reachable } if reachable * 2 > known => None,
        Turnout::Sentinels { known, reachable } => Some(format!(
            "only {reachable} of {known} Sentinels answer, which cannot replace a master"
        )),
    }
}

#[cfg(test)]
mod tests;
