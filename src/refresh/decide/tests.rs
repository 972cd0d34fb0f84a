//! Three Sentinels and four nodes; what is said is lost, repeated, stale or forged, and the truth
//! moves meanwhile, through every stage of a failover.

use std::{collections::HashSet, time::Duration};

use proptest::prelude::*;

use super::*;
use crate::sentinel::{
    answer::Answer,
    event::{Event, EventKind},
    flags::Flags,
    id::SentinelId,
    reply::ReplicaInfo,
};

const NODES: u8 = 4;
const SENTINELS: usize = 3;

fn node(n: u8) -> Node {
    Node::new(format!("10.0.0.{n}"), 6379)
}

fn sentinel(s: usize) -> SentinelId {
    SentinelId::from(Node::new(format!("10.0.1.{s}"), 26379))
}

fn replica_of(master: u8) -> NodeReport {
    NodeReport::Replica {
        master: node(master),
        unclear: false,
        link: None,
    }
}

#[derive(Debug, Clone)]
enum Step {
    /// A Sentinel answers what it believes; it can be heard again later.
    Answers(usize),
    /// A Sentinel says what some Sentinel said at some earlier time.
    Repeats(usize, prop::sample::Index),
    /// A Sentinel says something made up: a master, its epoch, which node it replaces and which it
    /// promotes.
    Lies(usize, u8, u64, Option<u8>, Option<u8>),
    /// A Sentinel cannot be asked.
    Silent(usize),
    /// All are asked anew.
    Looks,
    /// A Sentinel publishes what happens, or what does not happen.
    Publishes(usize, EventKind, u8),
    /// A node tells its role; it can be heard again later.
    Proves(u8),
    LateProof(prop::sample::Index),
    Unreachable(u8),
    /// What a node said is too old to count.
    Expires(u8),
    /// A Sentinel begins to replace the master.
    Begins(usize, u8),
    /// The replica is told to be a master; the old one may go on believing that it is one.
    Promotes(bool),
    /// The leader announces it, and gives the new epoch to one more Sentinel.
    Announces(usize),
    Aborts,
    /// `REMOVE` and `MONITOR`: epochs begin anew.
    Anew(u8),
    Passes(u64),
}

fn kind() -> impl Strategy<Value = EventKind> {
    prop::sample::select(vec![
        EventKind::ObjectivelyDown,
        EventKind::TryFailover,
        EventKind::SelectedReplica,
        EventKind::Promoted,
        EventKind::ConfigUpdated,
        EventKind::Aborted,
        EventKind::SubjectivelyDown,
    ])
}

fn step() -> impl Strategy<Value = Step> {
    let one = 0..SENTINELS;
    let any_node = 0..NODES;
    let earlier = any::<prop::sample::Index>();
    let maybe = || prop::option::of(0..NODES);
    let lie = (one.clone(), any_node.clone(), 0..12_u64, maybe(), maybe());
    prop_oneof![
        8 => one.clone().prop_map(Step::Answers),
        2 => (one.clone(), earlier.clone()).prop_map(|(s, i)| Step::Repeats(s, i)),
        1 => lie.prop_map(|(s, n, e, d, p)| Step::Lies(s, n, e, d, p)),
        2 => one.clone().prop_map(Step::Silent),
        3 => Just(Step::Looks),
        3 => (one.clone(), kind(), any_node.clone()).prop_map(|(s, k, n)| Step::Publishes(s, k, n)),
        8 => any_node.clone().prop_map(Step::Proves),
        1 => earlier.prop_map(Step::LateProof),
        1 => any_node.clone().prop_map(Step::Unreachable),
        1 => any_node.clone().prop_map(Step::Expires),
        2 => (one.clone(), any_node.clone()).prop_map(|(s, n)| Step::Begins(s, n)),
        2 => any::<bool>().prop_map(Step::Promotes),
        3 => one.prop_map(Step::Announces),
        1 => Just(Step::Aborts),
        1 => any_node.prop_map(Step::Anew),
        2 => (0..20_000_u64).prop_map(Step::Passes),
    ]
}

#[derive(Debug, Clone, Copy)]
struct Failover {
    leader: usize,
    chosen: u8,
    promoted: bool,
    announced: bool,
}

/// What a Sentinel said last, and the refresh that it belonged to.
#[derive(Debug, Clone, Default)]
struct Said {
    round: u64,
    answer: Option<Answer>,
}

/// The deployment as it is, and what the client has decided.
struct World {
    master: u8,
    epoch: u64,
    says_master: Vec<u8>,
    failover: Option<Failover>,
    /// What each Sentinel takes for the truth.
    views: [(u8, u64); SENTINELS],
    said: [Said; SENTINELS],
    answers: Vec<Answer>,
    reports: Vec<(u8, NodeReport)>,
    node_reports: NodeReports,
    round: u64,
    began: Instant,
    now: Instant,
    adopt: Adopt,
    decider: Decider,
    current: Topology,
}

impl World {
    fn new(adopt: Adopt) -> Self {
        Self {
            master: 0,
            epoch: 1,
            says_master: vec![0],
            failover: None,
            views: [(0, 1); SENTINELS],
            said: std::array::from_fn(|_| Said::default()),
            answers: Vec::new(),
            reports: Vec::new(),
            node_reports: NodeReports::new(),
            round: 1,
            began: Instant::now(),
            now: Instant::now(),
            adopt,
            decider: Decider::new(adopt),
            current: Topology::default(),
        }
    }

    fn answer(&self, s: usize) -> Answer {
        let leads = self.failover.filter(|failover| failover.leader == s);
        let (master, epoch) = match leads {
            Some(failover) if failover.announced => (failover.chosen, self.epoch),
            _ => self.views[s],
        };
        let failover_flag = leads.map(|_| self.views[s].0);
        answer(master, epoch, failover_flag, leads.map(|f| f.chosen))
    }

    fn hear(&mut self, s: usize, answer: Option<Answer>) {
        let round = self.round;
        self.said[s] = Said { round, answer };
    }

    fn report(&self, n: u8) -> NodeReport {
        if self.says_master.contains(&n) {
            NodeReport::Master
        } else {
            replica_of(self.master)
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Answers(s) => {
                let answer = self.answer(*s);
                self.answers.push(answer.clone());
                self.hear(*s, Some(answer));
            }
            Step::Repeats(s, index) if !self.answers.is_empty() => {
                let answer = index.get(&self.answers).clone();
                self.hear(*s, Some(answer));
            }
            Step::Lies(s, n, epoch, failover_flag, promoted) => {
                self.hear(*s, Some(answer(*n, *epoch, *failover_flag, *promoted)));
            }
            Step::Silent(s) => self.hear(*s, None),
            Step::Looks => self.round += 1,
            Step::Publishes(s, kind, n) => {
                let event = Event {
                    kind: *kind,
                    node: Some(node(*n)),
                    master: Some(node(self.views[*s].0)),
                };
                let fence = &mut self.decider.fence;
                fence.note(
                    &sentinel(*s),
                    &event,
                    &self.current,
                    self.round + 1,
                    self.now,
                );
                self.round += 1;
            }
            Step::Proves(n) => {
                let report = self.report(*n);
                self.reports.push((*n, report.clone()));
                self.node_reports.insert(node(*n), report);
            }
            Step::LateProof(index) if !self.reports.is_empty() => {
                let (n, report) = index.get(&self.reports).clone();
                self.node_reports.insert(node(n), report);
            }
            Step::Unreachable(n) => {
                let silent = NodeReport::Failed("connection refused".into());
                self.node_reports.insert(node(*n), silent);
            }
            Step::Expires(n) => {
                self.node_reports.remove(&node(*n));
            }
            Step::Passes(milliseconds) => self.now += Duration::from_millis(*milliseconds),
            Step::Repeats(..) | Step::LateProof(_) => {}
            step => self.fail_over(step),
        }
    }

    fn fail_over(&mut self, step: &Step) {
        match (step, self.failover) {
            (Step::Begins(leader, chosen), None) if *chosen != self.master => {
                self.failover = Some(Failover {
                    leader: *leader,
                    chosen: *chosen,
                    promoted: false,
                    announced: false,
                });
            }
            (Step::Promotes(old_stays), Some(failover)) if !failover.promoted => {
                let old = self.master;
                self.says_master.retain(|m| *old_stays && *m == old);
                self.says_master.push(failover.chosen);
                self.failover = Some(Failover {
                    promoted: true,
                    ..failover
                });
            }
            (Step::Announces(_), Some(failover)) if failover.promoted && !failover.announced => {
                self.master = failover.chosen;
                self.epoch += 1;
                self.failover = Some(Failover {
                    announced: true,
                    ..failover
                });
            }
            (Step::Announces(s), Some(failover)) if failover.announced => {
                self.views[*s] = (self.master, self.epoch);
                if *s == failover.leader {
                    self.failover = None;
                }
            }
            (Step::Announces(s), None) => self.views[*s] = (self.master, self.epoch),
            (Step::Aborts, Some(failover)) if !failover.announced => self.failover = None,
            (Step::Anew(n), None) => {
                self.says_master = vec![*n];
                (self.master, self.epoch) = (*n, 0);
            }
            _ => {}
        }
    }

    /// What the refresh task does after every message, with the promises checked.
    fn conclude(&mut self) -> Vec<Node> {
        let said = self.said.clone();
        let names: Vec<SentinelId> = (0..SENTINELS).map(sentinel).collect();
        let reports: Vec<SentinelReport<'_>> = names
            .iter()
            .zip(&said)
            .map(|(sentinel, said)| SentinelReport {
                sentinel,
                round: said.round,
                answer: said.answer.as_ref(),
            })
            .collect();
        let evidence = Evidence {
            round: self.round,
            reports: &reports,
            node_reports: &self.node_reports,
            offsets: &Offsets::new(),
            restarted: &HashSet::new(),
            followed: &HashSet::new(),
            listed: None,
        };
        let before = self.decider.fence.tally();
        let conclusion = self.decider.decide(&self.current, &evidence, self.now);
        let mut next = conclusion.next;
        self.check_adoption(&next, &reports);
        self.check_fence(&next, &reports);
        let raised = self.decider.fence.tally().raised - before.raised;
        if raised == 0 && self.current.fence.is_some() && next.fence.is_some() {
            assert_eq!(next.fence, self.current.fence, "one failover, one sign");
        }
        if next != self.current {
            next.version = self.current.version + 1;
            self.current = next;
        }
        conclusion.ask
    }

    fn check_adoption(&self, next: &Topology, reports: &[SentinelReport<'_>]) {
        let (Some(old), Some(new)) = (&self.current.master, &next.master) else {
            return;
        };
        let node_report = |node: &Node| self.node_reports.get(node);
        let views: Vec<&View> = views(reports).collect();
        let votes = views.iter().filter(|view| view.master == *new).count();
        if new == old {
            assert!(next.epoch >= self.current.epoch || votes * 2 > views.len());
            return;
        }
        assert_eq!(
            node_report(new),
            Some(&NodeReport::Master),
            "{new} did not prove itself"
        );
        let ours = election::was_in_step(&self.current, new);
        let listed = views.iter().filter(|view| {
            view.master == *new || view.replicas.iter().any(|replica| replica.node == *new)
        });
        assert!(
            ours || listed.count() * 2 > views.len(),
            "{new} is a stranger"
        );
        if next.previous_master.is_some() {
            assert_eq!(next.previous_master, self.current.master);
            assert_eq!(next.epoch, self.current.epoch);
            let handed_over = node_report::names_as_master(node_report(old), new);
            assert!(
                self.current.fence.is_some() || handed_over,
                "no sign, no haste"
            );
            let named = reports
                .iter()
                .filter_map(|report| report.answer)
                .any(|answer| {
                    let view = answer.view.as_ref().and_then(View::promoted);
                    answer
                        .failover_flag
                        .as_ref()
                        .is_some_and(|(node, _)| node == old)
                        && view == Some(new)
                });
            let alone = views.len() * 2 <= SENTINELS;
            assert!(
                named && self.adopt == Adopt::Promoted || alone || handed_over,
                "{new} was not named"
            );
            return;
        }
        assert!(votes > 0, "nobody named {new}");
        let outranked = next.epoch == self.current.epoch && self.current.previous_master.is_some();
        if next.epoch < self.current.epoch || outranked {
            assert!(votes * 2 > views.len(), "{votes} of {} votes", views.len());
            let gave_way =
                node_report(old).is_some_and(|node_report| *node_report != NodeReport::Master);
            assert!(gave_way, "{old} says {:?}", node_report(old));
        }
    }

    fn check_fence(&self, next: &Topology, reports: &[SentinelReport<'_>]) {
        let Some(master) = next.master.as_ref().filter(|_| next.fence.is_none()) else {
            return;
        };
        let denies = matches!(
            self.node_reports.get(master),
            Some(NodeReport::Replica { .. })
        );
        assert!(!denies, "{master} says it is a replica, and is written to");
        let began = self.now - self.began;
        // Its candidate follows the master when it would long have been promoted.
        let was_never_told = |answer: &&Answer| {
            let candidate = answer.view.as_ref().and_then(View::promoted);
            let report = candidate.and_then(|node| self.node_reports.get(node));
            node_report::names_as_master(report, master) && began >= Duration::from_secs(12)
        };
        let stated = reports
            .iter()
            .filter_map(|report| report.answer)
            .filter(|answer| !was_never_told(answer))
            .filter_map(|answer| answer.failover_flag.as_ref());
        // Later a Sentinel may have been stating it for too long to be believed.
        let early = began < Duration::from_secs(180);
        for (node, _) in stated.filter(|_| early) {
            assert_ne!(node, master, "it is being replaced, and is written to");
        }
    }

    /// Calm: the failover is over, one way or the other; every Sentinel answers, every node that is
    /// asked tells the truth.
    fn settle(&mut self) {
        self.failover = None;
        self.says_master = vec![self.master];
        self.views = [(self.master, self.epoch); SENTINELS];
        self.node_reports.clear();
        for _ in 0..4 {
            self.take(&Step::Looks);
            self.now += Duration::from_millis(100);
            for s in 0..SENTINELS {
                self.take(&Step::Answers(s));
                for asked in self.conclude() {
                    let n = (0..NODES).find(|n| node(*n) == asked).unwrap();
                    self.take(&Step::Proves(n));
                }
            }
        }
        let readable: Vec<_> = self.current.readable().cloned().collect();
        let others: Vec<_> = (0..NODES).filter(|n| *n != self.master).map(node).collect();
        assert_eq!(self.current.master, Some(node(self.master)));
        assert_eq!(self.current.epoch, self.epoch);
        assert_eq!(self.current.fence, None);
        assert_eq!(self.current.previous_master, None);
        assert_eq!(readable, others);
    }
}

fn answer(master: u8, epoch: u64, failover_flag: Option<u8>, promoted: Option<u8>) -> Answer {
    let replicas = (0..NODES).filter(|n| *n != master).map(|n| ReplicaInfo {
        node: node(n),
        flags: Flags::parse(if promoted == Some(n) {
            b"slave,promoted"
        } else {
            b"slave"
        }),
        link_ok: Some(true),
        link_down_for: None,
        master: Some(node(master)),
        reports_master: false,
        run_id: None,
    });
    Answer {
        view: Some(View {
            master: node(master),
            epoch,
            replicas: replicas.collect(),
            informed: true,
            master_down: false,
        }),
        failover_flag: failover_flag.map(|n| (node(n), "failover_in_progress")),
        ..Answer::default()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_disorder_breaks_the_promises_and_calm_brings_the_truth(
        adopt in prop::sample::select(vec![Adopt::Announced, Adopt::Promoted]),
        steps in prop::collection::vec(step(), 1..80),
    ) {
        let mut world = World::new(adopt);
        for step in &steps {
            world.take(step);
            world.conclude();
        }
        world.settle();
    }
}
