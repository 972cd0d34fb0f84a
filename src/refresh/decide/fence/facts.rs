//! The facts that the rules of the fence use.

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::{
        node_report::{NodeReport, NodeReports},
        sentinel_report::{SentinelReport, views},
    },
    sentinel::{answer::Answer, reply::FAILOVER_IN_PROGRESS},
    topology::Topology,
};

#[derive(Debug)]
pub(super) struct Facts<'a> {
    pub(super) current: &'a Topology,
    /// What each known Sentinel said last.
    pub(super) reports: &'a [SentinelReport<'a>],
    pub(super) node_reports: &'a NodeReports,
    pub(super) now: Instant,
}

impl Facts<'_> {
    /// Whether the master confirms its role, or may not tell it.
    pub(super) fn master_confirms(&self) -> bool {
        let master = self.current.master.as_ref();
        let report = master.and_then(|master| self.node_reports.get(master));
        matches!(report, Some(NodeReport::Master | NodeReport::Unprovable(_)))
    }

    /// Whether something holds for most of the known Sentinels.
    pub(super) fn most(&self, fits: impl Fn(&SentinelReport<'_>) -> bool) -> bool {
        let count = self.reports.iter().filter(|report| fits(report)).count();
        count * 2 > self.reports.len()
    }

    /// Whether most of the Sentinels name this node under a higher epoch.
    ///
    /// Then the master was replaced. That its successor cannot be reached from here does not make the
    /// old one the master again.
    pub(super) fn is_named_by_most(&self, node: &Node) -> bool {
        let named = views(self.reports)
            .filter(|view| view.master == *node && view.epoch > self.current.epoch);
        named.count() * 2 > self.reports.len()
    }

    /// Whether a Sentinel reports that the master is being replaced. `served`: the master says that
    /// it is well, and replicas are connected to it.
    ///
    /// `o_down` alone says that most Sentinels cannot see the master. A wrong `auth-pass` of theirs
    /// is enough for that, so it does not count against a master that is served. A failover shows
    /// by its own flag.
    ///
    /// After a handover by the master itself the Sentinels still take the previous one for the
    /// master. If they fail that one over, they may choose any node.
    pub(super) fn reports_failover(&self, answer: &Answer, served: bool) -> bool {
        let (Some((node, flag)), Some(master)) = (&answer.failover_flag, &self.current.master)
        else {
            return false;
        };
        let in_progress = *flag == FAILOVER_IN_PROGRESS;
        if node == master {
            in_progress || !served
        } else {
            let promoted = answer.view.as_ref().and_then(|view| view.promoted());
            let previous = self.current.previous_master.as_ref();
            in_progress && previous == Some(node) && promoted != Some(master)
        }
    }
}
