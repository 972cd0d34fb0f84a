//! The fence: which signs say that the master is being replaced, and when they are over. Pure.
//!
//! A *sign* is a failover event of a Sentinel or a failover flag in its answer. Events can be late,
//! lost or forged. So a sign counts only until the same Sentinel is asked again and does not
//! confirm it. A Sentinel that keeps giving false signs can hold up writes only for a bounded time.
//!
//! There are three more signs: a replica says that it is a master, a Sentinel names another master
//! under a higher epoch, the master says that it is a replica.

pub(crate) mod claim;
mod facts;
mod promotions;
mod rivals;
mod sign;

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::{
        Evidence,
        fence::{
            facts::Facts,
            promotions::{Promotion, Promotions},
            rivals::Refuted,
            sign::{Sign, Signs},
        },
        node_report::{NodeReport, NodeReports, names_as_master},
        sentinel_report::SentinelReport,
        trust::Trust,
        without_sentinels::{Consensus, consensus},
    },
    sentinel::{answer::Answer, event::Event, id::SentinelId},
    status::SignKind,
    topology::{Replica, Topology},
};

/// If a failover promotes a replica at all, it does so within this time after its first sign:
/// Sentinels wait for at most one second, elect their leader within ten, and promote about one
/// second later.
const ELECTION: Duration = Duration::from_secs(12);

/// How long two masters are waited for to become one where there are no Sentinels. Somebody who promotes
/// a replica with a few commands is done by then. One who splits it off holds up writes only this long.
const PROMOTION_BY_HAND: Duration = Duration::from_secs(3);

/// The fence, while it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) kind: SignKind,
    /// The first sign. Later ones are part of the same failover.
    pub(crate) sign: String,
    pub(crate) since: Instant,
}

/// What the fence did so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    pub(crate) raised: u64,
    pub(crate) false_signs: u64,
    /// How long it was up, not counting the present time.
    pub(crate) held: Duration,
}

/// The signs of a failover, and how far each Sentinel is trusted.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    signs: Signs,
    promotions: Promotions,
    /// Whether the master said last that it is a replica.
    demoted: bool,
    /// Whether the master says that it is one, and replicas are connected to it.
    served: bool,
    trust: BTreeMap<SentinelId, Trust>,
    refuted: Refuted,
    /// Since when at most half of the Sentinels answer.
    minority_since: Option<Instant>,
    raised: Option<Raised>,
    tally: Tally,
}

impl Fence {
    pub(crate) fn raised(&self) -> Option<&Raised> {
        self.raised.as_ref()
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// Replicas that say they are masters, and are not about to replace ours.
    pub(crate) fn dismissed(&self) -> HashSet<Node> {
        let dismissed = self.promotions.nodes_where(Promotion::is_dismissed);
        dismissed.into_iter().collect()
    }

    /// Records an event if it is a sign against the current master. `round` is the first refresh that
    /// begins after it.
    pub(crate) fn note(
        &mut self,
        sentinel: &SentinelId,
        event: &Event,
        current: &Topology,
        round: u64,
        now: Instant,
    ) {
        let ours = current.master.is_some() && event.master == current.master
            || current.previous_master.is_some()
                && event.master == current.previous_master
                && event.kind.begins_failover();
        let trust = self.trust.get(sentinel);
        let mistrusted = trust.is_some_and(|trust| trust.is_mistrusted(now));
        if !ours || !event.kind.is_sign() || mistrusted {
            return;
        }
        self.signs
            .entry(sentinel.clone())
            .or_insert_with(|| Sign::published(sentinel, event.kind, round, now))
            .add_step(event.kind, round);
    }

    /// Another master was adopted, so every sign against the previous one is over.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.signs.clear();
        self.promotions.clear();
        self.demoted = false;
        self.refuted.clear();
        for trust in self.trust.values_mut() {
            trust.clear();
        }
        self.turn(None, now);
    }

    /// Records how many Sentinels answer at all, and what the nodes say.
    pub(crate) fn observe(&mut self, current: &Topology, evidence: &Evidence<'_>, now: Instant) {
        let &Evidence {
            reports,
            node_reports,
            ..
        } = evidence;
        let facts = Facts {
            current,
            reports,
            node_reports,
            now,
        };
        self.promotions.observe(current, evidence, now);
        self.served = is_served(&facts, evidence);
        let master = current.master.as_ref();
        match master.and_then(|master| node_reports.get(master)) {
            Some(NodeReport::Replica { .. } | NodeReport::SomeReplica) => self.demoted = true,
            Some(NodeReport::Master | NodeReport::Unprovable(_)) => self.demoted = false,
            Some(NodeReport::Failed(_)) | None => {}
        }
        let minority = !facts.most(|report| report.answer.is_some());
        self.minority_since = minority.then(|| self.minority_since.unwrap_or(now));
        let known =
            |sentinel: &SentinelId| reports.iter().any(|report| report.sentinel == sentinel);
        self.trust.retain(|sentinel, _| known(sentinel));
    }

    /// The replica that has become the master while too few Sentinels answer to tell.
    pub(crate) fn moved(
        &self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> Option<Node> {
        let facts = Facts {
            current,
            reports,
            node_reports,
            now,
        };
        if self.raised.is_none() || !self.are_sentinels_gone(&facts) {
            return None;
        }
        match consensus(current, node_reports) {
            Consensus::Moved(node) => Some(node),
            _ => None,
        }
    }

    /// Why the master of `current` must not be written to now; `None` if it may. `reports` is what
    /// each known Sentinel said last. While the fence is up it keeps its first reason.
    pub(crate) fn judge(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> Option<String> {
        let reason = self.reason(&Facts {
            current,
            reports,
            node_reports,
            now,
        });
        self.turn(reason, now);
        self.raised.as_ref().map(|raised| raised.sign.clone())
    }

    fn turn(&mut self, reason: Option<(SignKind, String)>, now: Instant) {
        match (reason, &self.raised) {
            (Some((kind, sign)), None) => {
                self.tally.raised += 1;
                let since = now;
                self.raised = Some(Raised { kind, sign, since });
            }
            (None, Some(raised)) => {
                self.tally.held += now - raised.since;
                self.raised = None;
            }
            _ => {}
        }
    }

    fn reason(&mut self, facts: &Facts<'_>) -> Option<(SignKind, String)> {
        let master = facts.current.master.as_ref()?;
        self.refuted.observe(facts);
        self.note_reports(facts);
        self.take_answers_for_signs(facts);
        if facts.master_confirms() {
            self.drop_unconfirmed(facts);
        }
        if let Some(first) = self.signs.values().min_by_key(|sign| sign.since) {
            return Some((first.kind, first.text.clone()));
        }
        if let Some(node) = self.promotions.open() {
            return Some((SignKind::Promotion, format!("{node} says it is a master")));
        }
        let mut rivals = facts.reports.iter().filter_map(|report| {
            let rival = self.refuted.rival(report.answer?, facts)?;
            Some((report.sentinel, rival))
        });
        if let Some((sentinel, rival)) = rivals.next() {
            return Some((SignKind::OtherMaster, format!("{sentinel} names {rival}")));
        }
        let demoted = || (SignKind::Demotion, format!("{master} says it is a replica"));
        self.demoted.then(demoted)
    }

    /// Records which Sentinels report now that the master is being replaced.
    fn note_reports(&mut self, facts: &Facts<'_>) {
        let now = facts.now;
        for report in facts.reports {
            let answer = report.answer;
            let reports = answer.is_some_and(|answer| facts.reports_failover(answer, self.served));
            if reports || self.trust.contains_key(report.sentinel) {
                self.trust_in(report.sentinel, now)
                    .record_report(reports, now);
            }
        }
    }

    fn trust_in(&mut self, sentinel: &SentinelId, now: Instant) -> &mut Trust {
        let trust = self.trust.entry(sentinel.clone());
        trust.or_insert_with(|| Trust::new(now))
    }

    /// Makes a sign of the failover flag in an answer, in case no event was heard.
    fn take_answers_for_signs(&mut self, facts: &Facts<'_>) {
        let confirms = facts.master_confirms();
        for report in facts.reports {
            let Some(answer) = report.answer else {
                continue;
            };
            let Some((node, flag)) = &answer.failover_flag else {
                continue;
            };
            if !facts.reports_failover(answer, self.served)
                || confirms && self.is_discounted(report.sentinel, answer, facts)
            {
                continue;
            }
            let sign = self.signs.entry(report.sentinel.clone());
            let sign = sign.or_insert_with(|| Sign::answered(report, node, flag, facts.now));
            sign.confirmed |= report.round >= sign.round;
        }
    }

    /// Drops the signs that their Sentinels do not confirm any more. Called while the master confirms
    /// its role.
    fn drop_unconfirmed(&mut self, facts: &Facts<'_>) {
        let dismissed = self
            .promotions
            .nodes_where(|promotion| self.is_by_hand(promotion, facts));
        let over = self.signs_that_are_over(facts);
        self.promotions.dismiss(&dismissed);
        for sentinel in over {
            let sign = self.signs.remove(&sentinel);
            if sign.is_some_and(|sign| !sign.confirmed) {
                self.tally.false_signs += 1;
                self.trust_in(&sentinel, facts.now)
                    .record_false_alarm(facts.now);
            }
        }
    }

    /// Whether a promotion is not part of a failover: no Sentinel leads one, or the leader is gone
    /// and most of the others know of none after the time of an election.
    fn is_by_hand(&self, promotion: &Promotion, facts: &Facts<'_>) -> bool {
        // Where there are no Sentinels every promotion is by hand, and may be meant to replace the
        // master.
        if facts.reports.is_empty() {
            return facts.now - promotion.since >= PROMOTION_BY_HAND;
        }
        // A Sentinel that may not tell its flags would not say that it leads one.
        let denies = |report: &SentinelReport<'_>| {
            report.answer.is_some_and(Answer::tells_epoch)
                && self.is_clean(report, promotion.round, facts)
        };
        facts.reports.iter().all(denies)
            || facts.now - promotion.since >= ELECTION
                && self.are_most_clean(promotion.round, facts)
    }

    fn signs_that_are_over(&self, facts: &Facts<'_>) -> Vec<SentinelId> {
        // A replica reports `master`. The leader that promoted it may be gone, and the other
        // Sentinels may still hear of it.
        let promoted = facts.current.replicas.iter().any(|replica| {
            facts.node_reports.get(&replica.node) == Some(&NodeReport::Master)
                && !self.promotions.is_dismissed(&replica.node)
        });
        let stays = self.are_sentinels_gone(facts)
            && consensus(facts.current, facts.node_reports) == Consensus::Stays;
        let is_over = |sentinel: &SentinelId, sign: &Sign| {
            let settled = !promoted || facts.now - sign.since >= ELECTION;
            let mut reports = facts.reports.iter();
            match reports.find(|report| report.sentinel == sentinel) {
                Some(report) if report.answer.is_some() || report.round < sign.round => {
                    settled && self.is_clean(report, sign.round, facts)
                }
                // It cannot be asked any more: most of the others decide, or the nodes.
                _ => stays || settled && self.are_most_clean(sign.round, facts),
            }
        };
        let over = self.signs.iter();
        let over = over.filter(|(sentinel, sign)| is_over(sentinel, sign));
        over.map(|(sentinel, _)| sentinel.clone()).collect()
    }

    /// Whether too few Sentinels have answered for so long that a failover would have promoted its
    /// replica by now, and none of those few reports one.
    fn are_sentinels_gone(&self, facts: &Facts<'_>) -> bool {
        let mut answered = facts
            .reports
            .iter()
            .filter(|report| report.answer.is_some());
        self.minority_since
            .is_some_and(|since| facts.now - since >= ELECTION)
            && answered.all(|report| self.is_clean(report, 0, facts))
    }

    fn are_most_clean(&self, round: u64, facts: &Facts<'_>) -> bool {
        facts.most(|report| self.is_clean(report, round, facts))
    }

    /// Whether a Sentinel answered in this refresh or later, and reports neither a failover nor
    /// another master.
    fn is_clean(&self, report: &SentinelReport<'_>, round: u64, facts: &Facts<'_>) -> bool {
        let Some(answer) = report.answer else {
            return false;
        };
        let replaced = facts.reports_failover(answer, self.served)
            && !self.is_discounted(report.sentinel, answer, facts);
        report.round >= round && !replaced && self.refuted.rival(answer, facts).is_none()
    }

    /// Whether the failover that a Sentinel reports does not count while the master confirms its
    /// role.
    ///
    /// A Sentinel gives up a failover after its `failover-timeout`; one that reports it for longer
    /// is wrong. Its own candidate can tell earlier. A candidate that still follows the master
    /// after the time of an election was never told to be a master, for instance because the
    /// Sentinels' user may not (`+failover` in Valkey 9).
    fn is_discounted(&self, sentinel: &SentinelId, answer: &Answer, facts: &Facts<'_>) -> bool {
        let trust = self.trust.get(sentinel);
        let candidate = answer.view.as_ref().and_then(|view| view.promoted());
        let untold = || {
            let report = candidate.and_then(|node| facts.node_reports.get(node));
            let master = facts.current.master.as_ref();
            let follows = master.is_some_and(|master| names_as_master(report, master));
            let sign = self.signs.get(sentinel);
            follows && sign.is_some_and(|sign| facts.now - sign.since >= ELECTION)
        };
        trust.is_some_and(Trust::is_discredited) || untold()
    }
}

/// Whether the master confirms its role, and replicas are connected to it, by its own report or by
/// theirs. A master without replicas needs none.
fn is_served(facts: &Facts<'_>, evidence: &Evidence<'_>) -> bool {
    let Some(master) = &facts.current.master else {
        return false;
    };
    let mut in_step = facts
        .current
        .replicas
        .iter()
        .filter(|replica| replica.synced);
    let connected = |replica: &Replica| replica.is_readable() && !replica.orphaned;
    let alone = in_step.clone().next().is_none();
    let replicas = alone || evidence.followed.contains(master) || in_step.any(connected);
    facts.master_confirms() && replicas
}

#[cfg(test)]
mod tests;
