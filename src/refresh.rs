//! Keeps the topology true: events, poll and suspicion lead to a look; a look's answers and the
//! nodes' own word lead to a new snapshot.
//!
//! One task owns everything here. Sentinels and nodes are asked by tasks of their own, which report
//! through one channel; after every report the task concludes anew from all it knows, so the first
//! good answer counts at once and a slow one when it comes.

mod fence;
mod probe;
mod report;

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::Arc,
    time::Duration,
};

use redis::RedisError;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};

use self::fence::{Fence, Word};
pub(crate) use self::report::{Report, Verdict};
use crate::{
    config::Config,
    jitter,
    node::Node,
    sentinel::{
        answer::{Answer, View},
        client::{self, Contact},
        event::Event,
        listener,
        message::Message,
        reply::Peer,
    },
    task::Task,
    topology::{
        Handle, Topology,
        reducer::{self, Proof, Proofs},
    },
};

/// Where things are in motion (a claim to settle, a replica about to be readable), the next look
/// comes this soon, and then ever later up to the poll interval.
const QUICK: Duration = Duration::from_millis(100);
/// A word of a node that speaks against using it is asked for again after this long.
const BAD_NEWS_LASTS: Duration = Duration::from_millis(50);
/// Suspicions that come sooner than this after a look share the next one: under load every command
/// may be one, and looks as frequent as commands would be a storm of their own.
const REST: Duration = Duration::from_millis(25);
/// More Sentinels than any deployment has; a hostile answer may list thousands.
const MAX_SENTINELS: usize = 32;

/// A Sentinel and the two tasks that talk to it.
#[derive(Debug)]
struct Link {
    /// Configured, hence never forgotten.
    seed: bool,
    said: Option<Result<Box<Answer>, String>>,
    /// The newest look it has answered, or failed to.
    look: u64,
    _tasks: [Task; 2],
}

#[derive(Debug)]
pub(crate) struct Refresh {
    config: Arc<Config>,
    handle: Arc<Handle>,
    report: Arc<Report>,
    looks: watch::Sender<u64>,
    look: u64,
    look_began: Option<Instant>,
    next_look: Instant,
    quick: Duration,
    links: HashMap<Node, Link>,
    fence: Fence,
    proofs: HashMap<Node, (Proof, Instant)>,
    /// Why a node refused us, in its own words, for the caller of `connect`.
    refusals: HashMap<Node, RedisError>,
    /// Nodes being asked, and whether what they say will be out of date already.
    probing: HashMap<Node, bool>,
    probed: mpsc::Sender<probe::Probed>,
    messages: mpsc::Sender<Message>,
}

impl Refresh {
    /// Starts the task. It lives until the returned guard is dropped.
    pub(crate) fn spawn(config: Arc<Config>, handle: Arc<Handle>, report: Arc<Report>) -> Task {
        let (messages, inbox) = mpsc::channel(64);
        let (probed, probes) = mpsc::channel(64);
        let mut refresh = Self {
            config,
            handle,
            report,
            looks: watch::Sender::new(0),
            look: 0,
            look_began: None,
            next_look: Instant::now(),
            quick: QUICK,
            links: HashMap::new(),
            fence: Fence::default(),
            proofs: HashMap::new(),
            refusals: HashMap::new(),
            probing: HashMap::new(),
            probed,
            messages,
        };
        for node in refresh.config.sentinel_nodes() {
            refresh.link(node.clone(), node, true);
        }
        Task::spawn(refresh.run(inbox, probes))
    }

    async fn run(
        mut self,
        mut inbox: mpsc::Receiver<Message>,
        mut probes: mpsc::Receiver<probe::Probed>,
    ) {
        loop {
            let handle = Arc::clone(&self.handle);
            tokio::select! {
                Some(message) = inbox.recv() => self.hear(message),
                Some(probed) = probes.recv() => self.note(probed),
                () = handle.look_requested() => self.look_soon(),
                () = tokio::time::sleep_until(self.next_look) => self.begin_look(),
            }
            self.conclude();
        }
    }

    fn look_soon(&mut self) {
        let now = Instant::now();
        match self.look_began.map(|began| began + REST) {
            Some(rested) if rested > now => self.next_look = self.next_look.min(rested),
            _ => self.begin_look(),
        }
    }

    /// Asks every known Sentinel, and forgets what nodes said that is too old or was put in doubt.
    fn begin_look(&mut self) {
        let now = Instant::now();
        for suspect in self.handle.take_suspects() {
            self.doubt(&suspect);
        }
        let good_news_last = self.config.refresh_interval / 2;
        self.proofs.retain(|_, (proof, at)| {
            let good = matches!(proof, Proof::Master | Proof::SomeReplica)
                || matches!(proof, Proof::Replica { link: None, .. });
            now - *at < if good { good_news_last } else { BAD_NEWS_LASTS }
        });
        self.look += 1;
        self.look_began = Some(now);
        self.looks.send_replace(self.look);
        self.report.look_began(self.look);
        self.next_look = now + jitter::around(self.config.refresh_interval, 20);
    }

    fn hear(&mut self, message: Message) {
        match message {
            Message::Answer {
                sentinel,
                look,
                answer,
            } => {
                let peers = match &answer {
                    Ok(answer) => answer.peers.clone(),
                    Err(_) => Vec::new(),
                };
                let epoch = self.handle.snapshot().epoch;
                if let Ok(answer) = &answer
                    && answer.view.as_ref().is_some_and(|view| view.epoch < epoch)
                {
                    self.report.stale_answer();
                }
                if let Some(link) = self.links.get_mut(&sentinel) {
                    link.look = link.look.max(look);
                    link.said = Some(answer);
                }
                self.learn(peers);
            }
            Message::Event { sentinel, event } => {
                self.on_event(&sentinel, &event);
            }
            Message::Subscribed => self.begin_look(),
        }
    }

    /// An event tells when to look, and which node's word has become doubtful.
    fn on_event(&mut self, sentinel: &Node, event: &Event) {
        tracing::debug!(%sentinel, ?event, "a Sentinel published an event");
        self.report.event();
        let current = self.handle.snapshot();
        let look = self.look + 1;
        self.fence
            .note(sentinel, event, &current, look, Instant::now());
        if let Some(node) = &event.node {
            self.doubt(node);
        }
        self.quick = QUICK;
        self.begin_look();
    }

    /// Follows up on Sentinels that others know, and lets go of learned ones that are gone.
    fn learn(&mut self, peers: Vec<Peer>) {
        for peer in peers {
            let known = self.links.contains_key(&peer.node)
                || peer.id.is_some() && self.ids().any(|id| Some(id) == peer.id.as_deref());
            if !known && peer.is_alive() && self.links.len() < MAX_SENTINELS {
                let address = match &self.config.address_map {
                    Some(map) => map.apply(&peer.node),
                    None => peer.node.clone(),
                };
                self.link(peer.node, address, false);
            }
        }
        // Where nobody answers, that nobody lists a Sentinel says nothing about it; and were the
        // learned ones let go of then, only the configured ones could ever be asked again.
        if self.answers().next().is_none() {
            return;
        }
        let listed: HashSet<Node> = self
            .answers()
            .flat_map(|answer| &answer.peers)
            .filter(|peer| peer.is_alive())
            .map(|peer| peer.node.clone())
            .collect();
        self.links.retain(|node, link| {
            link.seed || !matches!(link.said, Some(Err(_))) || listed.contains(node)
        });
    }

    fn link(&mut self, name: Node, address: Node, seed: bool) {
        let contact = Contact {
            name: name.clone(),
            address,
        };
        let config = &self.config;
        let asking = client::run(
            contact.clone(),
            Arc::clone(config),
            self.looks.subscribe(),
            self.messages.clone(),
        );
        let listening = listener::run(contact, Arc::clone(config), self.messages.clone());
        let link = Link {
            seed,
            said: None,
            look: 0,
            _tasks: [Task::spawn(asking), Task::spawn(listening)],
        };
        self.links.insert(name, link);
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.links
            .values()
            .filter_map(|link| Some(link.said.as_ref()?.as_ref().ok()?.as_ref()))
    }

    fn ids(&self) -> impl Iterator<Item = &str> {
        self.answers().filter_map(|answer| answer.id.as_deref())
    }

    /// The word of every Sentinel that answered, each Sentinel once: one that is configured by one
    /// name and announced by another must not vote twice.
    fn views(&self) -> Vec<View> {
        let mut seen = HashSet::new();
        self.answers()
            .filter(|answer| answer.id.as_ref().is_none_or(|id| seen.insert(id)))
            .filter_map(|answer| answer.view.clone())
            .collect()
    }

    /// What a node said before now does not count any more, nor what it is just saying.
    fn doubt(&mut self, node: &Node) {
        self.proofs.remove(node);
        if let Some(outdated) = self.probing.get_mut(node) {
            *outdated = true;
        }
    }

    fn note(&mut self, probed: probe::Probed) {
        if self.probing.remove(&probed.node) == Some(true) {
            return self.probe(probed.node);
        }
        match probed.refusal {
            Some(refusal) => self.refusals.insert(probed.node.clone(), refusal),
            None => self.refusals.remove(&probed.node),
        };
        self.proofs
            .insert(probed.node, (probed.proof, Instant::now()));
    }

    /// Decides from all that is known, publishes what changed and asks for what is missing.
    fn conclude(&mut self) {
        for silent in self.handle.take_silent() {
            self.doubt(&silent);
        }
        let current = self.handle.snapshot();
        let views = self.views();
        // A node that a Sentinel now calls the master said that it was a replica before it was one.
        let now = Instant::now();
        for claimed in views.iter().map(|view| &view.master) {
            if let Some((proof, at)) = self.proofs.get(claimed)
                && *proof != Proof::Master
                && now - *at > BAD_NEWS_LASTS
            {
                self.proofs.remove(claimed);
            }
        }
        let proofs: Proofs = self
            .proofs
            .iter()
            .map(|(node, (proof, _))| (node.clone(), proof.clone()))
            .collect();
        let election = reducer::elect(&current, &views, &proofs);
        let mut next = Topology::clone(&current);
        if let Some((master, epoch)) = election.adopt.clone() {
            if next.master.as_ref() != Some(&master) {
                tracing::info!(%master, epoch, old = ?next.master, "the master changed");
                next.master_since = current.version + 1;
                self.quick = QUICK;
                self.fence.reset();
            }
            next.master = Some(master);
            next.epoch = epoch;
        }
        let mut ask = election.ask.clone();
        // Nominated replicas are asked along with the claimed master, not after it.
        let claimed = views.iter().max_by_key(|view| view.epoch);
        let master = next.master.clone();
        if let Some(master) = master.or_else(|| claimed.map(|view| view.master.clone())) {
            let version = current.version + 1;
            let (replicas, unheard) =
                reducer::replicas(&current, &master, &views, &proofs, version);
            if next.master.is_some() {
                next.replicas = replicas;
            }
            // While a replica has yet to speak again, what was stated stands.
            if election.adopt.is_some() {
                let stated = current.unproven.clone().filter(|_| !unheard.is_empty());
                let unproven = election.unproven.clone();
                next.unproven = unproven.or_else(|| muted(&proofs)).or(stated);
            }
            ask.extend(unheard);
        }
        next.fence = self.raise_or_lift(&next, &proofs);
        // It is its own word that lifts the fence.
        if next.fence.is_some()
            && let Some(master) = next
                .master
                .as_ref()
                .filter(|node| !proofs.contains_key(*node))
        {
            ask.push(master.clone());
        }
        let waiting = !ask.is_empty();
        for node in ask {
            self.probe(node);
        }
        self.publish(&current, next);
        let settled = self.handle.snapshot();
        let unsettled = election.contested || settled.in_motion() || settled.fence.is_some();
        self.schedule(unsettled);
        self.report_progress(&views, waiting);
    }

    fn raise_or_lift(&mut self, next: &Topology, proofs: &Proofs) -> Option<String> {
        let words: Vec<Word<'_>> = self
            .links
            .iter()
            .map(|(sentinel, link)| Word {
                sentinel,
                look: link.look,
                answer: match &link.said {
                    Some(Ok(answer)) => Some(answer),
                    _ => None,
                },
            })
            .collect();
        let fence = self.fence.judge(next, &words, proofs, Instant::now());
        match (&next.fence, &fence) {
            (None, Some(sign)) => tracing::info!(sign, "the fence is raised"),
            (Some(_), None) => tracing::info!(master = ?next.master, "the fence is lifted"),
            _ => {}
        }
        fence
    }

    fn publish(&self, current: &Topology, next: Topology) {
        if next != *current {
            self.handle.publish(next);
        }
    }

    fn schedule(&mut self, unsettled: bool) {
        if !unsettled {
            self.quick = QUICK;
        } else if self.next_look > Instant::now() + self.quick {
            self.next_look = Instant::now() + jitter::around(self.quick, 20);
            self.quick = (self.quick * 3 / 2).min(self.config.refresh_interval);
        }
    }

    fn probe(&mut self, node: Node) {
        if let Entry::Vacant(free) = self.probing.entry(node) {
            let node = free.key().clone();
            free.insert(false);
            let config = Arc::clone(&self.config);
            let probed = self.probed.clone();
            tokio::spawn(async move {
                let result = probe::probe(&config, node).await;
                // The receiver is gone only when the pool is, and then nobody needs the answer.
                let _ = probed.send(result).await;
            });
        }
    }

    /// What the nodes say of themselves, as far as it is worth telling.
    fn words(&self, views: &[View]) -> Vec<(String, String)> {
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

    fn report_progress(&self, views: &[View], waiting: bool) {
        let reported = self.links.values().filter(|link| link.look >= self.look);
        let (mut failed, mut answered) = (0, 0);
        for link in reported {
            match link.said {
                Some(Ok(_)) => answered += 1,
                _ => failed += 1,
            }
        }
        let everybody = answered + failed == self.links.len();
        let enough = everybody || answered * 2 >= self.links.len();
        let refused = views
            .iter()
            .find_map(|view| Some((&view.master, self.refusals.get(&view.master)?)));
        let reachable = self.answers().count();
        // What it is if nothing more is heard; final once everybody has spoken.
        let outlook = if let Some((node, error)) = refused {
            Verdict::Refused(node.clone(), error.clone())
        } else if reachable == 0 {
            Verdict::NoSentinel
        } else if views.is_empty() {
            Verdict::UnknownMaster
        } else {
            Verdict::Open
        };
        let verdict = match &outlook {
            Verdict::Refused(..) => outlook.clone(),
            Verdict::NoSentinel | Verdict::UnknownMaster if everybody => outlook.clone(),
            _ => Verdict::Open,
        };
        let said = self
            .links
            .iter()
            .map(|(node, link)| (node.to_string(), describe(link.said.as_ref())));
        self.report.update(report::Update {
            verdict,
            outlook,
            known: self.links.len(),
            reachable,
            answered: answered > 0,
            said: said.chain(self.words(views)).collect(),
            completed: (enough && !waiting).then_some(self.look),
        });
    }
}

/// What is to be stated where replicas hide whom they follow.
fn muted(proofs: &Proofs) -> Option<String> {
    let mut hidden = proofs
        .iter()
        .filter(|(_, proof)| **proof == Proof::SomeReplica);
    let (node, _) = hidden.next()?;
    Some(format!(
        "{node} may not tell whom it follows (ROLE is refused), so the Sentinels' word has to do"
    ))
}

fn describe(said: Option<&Result<Box<Answer>, String>>) -> String {
    match said {
        None => "has not answered yet".to_owned(),
        Some(Err(error)) => error.clone(),
        Some(Ok(answer)) => match &answer.view {
            None => "does not monitor this master name".to_owned(),
            Some(view) => format!("master is {} (epoch {})", view.master, view.epoch),
        },
    }
}
