//! Which answer to believe: pure rules over what the Sentinels and the nodes themselves say.
//!
//! Sentinels nominate, the node itself proves. An address comes from `GET-MASTER-ADDR-BY-NAME`, its
//! epoch from `SENTINEL MASTER`; the highest epoch whose node proves to be master wins.

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    node::Node,
    sentinel::{answer::View, flags::Flag},
    topology::{Replica, Topology, excluded::Excluded},
};

/// How long a replica that follows our master is read from although no Sentinel lists it: one that was
/// just reset lists a replica as soon as the master's INFO names it, and that one is up to date at once
/// but for replicas that are connecting anew.
const UNLISTED_GRACE: Duration = Duration::from_secs(5);

/// What a node says, or fails to say, about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NodeReport {
    /// It says it is a master.
    Master,
    /// It says it replicates from `master`; `link` is the state of its replication link where that
    /// is not `connected`.
    Replica {
        master: Node,
        link: Option<String>,
        /// Whether nothing tells which server `master` is: a name that only the replica can resolve.
        unclear: bool,
    },
    /// It is a replica by `HELLO`, and its ACL keeps `ROLE`, hence the link, from us.
    SomeReplica,
    /// It can be reached and may not tell its role.
    Unprovable(String),
    /// It cannot be reached, or does not answer as a data node does.
    Failed(String),
}

/// What is known of nodes from themselves.
pub(crate) type NodeReports = HashMap<Node, NodeReport>;

/// A node that Sentinels say is the master.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Claim<'a> {
    node: &'a Node,
    epoch: u64,
    votes: usize,
}

/// The master to go on with, and what is still to be asked before more can be said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Election {
    /// The master with its epoch; `None` keeps what is.
    pub(crate) adopt: Option<(Node, u64)>,
    /// Why the adopted master has not proven its role itself, where it has not.
    pub(crate) unproven: Option<String>,
    /// Whether it is adopted before the Sentinels have announced it.
    pub(crate) ahead: bool,
    /// Nodes whose own word is needed.
    pub(crate) ask: Vec<Node>,
    /// The node that would be adopted if it said that it is a master.
    pub(crate) awaited: Option<Node>,
    /// Whether a claim stands that could be neither adopted nor put aside, so that it is worth
    /// looking again soon.
    pub(crate) contested: bool,
}

/// Decides who is master, from the latest word of each Sentinel that answered. `promoted` is the
/// replica that is known to take the master's place before it is announced. `electors` are the
/// Sentinels of which the first master needs most: those that are known, and once all of them have
/// answered or failed to those that answered.
///
/// It keeps the epoch of its predecessor, as the elder of the two: what the Sentinels announce under
/// a higher epoch counts before it, and the predecessor only as somebody under a lower epoch would.
pub(crate) fn elect(
    current: &Topology,
    views: &[View],
    node_reports: &NodeReports,
    promoted: Option<&Node>,
    electors: usize,
) -> Election {
    let mut election = announced(current, views, node_reports, electors);
    if current.master.is_none() && election.adopt.is_none() && electors == views.len() {
        choose_among_strangers(views, node_reports, &mut election);
    }
    let adopt = election.adopt.as_ref();
    let newer = adopt.is_some_and(|(_, epoch)| *epoch > current.epoch);
    match promoted {
        Some(node) if !newer && node_reports.get(node) == Some(&NodeReport::Master) => Election {
            adopt: Some((node.clone(), current.epoch)),
            ahead: true,
            unproven: None,
            ..election
        },
        _ => election,
    }
}

/// Decides by what the Sentinels announce.
fn announced(
    current: &Topology,
    views: &[View],
    node_reports: &NodeReports,
    electors: usize,
) -> Election {
    let mut election = Election::default();
    let mut floor = current.epoch;
    // A later one does not wait for Sentinels that are gone: those that answer decide.
    let voters = if current.master.is_none() {
        electors
    } else {
        views.len()
    };
    for claim in claims(views) {
        let majority = claim.votes * 2 > voters;
        if !is_candidate(current, floor, &claim, majority)
            || !is_vouched_for(current, claim.node, views.iter(), voters)
        {
            continue;
        }
        let incumbent = current.master.as_ref() == Some(claim.node);
        let ask = &mut election.ask;
        match node_reports.get(claim.node) {
            Some(NodeReport::Master) if replaces(current, floor, &claim, node_reports, ask) => {}
            Some(NodeReport::Unprovable(reason))
                if majority && replaces(current, floor, &claim, node_reports, ask) =>
            {
                election.unproven = Some(reason.clone());
            }
            // Known before and still named by the Sentinels: being unreachable for a moment does
            // not cost a master its place, only another node's proof does. A lone Sentinel that
            // still names it must not stand in the way of that either.
            node_report if incumbent => {
                if node_report.is_none() && claim.epoch != current.epoch {
                    ask.push(claim.node.clone());
                }
                floor = floor.max(claim.epoch);
                continue;
            }
            node_report => {
                election.contested = true;
                if node_report.is_none() {
                    election.ask.push(claim.node.clone());
                }
                if claim.epoch > floor && node_report != Some(&NodeReport::Master) {
                    let awaited = &mut election.awaited;
                    awaited.get_or_insert_with(|| claim.node.clone());
                }
                continue;
            }
        }
        election.unproven = election
            .unproven
            .or_else(|| disagreement(claim.node, views, voters));
        election.adopt = Some((claim.node.clone(), claim.epoch));
        return election;
    }
    election
}

/// The claims, most credible first: by epoch, then by how many Sentinels make them.
fn claims(views: &[View]) -> Vec<Claim<'_>> {
    let mut claims: Vec<Claim<'_>> = Vec::new();
    for view in views {
        match claims.iter_mut().find(|claim| *claim.node == view.master) {
            Some(claim) => {
                claim.votes += 1;
                claim.epoch = claim.epoch.max(view.epoch);
            }
            None => claims.push(Claim {
                node: &view.master,
                epoch: view.epoch,
                votes: 1,
            }),
        }
    }
    claims.sort_by_key(|claim| std::cmp::Reverse((claim.epoch, claim.votes)));
    claims
}

/// Whether a claim is worth a look at its node at all.
///
/// A lower epoch is what a restarted or partitioned Sentinel says, so a single one never counts.
/// But `SENTINEL REMOVE` and `MONITOR` start epochs anew: when most agree, it is the deployment
/// that changed and not one Sentinel that lags.
fn is_candidate(current: &Topology, floor: u64, claim: &Claim<'_>, majority: bool) -> bool {
    claim.epoch > floor
        || majority
        || (claim.epoch == floor && current.master.as_ref() == Some(claim.node))
}

/// Whether a node belongs to our deployment, so that it may become the master.
///
/// One that was seen in step with our master has its data. Any other may be the master of somebody
/// else, where a single Sentinel that is confused or lies must not lead us: most of those that
/// answered must know it, as the master or as a replica. So a deployment can be restored under
/// another address.
pub(crate) fn is_vouched_for<'a>(
    current: &Topology,
    node: &Node,
    views: impl Iterator<Item = &'a View>,
    voters: usize,
) -> bool {
    if current.master.as_ref() == Some(node) || was_in_step(current, node) {
        return true;
    }
    is_known_to_most(node, views, voters)
}

fn is_known_to_most<'a>(node: &Node, views: impl Iterator<Item = &'a View>, voters: usize) -> bool {
    let knows = |view: &&View| {
        view.master == *node || view.replicas.iter().any(|replica| replica.node == *node)
    };
    views.filter(knows).count() * 2 > voters
}

/// What is to be stated of a master that not even most of the Sentinels know.
fn disagreement(master: &Node, views: &[View], voters: usize) -> Option<String> {
    let named: BTreeSet<&Node> = views.iter().map(|view| &view.master).collect();
    let agreed = is_known_to_most(master, views.iter(), voters);
    (!agreed).then(|| {
        let count = named.len();
        format!("the Sentinels name {count} masters, and most of them do not know {master}")
    })
}

/// The first master, where all Sentinels that can answer have, and no node is known to most of them:
/// the one that most replicas follow. Every pool that meets these Sentinels must choose the same one,
/// so it waits until each node that is named has been asked.
fn choose_among_strangers(views: &[View], node_reports: &NodeReports, election: &mut Election) {
    let claims = claims(views);
    election.contested = !claims.is_empty();
    let listed = views.iter().flat_map(|view| &view.replicas);
    let listed = listed.filter(|replica| !replica.flags.has(Flag::SubjectivelyDown));
    let listed: BTreeSet<&Node> = listed.map(|replica| &replica.node).collect();
    let named = claims
        .iter()
        .map(|claim| claim.node)
        .chain(listed.iter().copied());
    let unasked: BTreeSet<&Node> = named
        .filter(|node| !node_reports.contains_key(*node))
        .collect();
    if !unasked.is_empty() {
        election.ask = unasked.into_iter().cloned().collect();
        return;
    }
    let followers = |node: &Node| {
        let follow = |replica: &&&Node| names_as_master(node_reports.get(*replica), node);
        listed.iter().filter(follow).count()
    };
    let chosen = claims
        .iter()
        .filter(|claim| node_reports.get(claim.node) == Some(&NodeReport::Master))
        .max_by_key(|claim| {
            let last = std::cmp::Reverse(claim.node);
            (followers(claim.node), claim.epoch, claim.votes, last)
        });
    if let Some(claim) = chosen {
        election.contested = false;
        election.adopt = Some((claim.node.clone(), claim.epoch));
        election.unproven = disagreement(claim.node, views, views.len());
    }
}

/// Whether this node was seen to follow our master, and to have its data.
pub(crate) fn was_in_step(current: &Topology, node: &Node) -> bool {
    let mut replicas = current.replicas.iter();
    replicas.any(|replica| replica.node == *node && replica.synced)
        || current.previous_master.as_ref() == Some(node)
}

/// Whether a node that proved to be master, or may not prove anything, takes the place of the
/// current one, whose epoch is `floor`.
fn replaces(
    current: &Topology,
    floor: u64,
    claim: &Claim<'_>,
    node_reports: &NodeReports,
    ask: &mut Vec<Node>,
) -> bool {
    let Some(old) = current.master.as_ref().filter(|old| *old != claim.node) else {
        return true;
    };
    // The predecessor of one that was adopted before it was announced is still announced.
    let outranked = claim.epoch == floor && current.previous_master.is_some();
    if claim.epoch >= floor && !outranked {
        return true;
    }
    match node_reports.get(old) {
        Some(NodeReport::Master) => false,
        // Where neither may tell its role, most Sentinels are all there is to go by.
        Some(NodeReport::Unprovable(_)) => {
            !matches!(node_reports.get(claim.node), Some(NodeReport::Master))
        }
        Some(_) => true,
        None => {
            ask.push(old.clone());
            false
        }
    }
}

/// Every node the Sentinels, or the last snapshot, call a replica of `master`, each with the reason
/// that keeps it from being read, and the nodes whose own word is still missing.
pub(crate) fn replicas(
    current: &Topology,
    master: &Node,
    views: &[View],
    node_reports: &NodeReports,
    version: u64,
    now: Instant,
) -> (Vec<Replica>, Vec<Node>) {
    let views: Vec<_> = views.iter().filter(|view| view.master == *master).collect();
    let mut nodes: Vec<&Node> = views
        .iter()
        .flat_map(|view| view.replicas.iter().map(|replica| &replica.node))
        .chain(current.replicas.iter().map(|replica| &replica.node))
        // The deposed master is listed as a replica only from `+switch-master` on; knowing it at
        // once lets it be read as soon as it follows the new one.
        .chain(current.master.as_ref())
        .filter(|node| *node != master)
        .collect();
    nodes.sort_unstable();
    nodes.dedup();

    let blind = are_blind(current, master, &views, node_reports);
    let mut ask = Vec::new();
    let mut replicas = Vec::with_capacity(nodes.len());
    for node in nodes {
        let before = current.replicas.iter().find(|r| r.node == *node);
        let nomination = nomination(node, master, &views);
        if nomination.is_none() && !follows(node_reports.get(node), master) {
            // Nobody lists it any more and it does not follow our master: it is gone. Without its
            // own word it stays, since a Sentinel that was just reset lists nobody for a while, and
            // where no Sentinel can be asked, that it is not listed means nothing.
            let unlisted = node_reports.contains_key(node) && !views.is_empty();
            if unlisted || before.is_none() {
                continue;
            }
        }
        let unlisted = nomination.is_none() && is_left_off(&views);
        let unlisted = unlisted.then(|| before.and_then(|before| before.unlisted).unwrap_or(now));
        if unlisted.is_some_and(|since| now - since >= UNLISTED_GRACE) {
            continue;
        }
        // A Sentinel that calls a master down which is well cannot sign in, or cannot reach this side.
        let objection = nomination
            .flatten()
            .filter(|objection| !(blind && *objection == Excluded::SubjectivelyDown));
        let excluded = match (objection, node_reports.get(node)) {
            // Never dial what Sentinel gave up: clusters leave such ghosts behind for ever.
            (Some(objection), _) if is_final(&objection) => Some(objection),
            // What Sentinel saw in its last INFO may be 10 s old, but a node that may not tell whom it
            // follows cannot refute it.
            (Some(objection), Some(NodeReport::SomeReplica | NodeReport::Unprovable(_))) => {
                Some(objection)
            }
            // Any other node knows better itself.
            (_, Some(node_report)) => exclusion(node_report, master),
            (objection, None) => {
                ask.push(node.clone());
                // Right after a switch every replica is unproven; the last good word stands until
                // the node itself has spoken.
                before.map_or_else(
                    || Some(objection.unwrap_or(Excluded::NotProven)),
                    |replica| replica.excluded.clone(),
                )
            }
        };
        let in_step = follows(node_reports.get(node), master);
        replicas.push(Replica {
            node: node.clone(),
            excluded,
            since: before.map_or(version, |replica| replica.since),
            synced: in_step || before.is_some_and(|replica| replica.synced),
            // Until the node or its master has spoken again, what was keeps.
            orphaned: !node_reports.contains_key(node)
                && before.is_some_and(|replica| replica.orphaned),
            unlisted,
        });
    }
    keep_orphans(&mut replicas, master, node_reports, &mut ask);
    (replicas, ask)
}

/// Whether most Sentinels call the master down, and it is well.
fn are_blind(
    current: &Topology,
    master: &Node,
    views: &[&View],
    node_reports: &NodeReports,
) -> bool {
    let well = match node_reports.get(master) {
        // Between two looks what it said last stands.
        None => current.master.as_ref() == Some(master) && current.master_error.is_none(),
        node_report => node_report == Some(&NodeReport::Master),
    };
    well && views.iter().filter(|view| view.master_down).count() * 2 > views.len()
}

/// Whether most Sentinels know which replicas there are, so that one that they do not list was taken
/// off their lists (`replica-announced no`).
fn is_left_off(views: &[&View]) -> bool {
    views.iter().filter(|view| view.informed).count() * 2 > views.len()
}

/// A master that dies leaves every replica without a link at once. They are all there is to read
/// from until the next one is elected, so as long as the master does not prove that it is there, a
/// replica that has its data and only lost its link stays readable.
fn keep_orphans(
    replicas: &mut [Replica],
    master: &Node,
    node_reports: &NodeReports,
    ask: &mut Vec<Node>,
) {
    if node_reports.get(master) == Some(&NodeReport::Master) {
        return;
    }
    for replica in replicas.iter_mut().filter(|replica| replica.synced) {
        // One that copies its master's data anew may have thrown its own away.
        let lost_its_link = match &replica.excluded {
            Some(Excluded::Syncing { state }) => state != "sync",
            Some(Excluded::LinkDown { .. }) => true,
            _ => false,
        };
        if lost_its_link {
            replica.excluded = None;
            replica.orphaned = true;
        }
    }
    if replicas.iter().any(|replica| replica.orphaned) && !node_reports.contains_key(master) {
        ask.push(master.clone());
    }
}

/// As long as a new master is not announced, the other replicas follow the old one. They have all that
/// it was sent before writes to it ended, so they stay readable.
pub(crate) fn keep_followers(
    replicas: &mut [Replica],
    previous_master: &Node,
    node_reports: &NodeReports,
) {
    for replica in replicas.iter_mut().filter(|replica| replica.synced) {
        let node_report = node_reports.get(&replica.node);
        let Some(NodeReport::Replica { link, .. }) =
            node_report.filter(|_| names_as_master(node_report, previous_master))
        else {
            continue;
        };
        if link.as_deref() != Some("sync") {
            replica.excluded = None;
            replica.orphaned = link.is_some();
        }
    }
}

/// Whether the node itself need not be asked.
fn is_final(objection: &Excluded) -> bool {
    matches!(objection, Excluded::IsMaster | Excluded::SubjectivelyDown)
}

/// `None` where no Sentinel lists the node; else whether most of those that do give a reason
/// against it, so that one confused Sentinel cannot take a replica away. A reason that the node
/// may not answer must itself be that of most.
fn nomination(node: &Node, master: &Node, views: &[&View]) -> Option<Option<Excluded>> {
    let listed: Vec<_> = views
        .iter()
        .filter_map(|view| view.replicas.iter().find(|replica| replica.node == *node))
        .map(|replica| replica.excluded(master))
        .collect();
    if listed.is_empty() {
        return None;
    }
    let most = |count: usize| count * 2 > listed.len();
    let (last, soft): (Vec<_>, Vec<_>) = listed.iter().flatten().partition(|o| is_final(o));
    Some(if most(last.len()) {
        last.first().copied().cloned()
    } else if most(last.len() + soft.len()) {
        soft.first().copied().cloned()
    } else {
        None
    })
}

/// Whether a node says that it is a replica of this one, its link up or not.
pub(crate) fn names_as_master(node_report: Option<&NodeReport>, node: &Node) -> bool {
    match node_report {
        Some(NodeReport::Replica { master, .. }) => master == node,
        _ => false,
    }
}

fn follows(node_report: Option<&NodeReport>, master: &Node) -> bool {
    node_report.is_some_and(|node_report| exclusion(node_report, master).is_none())
}

/// What a node's own word says against reading from it.
pub(crate) fn exclusion(node_report: &NodeReport, our_master: &Node) -> Option<Excluded> {
    match node_report {
        NodeReport::Replica {
            master,
            link,
            unclear,
        } => {
            // A name that cannot be compared is no reason against what the Sentinels say.
            if master != our_master && !unclear {
                return Some(Excluded::WrongMaster {
                    follows: master.to_string(),
                });
            }
            link.as_ref().map(|state| Excluded::Syncing {
                state: state.clone(),
            })
        }
        NodeReport::SomeReplica => None,
        NodeReport::Master => Some(Excluded::ReportsMaster),
        NodeReport::Unprovable(_) => None,
        NodeReport::Failed(error) => Some(Excluded::Unreachable {
            error: error.clone(),
        }),
    }
}

#[cfg(test)]
mod tests;
