//! Logs what changes in the topology, once for each change, when it is published.

use std::fmt::Write;

use crate::{
    node::Node,
    refresh::decide::fence::Raised,
    topology::{Replica, Topology, excluded::Excluded},
};

pub(super) fn log(current: &Topology, next: &Topology, raised: Option<&Raised>) {
    tracing::debug!(topology = ?next, "the topology changed");
    if next.master != current.master {
        let (new, old) = (&next.master, &current.master);
        tracing::info!(?new, epoch = next.epoch, ?old, "the master changed");
    }
    if !states(current).eq(states(next)) {
        let replicas = describe(next);
        tracing::info!(replicas, "the replicas changed");
    }
    match (&current.fence, &next.fence) {
        (None, Some(sign)) => {
            let kind = raised.map(|raised| raised.kind.as_str());
            tracing::warn!(kind, sign, "the fence is up: writes wait for a new master");
        }
        (Some(_), None) => tracing::info!(master = ?next.master, "the fence is down"),
        _ => {}
    }
    if let (None, Some(error), Some(master)) =
        (&current.master_error, &next.master_error, &next.master)
    {
        tracing::warn!(%master, error, "the master cannot be reached; writes wait for it");
    }
}

/// The replicas, and why they are not read from. Details are left out: how long a link has been
/// down differs at every refresh.
fn states(topology: &Topology) -> impl Iterator<Item = (&Node, &'static str)> {
    let state = |replica: &Replica| {
        replica
            .excluded
            .as_ref()
            .map_or("readable", Excluded::as_str)
    };
    let replicas = topology.replicas.iter();
    replicas.map(move |replica| (&replica.node, state(replica)))
}

/// `10.0.0.2:6379 readable, 10.0.0.3:6379 link_down`
fn describe(topology: &Topology) -> String {
    let mut text = String::new();
    for (node, state) in states(topology) {
        let comma = if text.is_empty() { "" } else { ", " };
        let _ = write!(text, "{comma}{node} {state}");
    }
    text
}

#[cfg(test)]
mod tests;
