//! Whether the master is being replaced: what says so, and when that is over.
//!
//! Pure rules. A *sign* is an event, which may be late, lost or forged, or what an answer states; it
//! holds until the Sentinel that gave it, asked after it, does not bear it out any more. What a Sentinel
//! may hold up in vain is bounded, however much it says.

use std::{
    collections::BTreeMap,
    mem::{self, Discriminant},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::{
        Evidence, election,
        node_report::{self, NodeReport, NodeReports},
        trust::Trust,
        without_sentinels::{Consensus, consensus},
    },
    sentinel::{
        answer::Answer,
        event::{Event, EventKind},
        id::SentinelId,
        reply::FAILOVER_IN_PROGRESS,
    },
    status::SignKind,
    topology::{Replica, Topology},
};

/// How long after its first sign a failover has promoted a replica, if it ever does: Sentinels elect
/// their leader within ten seconds, having waited at most one, and promote a second later.
const ELECTION: Duration = Duration::from_secs(12);

/// What one Sentinel said last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SentinelReport<'a> {
    pub(crate) sentinel: &'a SentinelId,
    /// The newest refresh that it answered, or failed to.
    pub(crate) round: u64,
    pub(crate) answer: Option<&'a Answer>,
}

#[derive(Debug)]
struct Sign {
    kind: SignKind,
    text: String,
    since: Instant,
    /// The first refresh whose answer can bear it out, or not.
    round: u64,
    /// The steps of the failover that were published. Each asks for a newer answer, once: a flood of
    /// events does not put off the answer for ever.
    steps: Vec<Discriminant<EventKind>>,
    borne_out: bool,
}

/// A replica that says it is a master while the Sentinels name another. A failover has promoted it of
/// which no event was heard, or somebody told it so by hand.
#[derive(Debug)]
struct Promotion {
    since: Instant,
    /// The first refresh whose answers can tell which of the two it is.
    round: u64,
    /// Whether no Sentinel knew of a failover when it was asked.
    dismissed: bool,
}

/// The fence, while it is up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raised {
    pub(crate) kind: SignKind,
    /// The first sign; what follows is part of the same failover.
    pub(crate) sign: String,
    pub(crate) since: Instant,
}

/// What the fence came to so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Tally {
    pub(crate) raised: u64,
    pub(crate) false_signs: u64,
    /// How long it was up, not counting the present time.
    pub(crate) held: Duration,
}

/// The signs that have not been followed up to their end, and how Sentinels stand with us.
#[derive(Debug, Default)]
pub(crate) struct Fence {
    signs: BTreeMap<SentinelId, Sign>,
    promotions: BTreeMap<Node, Promotion>,
    /// Whether the last that the master said of itself is that it is a replica.
    resigned: bool,
    /// Whether the master says that it is one, and its replicas are with it.
    served: bool,
    records: BTreeMap<SentinelId, Trust>,
    /// Nodes that a Sentinel called the master under this epoch and that said that they are none.
    refuted: BTreeMap<Node, u64>,
    /// Since when not even most of the Sentinels answer.
    alone_since: Option<Instant>,
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

    /// Takes note of an event if it is a sign against the current master. `round` is the first that
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
        let record = self.records.get(sentinel);
        let mistrusted = record.is_some_and(|record| record.is_mistrusted(now));
        if !ours || !event.kind.is_sign() || mistrusted {
            return;
        }
        let sign = self.signs.entry(sentinel.clone()).or_insert_with(|| Sign {
            kind: SignKind::Event,
            text: format!("{sentinel} published {:?}", event.kind),
            since: now,
            round,
            steps: Vec::new(),
            borne_out: false,
        });
        let step = mem::discriminant(&event.kind);
        if !sign.steps.contains(&step) {
            sign.steps.push(step);
            sign.round = round;
        }
    }

    /// Another master was adopted: what was said of the old one is over.
    pub(crate) fn reset(&mut self, now: Instant) {
        self.signs.clear();
        self.promotions.clear();
        self.resigned = false;
        self.refuted.clear();
        for record in self.records.values_mut() {
            record.clear();
        }
        self.turn(None, now);
    }

    /// Takes note of how many Sentinels speak at all, and of what the nodes say.
    pub(crate) fn hear(&mut self, current: &Topology, evidence: &Evidence<'_>, now: Instant) {
        let reports = evidence.reports;
        self.note_promotions(current, evidence, now);
        self.served = is_served(current, evidence);
        match current
            .master
            .as_ref()
            .and_then(|master| evidence.node_reports.get(master))
        {
            Some(NodeReport::Replica { .. } | NodeReport::SomeReplica) => self.resigned = true,
            Some(NodeReport::Master | NodeReport::Unprovable(_)) => self.resigned = false,
            Some(NodeReport::Failed(_)) | None => {}
        }
        let answered = reports
            .iter()
            .filter(|report| report.answer.is_some())
            .count();
        let alone = answered * 2 <= reports.len();
        self.alone_since = alone.then(|| self.alone_since.unwrap_or(now));
        let known =
            |sentinel: &SentinelId| reports.iter().any(|report| report.sentinel == sentinel);
        self.records.retain(|sentinel, _| known(sentinel));
    }

    fn note_promotions(&mut self, current: &Topology, evidence: &Evidence<'_>, now: Instant) {
        let in_step = |node: &Node| {
            let mut replicas = current.replicas.iter();
            replicas.any(|replica| replica.node == *node && replica.synced)
        };
        self.promotions.retain(|node, _| {
            let node_report = evidence.node_reports.get(node);
            in_step(node)
                && matches!(
                    node_report,
                    None | Some(NodeReport::Master | NodeReport::Failed(_))
                )
        });
        for (node, node_report) in evidence.node_reports {
            // One that was started anew as a master has not been promoted: Sentinels will make it a
            // replica again.
            if *node_report == NodeReport::Master
                && in_step(node)
                && !evidence.restarted.contains(node)
            {
                self.promotions.entry(node.clone()).or_insert(Promotion {
                    since: now,
                    round: evidence.round + 1,
                    dismissed: false,
                });
            }
        }
    }

    /// The replica that has become the master although no Sentinel can tell.
    pub(crate) fn moved(
        &self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> Option<Node> {
        if self.raised.is_none() || !self.is_left_alone(current, reports, node_reports, now) {
            return None;
        }
        match consensus(current, node_reports) {
            Consensus::Moved(node) => Some(node),
            _ => None,
        }
    }

    /// Why the master of `current` must not be written to now; `None` if it may. `reports` is what
    /// each known Sentinel said last. As long as it is up, it keeps the first reason.
    pub(crate) fn judge(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> Option<String> {
        let reason = self.reason(current, reports, node_reports, now);
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

    fn reason(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> Option<(SignKind, String)> {
        let master = current.master.as_ref()?;
        self.note_refutations(current, reports, node_reports);
        self.note_statements(current, reports, now);
        let stands = stands(master, node_reports);
        self.take_statements_for_signs(current, reports, node_reports, now);
        if stands {
            self.follow_up(current, reports, node_reports, now);
        }
        let first = self.signs.values().min_by_key(|sign| sign.since);
        first
            .map(|sign| (sign.kind, sign.text.clone()))
            .or_else(|| {
                let mut open = self.promotions.iter().filter(|(_, p)| !p.dismissed);
                let (node, _) = open.next()?;
                Some((SignKind::Promotion, format!("{node} says it is a master")))
            })
            .or_else(|| {
                reports.iter().find_map(|report| {
                    let rival = self.rival(report.answer?, current, reports, node_reports)?;
                    let text = format!("{} names {rival}", report.sentinel);
                    Some((SignKind::OtherMaster, text))
                })
            })
            .or_else(|| {
                let said = format!("{master} says it is a replica");
                self.resigned.then_some((SignKind::Demotion, said))
            })
    }

    fn note_refutations(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
    ) {
        let mut refuted = BTreeMap::new();
        for view in reports
            .iter()
            .filter_map(|report| report.answer?.view.as_ref())
        {
            let node = &view.master;
            let epoch = match node_reports.get(node) {
                _ if current.master.as_ref() == Some(node) => continue,
                Some(NodeReport::Master) => continue,
                Some(NodeReport::Failed(_)) if is_named_by_most(node, current, reports) => {
                    continue;
                }
                Some(_) => Some(view.epoch),
                None => self.refuted.get(node).copied(),
            };
            if let Some(epoch) = epoch {
                let highest = refuted.entry(node.clone()).or_insert(epoch);
                *highest = epoch.max(*highest);
            }
        }
        self.refuted = refuted;
    }

    fn note_statements(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        now: Instant,
    ) {
        let served = self.served;
        for report in reports {
            let states = report
                .answer
                .is_some_and(|answer| deposes(answer, current, served));
            if states || self.records.contains_key(report.sentinel) {
                let record = self.records.entry(report.sentinel.clone());
                record
                    .or_insert_with(|| Trust::new(now))
                    .states(states, now);
            }
        }
    }

    /// Where no event was heard, an answer is the first sign.
    fn take_statements_for_signs(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) {
        let stands = current
            .master
            .as_ref()
            .is_some_and(|master| stands(master, node_reports));
        let served = self.served;
        for report in reports {
            let Some(answer) = report
                .answer
                .filter(|answer| deposes(answer, current, served))
            else {
                continue;
            };
            let Some((node, flag)) = &answer.failover_flag else {
                continue;
            };
            if stands && self.is_spent(report.sentinel, answer, current, node_reports, now) {
                continue;
            }
            let sign = self.signs.entry(report.sentinel.clone());
            let sign = sign.or_insert_with(|| Sign {
                kind: SignKind::Answer,
                text: format!("{} states {flag} for {node}", report.sentinel),
                since: now,
                round: report.round,
                steps: Vec::new(),
                borne_out: true,
            });
            sign.borne_out |= report.round >= sign.round;
        }
    }

    /// Lets go of the signs that are not borne out any more.
    fn follow_up(
        &mut self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) {
        let clean = |report: &SentinelReport<'_>, round: u64| {
            report.round >= round && self.is_clean(report, current, reports, node_reports, now)
        };
        let most = |round: u64| {
            reports.iter().filter(|report| clean(report, round)).count() * 2 > reports.len()
        };
        // No Sentinel leads a failover, or the one that does is gone and it will not be heard of.
        let by_hand = |promotion: &Promotion| {
            // One that may not tell its flags would not say so if it led one.
            let tells =
                |report: &SentinelReport<'_>| report.answer.is_some_and(Answer::tells_epoch);
            let all = reports
                .iter()
                .all(|report| tells(report) && clean(report, promotion.round));
            all || now - promotion.since >= ELECTION && most(promotion.round)
        };
        let promotions = self.promotions.iter();
        let dismissed = promotions.filter(|(_, promotion)| by_hand(promotion));
        let dismissed: Vec<Node> = dismissed.map(|(node, _)| node.clone()).collect();
        // One that was promoted may have been promoted by a leader that is gone, of which the others
        // will hear, or not.
        let promoted = current.replicas.iter().any(|replica| {
            let dismissed = self
                .promotions
                .get(&replica.node)
                .is_some_and(|p| p.dismissed);
            node_reports.get(&replica.node) == Some(&NodeReport::Master) && !dismissed
        });
        let stays = self.is_left_alone(current, reports, node_reports, now)
            && consensus(current, node_reports) == Consensus::Stays;
        let is_over = |sentinel: &SentinelId, sign: &Sign| {
            let settled = !promoted || now - sign.since >= ELECTION;
            match reports.iter().find(|report| report.sentinel == sentinel) {
                Some(report) if report.answer.is_some() || report.round < sign.round => {
                    settled && clean(report, sign.round)
                }
                // It cannot be asked any more: most of the others have to do, or the nodes.
                _ => stays || settled && most(sign.round),
            }
        };
        let over: Vec<SentinelId> = self
            .signs
            .iter()
            .filter(|(sentinel, sign)| is_over(sentinel, sign))
            .map(|(sentinel, _)| sentinel.clone())
            .collect();
        for (node, promotion) in &mut self.promotions {
            promotion.dismissed |= dismissed.contains(node);
        }
        for sentinel in over {
            let sign = self.signs.remove(&sentinel);
            if sign.is_some_and(|sign| !sign.borne_out) {
                self.tally.false_signs += 1;
                let record = self.records.entry(sentinel);
                record
                    .or_insert_with(|| Trust::new(now))
                    .record_false_alarm(now);
            }
        }
    }

    /// Whether too few Sentinels have answered for so long that no failover can be on its way to its
    /// promotion any more, and none of those few speaks against the master.
    fn is_left_alone(
        &self,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> bool {
        let mut answered = reports.iter().filter(|report| report.answer.is_some());
        self.alone_since
            .is_some_and(|since| now - since >= ELECTION)
            && answered.all(|report| self.is_clean(report, current, reports, node_reports, now))
    }

    /// Whether a Sentinel, asked, sees nothing that speaks against the current master.
    fn is_clean(
        &self,
        report: &SentinelReport<'_>,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
        now: Instant,
    ) -> bool {
        let Some(answer) = report.answer else {
            return false;
        };
        let previous_master = deposes(answer, current, self.served)
            && !self.is_spent(report.sentinel, answer, current, node_reports, now);
        !previous_master && self.rival(answer, current, reports, node_reports).is_none()
    }

    /// Whether a Sentinel has stated so long in vain that the master is being replaced that it does
    /// not count while the master stands to its role.
    ///
    /// It gives up after its `failover-timeout`. Earlier, its own candidate can tell: one that still
    /// follows the master when any promotion would have reached it was never told, for instance
    /// because the Sentinels' user may not (`+failover` in Valkey 9).
    fn is_spent(
        &self,
        sentinel: &SentinelId,
        answer: &Answer,
        current: &Topology,
        node_reports: &NodeReports,
        now: Instant,
    ) -> bool {
        let stated_in_vain = self
            .records
            .get(sentinel)
            .is_some_and(Trust::is_discredited);
        let candidate = answer.view.as_ref().and_then(|view| view.promoted());
        let untold = || {
            let node_report = candidate.and_then(|node| node_reports.get(node));
            let master = current.master.as_ref();
            let follows =
                master.is_some_and(|master| node_report::names_as_master(node_report, master));
            let sign = self.signs.get(sentinel);
            follows && sign.is_some_and(|sign| now - sign.since >= ELECTION)
        };
        stated_in_vain || untold()
    }

    /// Another master that a Sentinel names under a higher epoch, unless that node said that it is
    /// none, or nobody vouches for it.
    fn rival<'a>(
        &self,
        answer: &'a Answer,
        current: &Topology,
        reports: &[SentinelReport<'_>],
        node_reports: &NodeReports,
    ) -> Option<&'a Node> {
        let view = answer.view.as_ref()?;
        if view.epoch <= current.epoch || Some(&view.master) == current.master.as_ref() {
            return None;
        }
        let refuted = match node_reports.get(&view.master) {
            Some(NodeReport::Failed(_)) if is_named_by_most(&view.master, current, reports) => {
                false
            }
            Some(node_report) => *node_report != NodeReport::Master,
            None => self
                .refuted
                .get(&view.master)
                .is_some_and(|epoch| *epoch >= view.epoch),
        };
        let views = reports
            .iter()
            .filter_map(|report| report.answer?.view.as_ref());
        let voters = views.clone().count();
        let vouched = election::is_vouched_for(current, &view.master, views, voters);
        (vouched && !refuted).then_some(&view.master)
    }
}

/// Whether most of the Sentinels name this node under a higher epoch. Then the master was replaced,
/// and that its successor cannot be reached from here does not make the old one the master again.
fn is_named_by_most(node: &Node, current: &Topology, reports: &[SentinelReport<'_>]) -> bool {
    let views = reports
        .iter()
        .filter_map(|report| report.answer?.view.as_ref());
    let named = views.filter(|view| view.master == *node && view.epoch > current.epoch);
    named.count() * 2 > reports.len()
}

fn stands(master: &Node, node_reports: &NodeReports) -> bool {
    matches!(
        node_reports.get(master),
        Some(NodeReport::Master | NodeReport::Unprovable(_))
    )
}

/// Whether a Sentinel states that the master is being replaced.
///
/// `o_down` alone says that most Sentinels cannot see it, for which a wrong `auth-pass` is enough. Where
/// the master says that it is well, and a replica that it is connected to it, that is no more than it
/// says: a failover shows by the flag that it is in progress.
///
/// The Sentinels may still take a predecessor for the master, which has handed over by itself. Then what
/// they do about that one ends with a master of their choice.
fn deposes(answer: &Answer, current: &Topology, served: bool) -> bool {
    let (Some((node, flag)), Some(master)) = (&answer.failover_flag, &current.master) else {
        return false;
    };
    let in_progress = *flag == FAILOVER_IN_PROGRESS;
    if node == master {
        in_progress || !served
    } else {
        let promoted = answer.view.as_ref().and_then(|view| view.promoted());
        in_progress && current.previous_master.as_ref() == Some(node) && promoted != Some(master)
    }
}

/// What Sentinels say against a master that is written to all the same; `None` where nothing is known
/// of it now.
pub(crate) fn claim(
    next: &Topology,
    reports: &[SentinelReport<'_>],
    node_reports: &NodeReports,
) -> Option<Option<String>> {
    let master = next
        .master
        .as_ref()
        .filter(|master| node_reports.contains_key(*master))?;
    let flag_of = |report: &SentinelReport<'_>| {
        let (node, flag) = report.answer?.failover_flag.as_ref()?;
        (node == master).then_some(*flag)
    };
    let flags: Vec<&str> = reports.iter().filter_map(flag_of).collect();
    let flag = flags.first().filter(|_| next.fence.is_none());
    Some(flag.map(|flag| {
        let (count, all) = (flags.len(), reports.len());
        format!("{count} of {all} Sentinels state {flag} for {master}, which says that it is well")
    }))
}

/// Whether the master is there, and its replicas with it: by its own word or by theirs.
fn is_served(current: &Topology, evidence: &Evidence<'_>) -> bool {
    let Some(master) = &current.master else {
        return false;
    };
    let mut in_step = current.replicas.iter().filter(|replica| replica.synced);
    let connected = |replica: &Replica| replica.is_readable() && !replica.orphaned;
    let alone = in_step.clone().next().is_none();
    let replicas = alone || evidence.followed.contains(master) || in_step.any(connected);
    stands(master, evidence.node_reports) && replicas
}

#[cfg(test)]
mod tests;
