//! What the refresh task tells those who wait for it: how far it has come, and whether there will be a
//! master.

use crate::{
    node::Node,
    refresh::{
        Refresh, progress,
        progress::Readiness,
        sentinels::{SentinelCounts, Turnout},
    },
    sentinel::answer::View,
};

impl Refresh {
    pub(super) fn report_progress(&self, views: &[View], waiting: bool) {
        let turnout = self.sentinels.turnout(self.round);
        let counts = self.sentinels.counts();
        let (readiness, outlook) = if self.nodes.is_empty() {
            self.readiness(views, turnout, &counts)
        } else {
            self.readiness_of_nodes()
        };
        let masters = views.iter().map(|view| &view.master);
        let masters: Vec<&Node> = masters.chain(self.nodes.all().iter()).collect();
        let answered =
            turnout.answered > 0 || self.probe_cache.is_any_there(self.nodes.all().iter());
        self.progress.update(progress::Update {
            readiness,
            outlook,
            counts,
            answered,
            reports: self
                .sentinels
                .describe()
                .chain(self.probe_cache.describe(&masters))
                .collect(),
            completed: (turnout.is_enough() && !waiting).then_some(self.round),
        });
    }

    /// What is certain now, and what will be if no further answer comes.
    fn readiness(
        &self,
        views: &[View],
        turnout: Turnout,
        counts: &SentinelCounts,
    ) -> (Readiness, Readiness) {
        let masters = views.iter().map(|view| &view.master);
        let outlook = if let Some((node, error)) = self.probe_cache.refusal(masters) {
            Readiness::Refused(node.clone(), error.clone())
        } else if counts.reachable == 0 {
            let refused = self.sentinels.refuse_us();
            Readiness::NoSentinel { refused }
        } else if views.is_empty() {
            Readiness::UnknownMaster
        } else {
            Readiness::Open
        };
        let readiness = match &outlook {
            Readiness::Refused(..) => outlook.clone(),
            Readiness::NoSentinel { .. } | Readiness::UnknownMaster if turnout.is_complete() => {
                outlook.clone()
            }
            _ => Readiness::Open,
        };
        (readiness, outlook)
    }

    /// As [`readiness`](Self::readiness), without Sentinels. A node that refuses us may be the master as
    /// well as any other, until another one says that it is.
    fn readiness_of_nodes(&self) -> (Readiness, Readiness) {
        let refusal = self.probe_cache.refusal(self.nodes.all().iter());
        let outlook = match refusal {
            Some((node, error)) if self.handle.snapshot().master.is_none() => {
                Readiness::Refused(node.clone(), error.clone())
            }
            _ => Readiness::Open,
        };
        if self.probe_cache.has_heard(self.nodes.all().iter()) {
            (outlook.clone(), outlook)
        } else {
            (Readiness::Open, outlook)
        }
    }
}
