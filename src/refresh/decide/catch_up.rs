//! Which replicas have yet to apply what their master had when their link came up. Pure.
//!
//! A link that is up does not mean that the data is there. Redis 8 and Valkey 8 copy a large data
//! set over a second channel. The replica serves its old data, without `LOADING`, until it has
//! applied the writes that piled up meanwhile.

use std::collections::HashMap;

use tokio::time::{Duration, Instant};

use crate::{
    node::Node,
    refresh::decide::node_report::{NodeReport, NodeReports},
    topology::{Replica, excluded::Excluded},
};

/// The replication offset of each node, and when it reported it.
pub(crate) type Offsets = HashMap<Node, (u64, Instant)>;

/// An offset of the master counts if it was reported at most this long before the link was seen up.
const SAME_MOMENT: Duration = Duration::from_millis(100);
/// Most replicas are a millisecond behind, so a replica is asked again at once, this many times.
const QUICK_QUESTIONS: u32 = 5;
/// A replica that is then still behind has much to apply, and is asked at this interval.
const INTERVAL: Duration = Duration::from_millis(50);

/// A replica whose link has come up.
#[derive(Debug)]
struct Behind {
    since: Instant,
    /// The master's offset at that time; `None` until the master has reported it.
    target: Option<u64>,
    /// How often the replica reported a smaller offset, and when it did last.
    answers: u32,
    at: Option<Instant>,
}

#[derive(Debug, Default)]
pub(crate) struct CatchUp {
    /// `None`: the replica has caught up since its link came up.
    replicas: HashMap<Node, Option<Behind>>,
}

impl CatchUp {
    /// Excludes the replicas that have yet to catch up, and returns the nodes to ask for their
    /// offsets.
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
                // Its last report counts until it has been asked again.
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
            // A master that does not tell its offset cannot say how far the replica must come.
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
        // A node that may not run ROLE does not tell its offset.
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
