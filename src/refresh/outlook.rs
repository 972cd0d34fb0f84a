//! What the refresh task tells those who wait for it: how far it has come, and whether there will be a
//! master.

use crate::{
    events::EventKind,
    node::Node,
    refresh::{
        Refresh, changes, progress,
        progress::Readiness,
        sentinels::{SentinelCounts, Turnout},
        vitals,
    },
    sentinel::answer::View,
};

impl Refresh {
    pub(super) fn report_progress(&mut self, views: &[View], waiting: bool) {
        let turnout = self.sentinels.turnout(self.round);
        let counts = self.sentinels.counts();
        if self.nodes.is_empty() {
            self.tell_of_sentinels(counts.reachable);
        }
        let (readiness, outlook) = if self.nodes.is_empty() {
            self.readiness(views, turnout, &counts)
        } else {
            self.readiness_of_nodes()
        };
        let masters = views.iter().map(|view| &view.master);
        let masters: Vec<&Node> = masters.chain(self.nodes.all().iter()).collect();
        let is_any_there = self.probe_cache.is_any_there(self.nodes.all().iter());
        let answered = turnout.answered > 0 || is_any_there;
        let heard = if self.nodes.is_empty() {
            Some(vitals::Turnout::Sentinels {
                known: counts.known,
                reachable: counts.reachable,
            })
        } else {
            // At each refresh what they said is forgotten for a moment.
            let is_told = is_any_there || self.probe_cache.has_heard(self.nodes.all().iter());
            is_told.then_some(vitals::Turnout::Nodes(is_any_there))
        };
        self.progress.update(progress::Update {
            readiness,
            outlook,
            counts,
            answered,
            turnout: heard,
            reports: self
                .sentinels
                .describe()
                .chain(self.probe_cache.describe(&masters))
                .collect(),
            completed: (turnout.is_enough() && !waiting).then_some(self.round),
        });
    }

    /// Tells that none answers any more, and that some do again.
    fn tell_of_sentinels(&mut self, reachable: usize) {
        let heard = reachable > 0;
        let before = self.heard;
        if before.is_none() && !heard {
            return;
        }
        self.heard = Some(heard);
        let news = match (before, heard) {
            (Some(true), false) => EventKind::SentinelsLost {
                reports: self.sentinels.describe().collect(),
            },
            (Some(false), true) => EventKind::SentinelsBack { reachable },
            _ => return,
        };
        changes::log(&news);
        self.tell(vec![news]);
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
