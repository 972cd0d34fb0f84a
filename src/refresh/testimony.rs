//! What the nodes say of themselves, for as long as it counts.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use redis::RedisError;
use tokio::{sync::mpsc, time::Instant};

use super::{
    probe::{self, Probed},
    report,
    vigil::Vigil,
};
use crate::{
    config::Config,
    node::Node,
    sentinel::answer::View,
    task::Task,
    topology::reducer::{Proof, Proofs},
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
pub(super) struct Testimony {
    config: Arc<Config>,
    proofs: HashMap<Node, (Proof, Instant)>,
    /// Why a node refused us, in its own words, for the caller of `connect`.
    refusals: HashMap<Node, RedisError>,
    /// Nodes being asked, and what of their answers will be out of date already.
    probing: HashMap<Node, Outdated>,
    /// The node that is asked again and again until it is a master.
    awaited: Option<(Node, Task)>,
    probed: mpsc::Sender<Probed>,
}

impl Testimony {
    /// What nodes answer arrives as `probed`, to be noted.
    pub(super) fn new(config: Arc<Config>, probed: mpsc::Sender<Probed>) -> Self {
        Self {
            config,
            proofs: HashMap::new(),
            refusals: HashMap::new(),
            probing: HashMap::new(),
            awaited: None,
            probed,
        }
    }

    /// What a node said before now does not count any more, nor what it is just saying.
    pub(super) fn doubt(&mut self, node: &Node) {
        self.proofs.remove(node);
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Everything;
        }
    }

    /// It is said to be a master, or to become one: if it has just said so itself, or is about to, it
    /// need not say it again.
    pub(super) fn doubt_denial(&mut self, node: &Node) {
        if let Some((proof, at)) = self.proofs.get(node)
            && (*proof != Proof::Master || at.elapsed() > NEWS_IS_FRESH)
        {
            self.proofs.remove(node);
        }
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = Outdated::Denial.max(*outdated);
        }
    }

    /// Forgets what was said too long ago.
    pub(super) fn forget_old(&mut self, now: Instant) {
        let good_news_last = self.config.refresh_interval / 2;
        self.proofs.retain(|_, (proof, at)| {
            let good = matches!(proof, Proof::Master | Proof::SomeReplica)
                || matches!(proof, Proof::Replica { link: None, .. });
            now - *at < if good { good_news_last } else { BAD_NEWS_LASTS }
        });
    }

    /// A node that a Sentinel now calls the master said that it was a replica before it was one.
    pub(super) fn forget_denials(&mut self, views: &[View], now: Instant) {
        for claimed in views.iter().map(|view| &view.master) {
            if let Some((proof, at)) = self.proofs.get(claimed)
                && *proof != Proof::Master
                && now - *at > BAD_NEWS_LASTS
            {
                self.proofs.remove(claimed);
            }
        }
    }

    pub(super) fn proofs(&self) -> Proofs {
        self.proofs
            .iter()
            .map(|(node, (proof, _))| (node.clone(), proof.clone()))
            .collect()
    }

    /// Asks a node once, unless it is being asked.
    pub(super) fn ask(&mut self, node: Node) {
        if let Entry::Vacant(free) = self.probing.entry(node) {
            let node = free.key().clone();
            free.insert(Outdated::Nothing);
            let config = Arc::clone(&self.config);
            let probed = self.probed.clone();
            tokio::spawn(async move {
                let result = probe::probe(&config, node).await;
                // The receiver is gone only when the pool is, and then nobody needs the answer.
                let _ = probed.send(result).await;
            });
        }
    }

    /// Asks this node again and again until it says that it is a master, and no other any more. Begins
    /// when it has said once that it is none.
    pub(super) fn wait_for(&mut self, awaited: Option<Node>) {
        if self.awaited.as_ref().map(|(node, _)| node) == awaited.as_ref() {
            return;
        }
        let awaited = awaited.filter(|node| self.proofs.contains_key(node));
        self.awaited = awaited.map(|node| {
            let config = Arc::clone(&self.config);
            let probed = self.probed.clone();
            let subject = node.clone();
            let task = Task::spawn(async move {
                let promoted = Vigil::new(config, subject).until_promoted().await;
                let _ = probed.send(promoted).await;
            });
            (node, task)
        });
    }

    pub(super) fn note(&mut self, probed: Probed) {
        if probed.awaited {
            // What it is asked apart from this may be answered by what it was before.
            self.doubt(&probed.node);
            self.awaited = None;
        } else {
            let counts = match self.probing.remove(&probed.node) {
                None | Some(Outdated::Nothing) => true,
                Some(Outdated::Denial) => probed.proof == Proof::Master,
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
        self.proofs
            .insert(probed.node, (probed.proof, Instant::now()));
    }

    /// A node that a Sentinel calls the master and that refused us, with its reason.
    pub(super) fn refusal(&self, views: &[View]) -> Option<(&Node, &RedisError)> {
        views
            .iter()
            .find_map(|view| self.refusals.get_key_value(&view.master))
    }

    /// What the nodes say of themselves, as far as it is worth telling.
    pub(super) fn words(&self, views: &[View]) -> Vec<(String, String)> {
        let claimed = |node: &Node| views.iter().any(|view| view.master == *node);
        let words = self.proofs.iter().filter_map(|(node, (proof, _))| {
            let word = match proof {
                Proof::Replica { master, .. } if claimed(node) => {
                    format!("says it is a replica of {master}")
                }
                Proof::SomeReplica if claimed(node) => "says it is a replica".to_owned(),
                proof => report::complaint(proof)?,
            };
            Some((node.to_string(), word))
        });
        let unheard = self
            .probing
            .keys()
            .filter(|node| claimed(node) && !self.proofs.contains_key(*node))
            .map(|node| (node.to_string(), "has not answered yet".to_owned()));
        words.chain(unheard).collect()
    }
}
