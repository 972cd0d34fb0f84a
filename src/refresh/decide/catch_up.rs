//! Which replicas have yet to apply what their master had when their link came up. Pure.
//!
//! A link that is up does not mean that the data is there: Redis 8 and Valkey 8 copy a large data set
//! over a second channel, and the replica serves what it had before, without `LOADING`, for as long as it
//! applies what has accumulated meanwhile.

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports},
    topology::{Replica, excluded::Excluded},
};

/// How far the data of each node goes, and when it said so.
pub(crate) type Offsets = HashMap<Node, (u64, Instant)>;

/// What the master said so shortly before the link was seen up counts as said at that moment.
const SAME_MOMENT: Duration = Duration::from_millis(100);
/// A replica is mostly a millisecond behind, so it is asked again at once this often; after that it has
/// much to apply, and is asked at this interval.
const QUICK_QUESTIONS: u32 = 5;
const INTERVAL: Duration = Duration::from_millis(50);

/// A replica whose link has come up.
#[derive(Debug, Clone, Copy)]
struct Behind {
    since: Instant,
    /// What the master had then; `None` until it has said so.
    target: Option<u64>,
    /// How often the replica has said that it has not come so far, and when it did last.
    answers: u32,
    at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// `None` is a replica that has caught up since its link came up.
    replicas: HashMap<Node, Option<Behind>>,
}

impl CatchUp {
    /// Leaves out the replicas that have yet to catch up, and returns whom to ask how far they are.
    pub(crate) fn judge(
        &mut self,
        master: &Node,
        replicas: &mut [Replica],
        node_reports: &NodeReports,
        offsets: &Offsets,
        now: Instant,
    ) -> Vec<Node> {
        self.replicas
            .retain(|node, _| replicas.iter().any(|replica| replica.node == *node));
        let mut ask = Vec::new();
        for replica in replicas {
            match node_reports.get(&replica.node) {
                Some(NodeReport::Replica { link: None, .. } | NodeReport::SomeReplica) => {}
                // Without its own word the last one stands.
                None => continue,
                Some(_) => {
                    self.replicas.remove(&replica.node);
                    continue;
                }
            }
            let before = Some(Behind {
                since: now,
                target: None,
                answers: 0,
                at: None,
            });
            let state = self.replicas.entry(replica.node.clone()).or_insert(before);
            let Some(behind) = state else { continue };
            let told = match node_reports.get(master) {
                Some(NodeReport::Master) => offsets.contains_key(master),
                node_report => node_report.is_none(),
            };
            // Otherwise there is nobody to say how far it must come.
            if !told || behind.is_done(master, &replica.node, offsets, now, &mut ask) {
                *state = None;
            } else if replica.excluded.is_none() {
                replica.excluded = Some(Excluded::CatchingUp);
            }
        }
        ask
    }
}

impl Behind {
    fn is_done(
        &mut self,
        master: &Node,
        replica: &Node,
        offsets: &Offsets,
        now: Instant,
        ask: &mut Vec<Node>,
    ) -> bool {
        if self.target.is_none() {
            match offsets.get(master) {
                Some((offset, at)) if *at + SAME_MOMENT >= self.since => {
                    self.target = Some(*offset)
                }
                _ => ask.push(master.clone()),
            }
        }
        // Nodes that may not say ROLE do not tell.
        let Some((offset, at)) = offsets.get(replica) else {
            return true;
        };
        let Some(target) = self.target else {
            return false;
        };
        if *offset >= target {
            return true;
        }
        let answered = self.at != Some(*at);
        if answered {
            self.at = Some(*at);
            self.answers += 1;
        }
        if answered && self.answers <= QUICK_QUESTIONS || now - *at >= INTERVAL {
            ask.push(replica.clone());
        }
        false
    }
}

#[cfg(test)]
mod tests;
