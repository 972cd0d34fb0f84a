//! Computes the next topology from everything that is known. Pure, like everything in this folder.

pub(crate) mod by_nodes;
pub(crate) mod catch_up;
pub(crate) mod election;
pub(crate) mod fence;
pub(crate) mod node_report;
pub(crate) mod replicas;
pub(crate) mod sentinel_report;
#[cfg(test)]
mod testing;
pub(crate) mod trust;
pub(crate) mod without_sentinels;

use std::collections::HashSet;

use tokio::time::{Duration, Instant};

use crate::{
    config::Adopt,
    node::Node,
    refresh::decide::{
        by_nodes::Standing,
        catch_up::{CatchUp, Offsets},
        election::Election,
        fence::Fence,
        node_report::{NodeReport, NodeReports},
        sentinel_report::{SentinelReport, views},
    },
    sentinel::answer::View,
    topology::Topology,
};

#[derive(Debug)]
pub(super) struct Decider {
    adopt: Adopt,
    pub(super) fence: Fence,
    catch_up: CatchUp,
    /// Since when there has been a node that says it is a master, while no master is known.
    claimed_since: Option<Instant>,
}

/// What follows from the evidence.
#[derive(Debug)]
pub(super) struct Decision {
    /// The topology now; its version is still the old one.
    pub(super) next: Topology,
    /// Nodes whose own report is missing.
    pub(super) ask: Vec<Node>,
    /// The node to be asked again and again until it says that it is a master.
    pub(super) awaited: Option<Node>,
    /// Whether the next refresh should come soon.
    pub(super) unsettled: bool,
}

/// All that is known.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    /// The newest refresh that has begun.
    pub(super) round: u64,
    /// What each known Sentinel said last.
    pub(super) reports: &'a [SentinelReport<'a>],
    /// What the nodes say of their role.
    pub(super) node_reports: &'a NodeReports,
    pub(super) offsets: &'a Offsets,
    /// Nodes that were restarted since they were seen as replicas.
    pub(super) restarted: &'a HashSet<Node>,
    /// Masters that say that replicas are connected to them.
    pub(super) followed: &'a HashSet<Node>,
    /// `None` where there are Sentinels.
    pub(super) listed: Option<Listed<'a>>,
}

/// The nodes of a deployment without Sentinels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Listed<'a> {
    /// The configured nodes, each server once.
    pub(super) nodes: &'a [Node],
    /// Whether two of them may turn out to be one server, because a name is still being resolved.
    pub(super) unresolved: bool,
    /// How long the first node that says it is a master waits for what the others say.
    pub(super) patience: Duration,
}

impl Decider {
    pub(super) fn new(adopt: Adopt) -> Self {
        Self {
            adopt,
            fence: Fence::default(),
            catch_up: CatchUp::default(),
            claimed_since: None,
        }
    }

    pub(super) fn decide(
        &mut self,
        current: &Topology,
        evidence: &Evidence<'_>,
        now: Instant,
    ) -> Decision {
        let &Evidence {
            reports,
            node_reports,
            ..
        } = evidence;
        let mut views: Vec<View> = views(reports).cloned().collect();
        self.fence.observe(current, evidence, now);

        let candidate = self.candidate(current, reports);
        let successor = without_sentinels::successor(current, node_reports);
        let election = if let Some(listed) = &evidence.listed {
            let election = self.elect_by_nodes(current, listed, evidence, now);
            let adopted = election.adopt.as_ref().map(|(node, _)| node);
            let master = adopted.or(current.master.as_ref());
            views.extend(master.map(|master| by_nodes::view(master, listed.nodes)));
            election
        } else {
            let moved = self.fence.moved(current, reports, node_reports, now);
            let promoted = candidate.clone().or(moved).or_else(|| successor.clone());
            let electors = electors(reports, views.len());
            election::elect(current, &views, node_reports, promoted.as_ref(), electors)
        };
        let mut next = self.adopt(current, &election, now);
        let mut ask = election.ask.clone();
        ask.extend(self.find_replicas(&mut next, current, &election, &views, evidence, now));

        if let Some(report) = next.master.as_ref().and_then(|node| node_reports.get(node)) {
            next.master_error = match report {
                NodeReport::Failed(error) => Some(error.clone()),
                _ => None,
            };
        }
        next.fence = self.fence.judge(&next, reports, node_reports, now);
        let in_doubt =
            next.fence.is_some() || next.previous_master.is_some() || next.master_error.is_some();
        // The master's own report lifts the fence, and nothing else tells whether it still answers.
        let master = next.master.clone();
        ask.extend(master.filter(|master| !node_reports.contains_key(master)));

        let awaited = candidate
            .or(successor)
            .filter(|node| next.master.as_ref() != Some(node))
            .filter(|node| node_reports.get(node) != Some(&NodeReport::Master))
            // The very first master is asked once, like any node; it usually reports `master`
            // already.
            .or_else(|| election.awaited.filter(|_| current.master.is_some()));
        Decision {
            ask,
            awaited,
            unsettled: election.contested || next.in_motion() || in_doubt,
            next,
        }
    }

    fn elect_by_nodes(
        &mut self,
        current: &Topology,
        listed: &Listed<'_>,
        evidence: &Evidence<'_>,
        now: Instant,
    ) -> Election {
        let node_reports = evidence.node_reports;
        let report = |node| node_reports.get(node);
        let claims = |node| {
            matches!(
                report(node),
                Some(NodeReport::Master | NodeReport::Unprovable(_))
            )
        };
        let heard = listed.nodes.iter().all(|node| report(node).is_some());
        self.claimed_since = if current.master.is_some() {
            None
        } else if listed.nodes.iter().any(claims) {
            self.claimed_since.or(Some(now))
        } else {
            // At each refresh the reports are missing for a moment.
            self.claimed_since.filter(|_| !heard)
        };
        let waited = self
            .claimed_since
            .is_some_and(|since| now - since >= listed.patience);
        let standing = Standing {
            nodes: listed.nodes,
            settled: heard && !listed.unresolved || waited,
            restarted: evidence.restarted,
            followed: evidence.followed,
            dismissed: &self.fence.dismissed(),
        };
        by_nodes::elect(current, node_reports, &standing)
    }

    /// The topology with the elected master.
    fn adopt(&mut self, current: &Topology, election: &Election, now: Instant) -> Topology {
        let mut next = current.clone();
        if let Some((master, epoch)) = election.adopt.clone() {
            if next.master.as_ref() != Some(&master) {
                next.master_since = current.version + 1;
                next.master_error = None;
                self.fence.reset(now);
            }
            next.previous_master = current.master.clone().filter(|_| election.ahead);
            next.master = Some(master);
            next.epoch = epoch;
        }
        next
    }

    /// Enters into the topology the replicas of the master, and what they could not prove
    /// (`unproven`). Returns the nodes whose report is missing.
    fn find_replicas(
        &mut self,
        next: &mut Topology,
        current: &Topology,
        election: &Election,
        views: &[View],
        evidence: &Evidence<'_>,
        now: Instant,
    ) -> Vec<Node> {
        let node_reports = evidence.node_reports;
        // Before there is a master, the replicas of the likely one are asked along with it, not
        // after it.
        let likely = views.iter().max_by_key(|view| view.epoch);
        let master = next.master.clone();
        let Some(master) = master.or_else(|| likely.map(|view| view.master.clone())) else {
            return Vec::new();
        };
        let version = current.version + 1;
        let (mut replicas, unheard) =
            replicas::replicas(current, &master, views, node_reports, version, now);
        let mut ask = Vec::new();
        if next.master.is_some() {
            if let Some(previous_master) = &next.previous_master {
                replicas::keep_followers(&mut replicas, previous_master, node_reports);
            }
            let offsets = evidence.offsets;
            ask = self
                .catch_up
                .judge(&master, &mut replicas, node_reports, offsets, now);
            next.replicas = replicas;
        }
        if election.adopt.is_some() {
            // The old note stays until every replica has been asked again.
            let stated = current.unproven.clone().filter(|_| !unheard.is_empty());
            let unproven = election.unproven.clone();
            let trusted = match evidence.listed {
                Some(_) => "the configuration",
                None => "what the Sentinels say",
            };
            let hidden = || hidden(node_reports, trusted);
            next.unproven = unproven.or_else(hidden).or(stated);
        }
        ask.extend(unheard);
        ask
    }

    /// The replica that a failover promotes, if it may be adopted before it is announced: with
    /// [`Adopt::Promoted`], or in a coordinated failover.
    fn candidate(&self, current: &Topology, reports: &[SentinelReport<'_>]) -> Option<Node> {
        self.fence.raised()?;
        let mut promoted = reports.iter().filter_map(|report| {
            let answer = report.answer?;
            // The old master of a coordinated failover takes no writes any more, and the new one has
            // all of them. So nothing is lost by being early.
            if self.adopt != Adopt::Promoted && !answer.coordinated {
                return None;
            }
            let (replaced, _) = answer.failover_flag.as_ref()?;
            let ours = Some(replaced) == current.master.as_ref();
            let node = answer.view.as_ref().filter(|_| ours)?.promoted()?;
            election::was_in_step(current, node).then_some(node)
        });
        let first = promoted.next()?;
        // Two leaders promote different replicas: wait until the Sentinels announce one.
        promoted.all(|node| node == first).then(|| first.clone())
    }
}

/// The number of Sentinels of which the first master needs a majority: all that are known, until
/// each of them has answered or failed to; then those that answered.
fn electors(reports: &[SentinelReport<'_>], answered: usize) -> usize {
    let asked = reports.iter().all(|report| report.round > 0);
    if asked { answered } else { reports.len() }
}

/// The text for `unproven` if a replica does not tell which master it follows.
fn hidden(node_reports: &NodeReports, trusted: &str) -> Option<String> {
    let mut hidden = node_reports
        .iter()
        .filter(|(_, report)| **report == NodeReport::SomeReplica);
    let (node, _) = hidden.next()?;
    Some(format!(
        "{node} does not tell which master it follows (ROLE is refused), so {trusted} is trusted"
    ))
}

#[cfg(test)]
mod tests;
