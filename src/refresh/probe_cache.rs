//! What the nodes said of themselves, for as long as it counts.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use redis::RedisError;
use tokio::{sync::mpsc, time::Instant};

use crate::{
    config::Config,
    node::Node,
    refresh::{
        decide::{
            catch_up::Offsets,
            node_report::{NodeReport, NodeReports},
        },
        probe::{Identity, Probed, Prober, Reason},
        promotion_watch::PromotionWatch,
        round_trips::RoundTrips,
    },
    sentinel::answer::View,
    util::abort_on_drop::AbortOnDrop,
};

/// A report that keeps a node from being used counts for this long; then the node is asked again.
const BAD_NEWS_LASTS: Duration = Duration::from_millis(50);
/// The steps of a failover are published in bursts. A report this young is not asked for again for
/// each of them.
const NEWS_IS_FRESH: Duration = Duration::from_millis(50);

/// Which part of a probe's result to ignore, because the node was put in doubt after the probe was
/// sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outdated {
    Nothing,
    /// Everything except a report that it is a master.
    Denial,
    Everything,
}

#[derive(Debug)]
pub(super) struct ProbeCache {
    config: Arc<Config>,
    node_reports: HashMap<Node, (NodeReport, Instant)>,
    /// What each said last, whether or not it still counts.
    last_said: HashMap<Node, NodeReport>,
    /// What the nodes said besides their role. Kept for as long as the nodes are known.
    identities: HashMap<Node, Identity>,
    offsets: Offsets,
    /// How long the nodes took to answer.
    round_trips: HashMap<Node, RoundTrips>,
    /// Nodes that were restarted since they said that they were replicas.
    restarted: HashSet<Node>,
    /// Masters that say that replicas are connected to them.
    followed: HashSet<Node>,
    probers: HashMap<Node, Prober>,
    /// Why a node refused us, for the caller of `connect`.
    refusals: HashMap<Node, RedisError>,
    /// Why a node could not be used when it was asked last. The caller of `connect` is told so
    /// until the node has answered again.
    complaints: HashMap<Node, (String, Instant)>,
    /// Nodes that are being asked, and what to ignore of their answers.
    probing: HashMap<Node, Outdated>,
    /// Nodes that must not be asked over an open connection the next time.
    redial: HashSet<Node>,
    /// The node that is asked again and again until it is a master.
    awaited: Option<(Node, AbortOnDrop)>,
    probed: mpsc::Sender<Probed>,
}

impl ProbeCache {
    /// Answers arrive as `probed`, and are to be handed to [`note`](Self::note).
    pub(super) fn new(config: Arc<Config>, probed: mpsc::Sender<Probed>) -> Self {
        let client_name = config.client_name.as_ref();
        Self {
            // Users who look for their connections in CLIENT LIST must be able to tell these apart.
            config: Arc::new(Config {
                client_name: client_name.map(|name| format!("{name}-probe")),
                ..Config::clone(&config)
            }),
            node_reports: HashMap::new(),
            last_said: HashMap::new(),
            identities: HashMap::new(),
            offsets: Offsets::new(),
            round_trips: HashMap::new(),
            restarted: HashSet::new(),
            followed: HashSet::new(),
            probers: HashMap::new(),
            refusals: HashMap::new(),
            complaints: HashMap::new(),
            probing: HashMap::new(),
            redial: HashSet::new(),
            awaited: None,
            probed,
        }
    }

    /// Forgets what a node said, and ignores the result of a probe that is under way.
    pub(super) fn doubt(&mut self, node: &Node) {
        self.node_reports.remove(node);
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Everything;
        }
    }

    /// Forgets that a node said it was no master, because a Sentinel says that it is or becomes
    /// one. A fresh report that it is a master stays, and so does one that a probe under way
    /// brings.
    pub(super) fn doubt_denial(&mut self, node: &Node) {
        if let Some((report, at)) = self.node_reports.get(node)
            && (*report != NodeReport::Master || at.elapsed() > NEWS_IS_FRESH)
        {
            self.node_reports.remove(node);
        }
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Denial.max(*outdated);
        }
    }

    /// Asks these nodes over a new connection the next time.
    pub(super) fn redial(&mut self, nodes: Vec<Node>) {
        self.redial.extend(nodes);
    }

    /// Forgets reports that are too old.
    pub(super) fn forget_old(&mut self, now: Instant) {
        // Sentinels say when a node becomes something else. Without them each refresh asks every node.
        let good_news_last = if self.config.nodes.is_empty() {
            self.config.refresh_interval / 2
        } else {
            NEWS_IS_FRESH
        };
        self.node_reports.retain(|_, (report, at)| {
            let good = report.is_good();
            now - *at < if good { good_news_last } else { BAD_NEWS_LASTS }
        });
        // A node that nobody names is not asked any more, and need not be remembered.
        let remembered = self.config.refresh_interval * 2;
        self.complaints
            .retain(|node, (_, at)| self.probing.contains_key(node) || now - *at < remembered);
    }

    /// Forgets that a node said it was no master, if that was before a Sentinel called it the
    /// master: it may have been promoted since.
    pub(super) fn forget_denials(&mut self, views: &[View], now: Instant) {
        for named in views.iter().map(|view| &view.master) {
            if let Some((report, at)) = self.node_reports.get(named)
                && *report != NodeReport::Master
                && now - *at > BAD_NEWS_LASTS
            {
                self.node_reports.remove(named);
            }
        }
    }

    pub(super) fn node_reports(&self) -> NodeReports {
        self.node_reports
            .iter()
            .map(|(node, (report, _))| (node.clone(), report.clone()))
            .collect()
    }

    /// Asks a node once, unless it is being asked.
    pub(super) fn ask(&mut self, node: Node) {
        if let Entry::Vacant(free) = self.probing.entry(node) {
            let node = free.key().clone();
            let redial = self.redial.remove(&node);
            free.insert(Outdated::Nothing);
            let prober = self.probers.entry(node).or_insert_with_key(|node| {
                Prober::spawn(Arc::clone(&self.config), node.clone(), self.probed.clone())
            });
            prober.ask(redial);
        }
    }

    /// Closes the connections to all other nodes, and forgets what they said.
    pub(super) fn retain(&mut self, known: &HashSet<&Node>) {
        let probing = &self.probing;
        self.probers
            .retain(|node, _| known.contains(node) || probing.contains_key(node));
        self.last_said.retain(|node, _| known.contains(node));
        self.identities.retain(|node, _| known.contains(node));
        self.offsets.retain(|node, _| known.contains(node));
        self.round_trips.retain(|node, _| known.contains(node));
        self.restarted.retain(|node| known.contains(node));
        self.followed.retain(|node| known.contains(node));
    }

    /// Keeps a connection to each of these nodes, whether or not a report is needed now. When the
    /// node closes it, it may have been promoted.
    pub(super) fn watch<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>) {
        for node in nodes {
            if !self.probers.contains_key(node) {
                self.ask(node.clone());
            }
        }
    }

    pub(super) fn identities(&self) -> &HashMap<Node, Identity> {
        &self.identities
    }

    pub(super) fn round_trips(&self) -> &HashMap<Node, RoundTrips> {
        &self.round_trips
    }

    pub(super) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub(super) fn restarted(&self) -> &HashSet<Node> {
        &self.restarted
    }

    pub(super) fn followed(&self) -> &HashSet<Node> {
        &self.followed
    }

    /// Asks this node again and again until it says that it is a master, and stops asking any other.
    /// Begins after the node has said once that it is none.
    pub(super) fn wait_for(&mut self, awaited: Option<Node>) {
        if self.awaited.as_ref().map(|(node, _)| node) == awaited.as_ref() {
            return;
        }
        let awaited = awaited.filter(|node| self.node_reports.contains_key(node));
        self.awaited = awaited.map(|node| {
            let config = Arc::clone(&self.config);
            let probed = self.probed.clone();
            let subject = node.clone();
            let task = AbortOnDrop::spawn(async move {
                let promoted = PromotionWatch::new(config, subject).until_promoted().await;
                let _ = probed.send(promoted).await;
            });
            (node, task)
        });
    }

    /// Takes the result of a probe. If it does not count, because the node was put in doubt meanwhile, the node
    /// is asked again. That it cannot be reached counts all the same: a frozen node may be put in doubt more
    /// often than a probe of it ends.
    ///
    /// Says whether the node said something else before; offsets and times do not count.
    pub(super) fn note(&mut self, probed: Probed) -> bool {
        if probed.reason == Reason::Awaited {
            // A probe that is under way may still bring the report from before the promotion.
            self.doubt(&probed.node);
            self.awaited = None;
        } else if probed.reason == Reason::Asked {
            let counts = match self.probing.remove(&probed.node) {
                None | Some(Outdated::Nothing) => true,
                Some(Outdated::Denial) => probed.report == NodeReport::Master,
                Some(Outdated::Everything) => false,
            };
            if !counts {
                self.ask(probed.node.clone());
                if !matches!(probed.report, NodeReport::Failed(_)) {
                    return true;
                }
            }
        }
        match probed.refusal {
            Some(refusal) => self.refusals.insert(probed.node.clone(), refusal),
            None => self.refusals.remove(&probed.node),
        };
        let now = Instant::now();
        match probed.report.complaint() {
            Some(complaint) => {
                let node = probed.node.clone();
                self.complaints.insert(node, (complaint, now))
            }
            None => self.complaints.remove(&probed.node),
        };
        if let Some(offset) = probed.offset {
            self.offsets.insert(probed.node.clone(), (offset, now));
        }
        if let Some(took) = probed.round_trip {
            let round_trips = self.round_trips.entry(probed.node.clone()).or_default();
            round_trips.note(took);
        }
        let following_changed = if probed.has_replicas {
            self.followed.insert(probed.node.clone())
        } else {
            self.followed.remove(&probed.node)
        };
        let is_another = self.note_identity(&probed.node, probed.identity, &probed.report);
        let last = self
            .last_said
            .insert(probed.node.clone(), probed.report.clone());
        let is_news = following_changed || is_another || last.as_ref() != Some(&probed.report);
        self.node_reports.insert(probed.node, (probed.report, now));
        is_news
    }

    /// Says whether it was another before.
    fn note_identity(&mut self, node: &Node, identity: Identity, report: &NodeReport) -> bool {
        let before = self.identities.get(node);
        let before = before.and_then(|identity| identity.run_id.as_ref());
        if matches!(report, NodeReport::Replica { .. } | NodeReport::SomeReplica) {
            self.restarted.remove(node);
        } else if before.is_some()
            && identity.run_id.is_some()
            && before != identity.run_id.as_ref()
        {
            self.restarted.insert(node.clone());
        }
        let known = self.identities.entry(node.clone()).or_default();
        let told = identity.run_id.is_some();
        let next = Identity {
            // The replication id says something only together with the role of the same answer.
            timeline: identity.timeline,
            // One that answers nothing now is where it was.
            zone: if told || identity.zone.is_some() {
                identity.zone
            } else {
                known.zone.clone()
            },
            run_id: identity.run_id.or_else(|| known.run_id.clone()),
        };
        let is_another = *known != next;
        *known = next;
        is_another
    }

    /// The first of these nodes that refused us, with its error.
    pub(super) fn refusal<'a>(
        &self,
        mut nodes: impl Iterator<Item = &'a Node>,
    ) -> Option<(&Node, &RedisError)> {
        nodes.find_map(|node| self.refusals.get_key_value(node))
    }

    /// Whether a node is being asked.
    pub(super) fn is_asking(&self) -> bool {
        !self.probing.is_empty()
    }

    /// Whether all of these nodes have answered, or have failed to.
    pub(super) fn has_heard<'a>(&self, mut nodes: impl Iterator<Item = &'a Node>) -> bool {
        nodes.all(|node| self.node_reports.contains_key(node))
    }

    /// Whether one of these nodes has answered.
    pub(super) fn is_any_there<'a>(&self, mut nodes: impl Iterator<Item = &'a Node>) -> bool {
        nodes.any(|node| {
            let report = self.node_reports.get(node).map(|(report, _)| report);
            report.is_some_and(|report| !matches!(report, NodeReport::Failed(_)))
        })
    }

    /// What the nodes say that matters to a human reader: why they cannot be used, and that one of
    /// `masters`, which may be the master, is none.
    pub(super) fn describe(&self, masters: &[&Node]) -> Vec<(String, String)> {
        let named = |node: &Node| masters.contains(&node);
        let text = |node: &Node, report: &NodeReport| match report {
            NodeReport::Replica { master, .. } if named(node) => {
                Some(format!("says it is a replica of {master}"))
            }
            NodeReport::SomeReplica if named(node) => Some("says it is a replica".to_owned()),
            report => report.complaint(),
        };
        let reported = self.node_reports.iter();
        let reported = reported
            .filter_map(|(node, (report, _))| Some((node.to_string(), text(node, report)?)));
        let unheard = self.probing.keys();
        let unheard = unheard
            .filter(|node| named(node) && !self.node_reports.contains_key(*node))
            .map(|node| {
                let last = self.complaints.get(node).map(|(last, _)| last.clone());
                let text = last.unwrap_or_else(|| "has not answered yet".to_owned());
                (node.to_string(), text)
            });
        reported.chain(unheard).collect()
    }
}
