//! What the nodes say of themselves, for as long as it counts.

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
        progress,
        promotion_watch::PromotionWatch,
    },
    sentinel::answer::View,
    util::abort_on_drop::AbortOnDrop,
};

/// A word of a node that speaks against using it is asked for again after this long.
const BAD_NEWS_LASTS: Duration = Duration::from_millis(50);
/// The steps of a failover are published in bursts, each of which speaks of the same moment.
const NEWS_IS_FRESH: Duration = Duration::from_millis(50);

/// What of a node's answer does not count, because the question was put before it was in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outdated {
    Nothing,
    /// That it is no master.
    Denial,
    Everything,
}

#[derive(Debug)]
pub(super) struct ProbeCache {
    config: Arc<Config>,
    node_reports: HashMap<Node, (NodeReport, Instant)>,
    /// What the nodes said of themselves beside their role; kept for as long as they are known.
    identities: HashMap<Node, Identity>,
    offsets: Offsets,
    /// Nodes that were started anew since they said that they were replicas.
    restarted: HashSet<Node>,
    /// Masters that say that replicas are connected to them.
    followed: HashSet<Node>,
    probers: HashMap<Node, Prober>,
    /// Why a node refused us, in its own words, for the caller of `connect`.
    refusals: HashMap<Node, RedisError>,
    /// What a node said last, or why it could not be asked, where that speaks against it: the caller
    /// of `connect` is told it until the node has answered again.
    complaints: HashMap<Node, (String, Instant)>,
    /// Nodes being asked, and what of their answers will be out of date already.
    probing: HashMap<Node, Outdated>,
    /// The node that is asked again and again until it is a master.
    awaited: Option<(Node, AbortOnDrop)>,
    probed: mpsc::Sender<Probed>,
}

impl ProbeCache {
    /// What nodes answer arrives as `probed`, to be noted.
    pub(super) fn new(config: Arc<Config>, probed: mpsc::Sender<Probed>) -> Self {
        let client_name = config.client_name.as_ref();
        Self {
            // A caller that looks for its connections in CLIENT LIST must not find these among them.
            config: Arc::new(Config {
                client_name: client_name.map(|name| format!("{name}-probe")),
                ..Config::clone(&config)
            }),
            node_reports: HashMap::new(),
            identities: HashMap::new(),
            offsets: Offsets::new(),
            restarted: HashSet::new(),
            followed: HashSet::new(),
            probers: HashMap::new(),
            refusals: HashMap::new(),
            complaints: HashMap::new(),
            probing: HashMap::new(),
            awaited: None,
            probed,
        }
    }

    /// What a node said before now does not count any more, nor what it is just saying.
    pub(super) fn doubt(&mut self, node: &Node) {
        self.node_reports.remove(node);
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Everything;
        }
    }

    /// It is said to be a master, or to become one: if it has just said so itself, or is about to, it
    /// need not say it again.
    pub(super) fn doubt_denial(&mut self, node: &Node) {
        if let Some((node_report, at)) = self.node_reports.get(node)
            && (*node_report != NodeReport::Master || at.elapsed() > NEWS_IS_FRESH)
        {
            self.node_reports.remove(node);
        }
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Denial.max(*outdated);
        }
    }

    /// Forgets what was said too long ago.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let good_news_last = self.config.refresh_interval / 2;
        self.node_reports.retain(|_, (node_report, at)| {
            let good = matches!(node_report, NodeReport::Master | NodeReport::SomeReplica)
                || matches!(node_report, NodeReport::Replica { link: None, .. });
            now - *at < if good { good_news_last } else { BAD_NEWS_LASTS }
        });
        // One that is not asked any more, because nobody names it, need not be remembered.
        let remembered = self.config.refresh_interval * 2;
        self.complaints
            .retain(|node, (_, at)| self.probing.contains_key(node) || now - *at < remembered);
    }

    /// A node that a Sentinel now calls the master said that it was a replica before it was one.
    pub(super) fn forget_denials(&mut self, views: &[View], now: Instant) {
        for claimed in views.iter().map(|view| &view.master) {
            if let Some((node_report, at)) = self.node_reports.get(claimed)
                && *node_report != NodeReport::Master
                && now - *at > BAD_NEWS_LASTS
            {
                self.node_reports.remove(claimed);
            }
        }
    }

    pub(super) fn node_reports(&self) -> NodeReports {
        self.node_reports
            .iter()
            .map(|(node, (node_report, _))| (node.clone(), node_report.clone()))
            .collect()
    }

    /// Asks a node once, unless it is being asked.
    pub(super) fn ask(&mut self, node: Node) {
        if let Entry::Vacant(free) = self.probing.entry(node) {
            let node = free.key().clone();
            free.insert(Outdated::Nothing);
            let prober = self.probers.entry(node).or_insert_with_key(|node| {
                Prober::spawn(Arc::clone(&self.config), node.clone(), self.probed.clone())
            });
            prober.ask();
        }
    }

    /// Lets go of the connections to nodes that are not these.
    pub(super) fn retain(&mut self, known: &HashSet<&Node>) {
        let probing = &self.probing;
        self.probers
            .retain(|node, _| known.contains(node) || probing.contains_key(node));
        self.identities.retain(|node, _| known.contains(node));
        self.offsets.retain(|node, _| known.contains(node));
        self.restarted.retain(|node| known.contains(node));
        self.followed.retain(|node| known.contains(node));
    }

    /// Sees to it that there is a connection to each of these nodes, whether or not its word is needed
    /// now: its end is a sign.
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

    pub(super) fn offsets(&self) -> &Offsets {
        &self.offsets
    }

    pub(super) fn restarted(&self) -> &HashSet<Node> {
        &self.restarted
    }

    pub(super) fn followed(&self) -> &HashSet<Node> {
        &self.followed
    }

    /// Asks this node again and again until it says that it is a master, and no other any more. Begins
    /// when it has said once that it is none.
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

    pub(super) fn note(&mut self, probed: Probed) {
        if probed.reason == Reason::Awaited {
            // What it is asked apart from this may be answered by what it was before.
            self.doubt(&probed.node);
            self.awaited = None;
        } else if probed.reason == Reason::Asked {
            let counts = match self.probing.remove(&probed.node) {
                None | Some(Outdated::Nothing) => true,
                Some(Outdated::Denial) => probed.node_report == NodeReport::Master,
                Some(Outdated::Everything) => false,
            };
            if !counts {
                return self.ask(probed.node);
            }
        }
        match probed.refusal {
            Some(refusal) => self.refusals.insert(probed.node.clone(), refusal),
            None => self.refusals.remove(&probed.node),
        };
        let now = Instant::now();
        match progress::complaint(&probed.node_report) {
            Some(complaint) => {
                let node = probed.node.clone();
                self.complaints.insert(node, (complaint, now))
            }
            None => self.complaints.remove(&probed.node),
        };
        if let Some(offset) = probed.offset {
            self.offsets.insert(probed.node.clone(), (offset, now));
        }
        if probed.has_replicas {
            self.followed.insert(probed.node.clone());
        } else {
            self.followed.remove(&probed.node);
        }
        self.note_identity(&probed.node, probed.identity, &probed.node_report);
        self.node_reports
            .insert(probed.node, (probed.node_report, now));
    }

    fn note_identity(&mut self, node: &Node, identity: Identity, node_report: &NodeReport) {
        let before = self.identities.get(node);
        let before = before.and_then(|identity| identity.run_id.as_ref());
        if matches!(
            node_report,
            NodeReport::Replica { .. } | NodeReport::SomeReplica
        ) {
            self.restarted.remove(node);
        } else if before.is_some()
            && identity.run_id.is_some()
            && before != identity.run_id.as_ref()
        {
            self.restarted.insert(node.clone());
        }
        // Whose history it has is known only for as long as its role is.
        let known = self.identities.entry(node.clone()).or_default();
        known.timeline = identity.timeline;
        if identity.run_id.is_some() {
            known.run_id = identity.run_id;
        }
    }

    /// A node that a Sentinel calls the master and that refused us, with its reason.
    pub(super) fn refusal(&self, views: &[View]) -> Option<(&Node, &RedisError)> {
        views
            .iter()
            .find_map(|view| self.refusals.get_key_value(&view.master))
    }

    /// What the nodes say of themselves, as far as it is worth telling.
    pub(super) fn reports(&self, views: &[View]) -> Vec<(String, String)> {
        let claimed = |node: &Node| views.iter().any(|view| view.master == *node);
        let reports = self
            .node_reports
            .iter()
            .filter_map(|(node, (node_report, _))| {
                let report = match node_report {
                    NodeReport::Replica { master, .. } if claimed(node) => {
                        format!("says it is a replica of {master}")
                    }
                    NodeReport::SomeReplica if claimed(node) => "says it is a replica".to_owned(),
                    node_report => progress::complaint(node_report)?,
                };
                Some((node.to_string(), report))
            });
        let unheard = self
            .probing
            .keys()
            .filter(|node| claimed(node) && !self.node_reports.contains_key(*node))
            .map(|node| {
                let last = self.complaints.get(node).map(|(last, _)| last.clone());
                let report = last.unwrap_or_else(|| "has not answered yet".to_owned());
                (node.to_string(), report)
            });
        reports.chain(unheard).collect()
    }
}
