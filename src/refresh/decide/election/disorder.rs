//! Three Sentinels and four nodes; messages are lost, repeated, reordered, stale or forged, and the
//! truth moves meanwhile.

use proptest::prelude::*;
use tokio::time::Instant;

use super::*;
use crate::{
    refresh::decide::{node_report::exclusion, replicas::replicas, testing::*},
    topology::Replica,
};

fn elect(current: &Topology, views: &[View], node_reports: &NodeReports) -> Election {
    super::elect(current, views, node_reports, None, views.len())
}

const NODES: u8 = 4;

#[derive(Debug, Clone)]
enum Step {
    /// A Sentinel tells the truth; the answer can be repeated later.
    Answers(usize),
    /// An answer arrives that some Sentinel gave at some earlier time.
    Late(usize, prop::sample::Index),
    /// A Sentinel says something made up.
    Forges(usize, u8, u64),
    /// A Sentinel cannot be reached.
    Lost(usize),
    /// A node tells its role; the report can arrive again later.
    Proves(u8),
    /// A node's report of some earlier time arrives.
    LateProof(prop::sample::Index),
    Unreachable(u8),
    /// What a node said is too old to count.
    Expires(u8),
    /// Another node is promoted; the old master may go on believing it is one.
    Failover(u8, bool),
    /// `REMOVE` and `MONITOR`: epochs begin anew.
    Anew(u8),
}

fn step() -> impl Strategy<Value = Step> {
    let sentinel = 0..3_usize;
    let any_node = 0..NODES;
    let earlier = any::<prop::sample::Index>();
    prop_oneof![
        6 => sentinel.clone().prop_map(Step::Answers),
        2 => (sentinel.clone(), earlier.clone()).prop_map(|(s, i)| Step::Late(s, i)),
        1 => (sentinel.clone(), any_node.clone(), 0..12_u64).prop_map(|(s, n, e)| Step::Forges(s, n, e)),
        2 => sentinel.prop_map(Step::Lost),
        6 => any_node.clone().prop_map(Step::Proves),
        2 => earlier.prop_map(Step::LateProof),
        2 => any_node.clone().prop_map(Step::Unreachable),
        2 => any_node.clone().prop_map(Step::Expires),
        2 => (any_node.clone(), any::<bool>()).prop_map(|(n, stays)| Step::Failover(n, stays)),
        1 => any_node.prop_map(Step::Anew),
    ]
}

/// The deployment as it is, and the client as far as the election goes.
struct World {
    master: u8,
    epoch: u64,
    says_master: Vec<u8>,
    said: [Option<View>; 3],
    answers: Vec<View>,
    earlier_reports: Vec<(u8, NodeReport)>,
    node_reports: NodeReports,
    current: Topology,
}

impl World {
    fn new() -> Self {
        Self {
            master: 0,
            epoch: 1,
            says_master: vec![0],
            said: [None, None, None],
            answers: Vec::new(),
            earlier_reports: Vec::new(),
            node_reports: NodeReports::new(),
            current: Topology::default(),
        }
    }

    fn truth(&self) -> View {
        let replicas = (0..NODES).filter(|n| *n != self.master);
        let replicas = replicas.map(|n| listed(n, self.master)).collect();
        listing(self.master, self.epoch, replicas)
    }

    fn report(&self, n: u8) -> NodeReport {
        if self.says_master.contains(&n) {
            NodeReport::Master
        } else {
            follower_of(self.master)
        }
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Answers(s) => {
                let truth = self.truth();
                self.answers.push(truth.clone());
                self.said[*s] = Some(truth);
            }
            Step::Late(s, index) if !self.answers.is_empty() => {
                self.said[*s] = Some(index.get(&self.answers).clone());
            }
            Step::Forges(s, n, epoch) => self.said[*s] = Some(view(*n, *epoch)),
            Step::Lost(s) => self.said[*s] = None,
            Step::Proves(n) => {
                let report = self.report(*n);
                self.earlier_reports.push((*n, report.clone()));
                self.node_reports.insert(node(*n), report);
            }
            Step::LateProof(index) if !self.earlier_reports.is_empty() => {
                let (n, report) = index.get(&self.earlier_reports).clone();
                self.node_reports.insert(node(n), report);
            }
            Step::Unreachable(n) => {
                self.node_reports.insert(node(*n), silent());
            }
            Step::Expires(n) => {
                self.node_reports.remove(&node(*n));
            }
            Step::Failover(n, old_stays) => {
                let old = self.master;
                self.says_master.retain(|m| *old_stays && *m == old);
                self.says_master.push(*n);
                self.master = *n;
                self.epoch += 1;
            }
            Step::Anew(n) => {
                self.says_master = vec![*n];
                self.master = *n;
                self.epoch = 0;
            }
            Step::Late(..) | Step::LateProof(_) => {}
        }
    }

    /// What the refresh task does after every message, with the promises checked.
    fn conclude(&mut self) -> Vec<Node> {
        let views: Vec<View> = self.said.iter().flatten().cloned().collect();
        let election = elect(&self.current, &views, &self.node_reports);
        let mut next = self.current.clone();
        if let Some((master, epoch)) = &election.adopt {
            self.check_adoption(master, *epoch, &views);
            next.master = Some(master.clone());
            next.epoch = *epoch;
        }
        let mut ask = election.ask;
        if let Some(master) = next.master.clone() {
            let version = next.version + 1;
            let (found, unheard) = replicas(
                &self.current,
                &master,
                &views,
                &self.node_reports,
                version,
                Instant::now(),
            );
            self.check_replicas(&master, &found);
            ask.extend(unheard);
            next.replicas = found;
        }
        if next != self.current {
            next.version += 1;
            self.current = next;
        }
        ask
    }

    fn check_adoption(&self, master: &Node, epoch: u64, views: &[View]) {
        let node_report = self.node_reports.get(master);
        assert_eq!(
            node_report,
            Some(&NodeReport::Master),
            "{master} did not prove itself"
        );
        let votes = views.iter().filter(|view| view.master == *master).count();
        assert!(votes > 0, "nobody named {master}");
        if let Some(old) = self.current.master.as_ref()
            && epoch < self.current.epoch
        {
            assert!(votes * 2 > views.len(), "{votes} of {} votes", views.len());
            let old_proof = self.node_reports.get(old);
            let gave_way = old_proof.is_some_and(|node_report| *node_report != NodeReport::Master);
            assert!(old == master || gave_way, "{old} says {old_proof:?}");
        }
        // A stale claim is passed over, whatever its node says.
        let known = self.current.master.as_ref().map(|_| self.current.epoch);
        let newer = |view: &&View| {
            let vouched = is_vouched_for(&self.current, &view.master, views.iter(), views.len());
            view.epoch > epoch && Some(view.epoch) > known && vouched
        };
        for view in views.iter().filter(newer) {
            let proven = self.node_reports.get(&view.master) == Some(&NodeReport::Master);
            assert!(!proven, "{view:?} was passed over for epoch {epoch}");
        }
    }

    fn check_replicas(&self, master: &Node, replicas: &[Replica]) {
        for replica in replicas {
            assert_ne!(replica.node, *master);
            if !replica.is_readable() {
                continue;
            }
            let was = self.current.readable().any(|node| *node == replica.node);
            match self.node_reports.get(&replica.node) {
                None => assert!(was, "{} never spoke", replica.node),
                Some(node_report) => assert_eq!(exclusion(node_report, master), None),
            }
        }
    }

    /// Calm: every Sentinel answers, every node that is asked tells the truth.
    fn settle(&mut self) {
        self.says_master = vec![self.master];
        self.node_reports.clear();
        for s in 0..3 {
            self.take(&Step::Answers(s));
            self.conclude();
        }
        for _ in 0..4 {
            for asked in self.conclude() {
                let n = (0..NODES).find(|n| node(*n) == asked).unwrap();
                self.take(&Step::Proves(n));
            }
        }
        let replicas: Vec<_> = self.current.readable().cloned().collect();
        let others: Vec<_> = (0..NODES).filter(|n| *n != self.master).map(node).collect();
        assert_eq!(self.current.master, Some(node(self.master)));
        assert_eq!(replicas, others);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_disorder_of_answers_breaks_the_promises_and_calm_brings_the_truth(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new();
        for step in &steps {
            world.take(step);
            world.conclude();
        }
        world.settle();
    }
}
