//! The Sentinels that are known, the tasks that talk to each, and what each said last.
//!
//! A link is an address. Which Sentinel answers there, and which one is listened to, is told by the
//! connection: a balanced address leads to another one each time. A Sentinel has been reached when
//! one link both asks it and listens to it.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    error::Reports,
    node::Node,
    refresh::decide::sentinel_report::SentinelReport,
    sentinel::{
        answer::Answer,
        client::{self, Contact},
        id::SentinelId,
        listener,
        message::{Message, SentinelError},
        refused::Refused,
        reply::Peer,
    },
    util::abort_on_drop::AbortOnDrop,
};

/// More Sentinels than any deployment has; a hostile answer may list thousands.
const MAX_SENTINELS: usize = 32;
/// More warnings than any deployment is worth: a hostile Sentinel may have ever new ids.
const MAX_WARNINGS: usize = 1024;

/// An address of a Sentinel and the two tasks that talk to it.
#[derive(Debug)]
struct SentinelTasks {
    /// Configured, hence never forgotten.
    seed: bool,
    /// Who answered there last.
    sentinel: SentinelId,
    last: Option<Result<Box<Answer>, SentinelError>>,
    /// The newest refresh it has answered, or failed to.
    round: u64,
    events: Events,
    _tasks: [AbortOnDrop; 2],
}

/// Whose events come by way of a link.
#[derive(Debug)]
enum Events {
    NotYet,
    Of {
        /// Where it did not tell its id, it is the Sentinel that answers there.
        id: Option<String>,
        refused: Option<Refused>,
    },
    Nobodys(SentinelError),
}

#[derive(Debug)]
pub(super) struct SentinelSet {
    config: Arc<Config>,
    refreshes: watch::Sender<u64>,
    messages: mpsc::Sender<Message>,
    sentinels: BTreeMap<Node, SentinelTasks>,
    /// What was warned of already: once for a Sentinel and a command.
    warned: BTreeSet<(SentinelId, &'static str)>,
}

/// How many links there are, and what has become of a look at them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turnout {
    pub(super) known: usize,
    pub(super) answered: usize,
    pub(super) failed: usize,
}

/// How the pool stands with the Sentinels, each of them counted once.
#[derive(Debug)]
pub(super) struct SentinelCounts {
    pub(super) known: usize,
    /// How many answered when last asked.
    pub(super) reachable: usize,
    /// How many are listened to.
    pub(super) listening: usize,
    /// Why the others are not.
    pub(super) unheard: Reports,
    /// What those that answer or are listened to keep from us.
    pub(super) refused: Reports,
}

impl SentinelSet {
    /// Links to the configured Sentinels. What they say arrives as `messages`.
    pub(super) fn new(config: Arc<Config>, messages: mpsc::Sender<Message>) -> Self {
        let mut sentinels = Self {
            config: Arc::clone(&config),
            refreshes: watch::Sender::new(0),
            messages,
            sentinels: BTreeMap::new(),
            warned: BTreeSet::new(),
        };
        for node in config.sentinel_nodes() {
            sentinels.tasks(SentinelId::from(node.clone()), node.clone(), node, true);
        }
        sentinels
    }

    /// Asks all of them.
    pub(super) fn ask(&self, round: u64) {
        self.refreshes.send_replace(round);
    }

    /// Takes note of what a Sentinel said, and follows up on others that it knows.
    pub(super) fn note_answer(
        &mut self,
        name: &Node,
        round: u64,
        answer: Result<Box<Answer>, SentinelError>,
    ) {
        let (id, peers, refused) = match &answer {
            Ok(answer) => (
                answer.id.clone(),
                answer.peers.clone(),
                answer.refused.clone(),
            ),
            Err(silence) => {
                let refused = silence.refused("SENTINEL");
                (None, Vec::new(), refused.into_iter().collect())
            }
        };
        if id.is_some() {
            self.recognize(name, id);
        }
        if let Some(tasks) = self.sentinels.get_mut(name) {
            tasks.round = tasks.round.max(round);
            tasks.last = Some(answer);
            let sentinel = tasks.sentinel.clone();
            self.warn(&sentinel, &refused);
        }
        self.learn(peers);
    }

    /// The events of a Sentinel are listened by way of a link.
    pub(super) fn note_subscribed(
        &mut self,
        name: &Node,
        id: Option<String>,
        refused: Option<Refused>,
    ) {
        let sentinel = self.identify(name, id.clone());
        self.warn(&sentinel, refused.as_slice());
        if let Some(tasks) = self.sentinels.get_mut(name) {
            tasks.events = Events::Of { id, refused };
        }
    }

    /// No events are listened by way of a link.
    pub(super) fn note_unsubscribed(&mut self, name: &Node, why: SentinelError) {
        let Some(tasks) = self.sentinels.get_mut(name) else {
            return;
        };
        let sentinel = tasks.sentinel.clone();
        let refused = why.refused("SUBSCRIBE");
        tasks.events = Events::Nobodys(why);
        self.warn(&sentinel, refused.as_slice());
    }

    /// The Sentinel that has this id, or if it has not told it, that which the link leads to.
    pub(super) fn identify(&self, name: &Node, id: Option<String>) -> SentinelId {
        let tasks = self.sentinels.get(name);
        let known = |id: &str| {
            let mut sentinels = tasks.into_iter().chain(self.sentinels.values());
            sentinels.find(|tasks| tasks.sentinel.id() == Some(id))
        };
        let sentinel = match &id {
            Some(id) => known(id),
            None => tasks,
        };
        sentinel.map_or_else(
            || SentinelId::new(id, name.clone()),
            |tasks| tasks.sentinel.clone(),
        )
    }

    /// Takes note of which Sentinel a link leads to.
    fn recognize(&mut self, name: &Node, id: Option<String>) {
        let Some(tasks) = self.sentinels.get_mut(name) else {
            return;
        };
        let now = SentinelId::new(id, name.clone());
        let before = std::mem::replace(&mut tasks.sentinel, now.clone());
        if before.id().is_none() {
            let warned = self.warned.iter().filter(|(of, _)| *of == before);
            let warned: Vec<_> = warned.map(|(_, cause)| (now.clone(), *cause)).collect();
            self.warned.extend(warned);
        }
    }

    fn warn(&mut self, sentinel: &SentinelId, refused: &[Refused]) {
        for refused in refused {
            let cause = (sentinel.clone(), refused.command);
            if self.warned.len() < MAX_WARNINGS && self.warned.insert(cause) {
                tracing::warn!(
                    %sentinel,
                    "{refused}: see docs/permissions.md for what the Sentinel user needs"
                );
            }
        }
    }

    /// Follows up on Sentinels that others know, and lets go of learned links that are of no use.
    fn learn(&mut self, peers: Vec<Peer>) {
        for peer in peers {
            if let Some(tasks) = self.sentinels.get(&peer.node) {
                // It may not have told its id, or never have answered.
                if tasks.sentinel.id().is_none() {
                    self.recognize(&peer.node, peer.id);
                }
                continue;
            }
            let sentinel = SentinelId::new(peer.id.clone(), peer.node.clone());
            let reached = self
                .sentinels
                .values()
                .any(|tasks| tasks.may_reach(&sentinel));
            if !reached
                && peer.is_alive()
                && self.sentinels.len() < MAX_SENTINELS
                && let Some(address) = self.config.address_of(&peer.node)
            {
                self.tasks(sentinel, peer.node, address, false);
            }
        }
        self.forget_unlisted();
        self.forget_redundant();
    }

    fn forget_unlisted(&mut self) {
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
        self.sentinels.retain(|node, tasks| {
            tasks.seed || !matches!(tasks.last, Some(Err(_))) || listed.contains(node)
        });
    }

    /// A Sentinel that was learned under one address and turns out to be reached by another already
    /// need not be asked and listened to twice.
    fn forget_redundant(&mut self) {
        let mut reached: HashSet<String> = HashSet::new();
        let mut redundant = Vec::new();
        let (seeds, learned): (Vec<_>, Vec<_>) =
            self.sentinels.iter().partition(|(_, tasks)| tasks.seed);
        for (name, tasks) in seeds.into_iter().chain(learned) {
            let Some(id) = tasks.sentinel.id() else {
                continue;
            };
            if reached.contains(id) && !tasks.seed {
                redundant.push(name.clone());
            } else if tasks.reaches() {
                reached.insert(id.to_owned());
            }
        }
        for name in redundant {
            self.sentinels.remove(&name);
        }
    }

    fn tasks(&mut self, sentinel: SentinelId, name: Node, address: Node, seed: bool) {
        let contact = Contact {
            name: name.clone(),
            address,
        };
        let config = &self.config;
        let (listening, listened) = watch::channel(None);
        let asks = client::run(
            contact.clone(),
            Arc::clone(config),
            self.refreshes.subscribe(),
            listened,
            self.messages.clone(),
        );
        let listens = listener::run(
            contact,
            Arc::clone(config),
            listening,
            self.messages.clone(),
        );
        let tasks = SentinelTasks {
            seed,
            sentinel,
            last: None,
            round: 0,
            events: Events::NotYet,
            _tasks: [AbortOnDrop::spawn(asks), AbortOnDrop::spawn(listens)],
        };
        self.sentinels.insert(name, tasks);
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.sentinels.values().filter_map(SentinelTasks::answer)
    }

    /// The last word of each Sentinel, each Sentinel once: one that is reached by two addresses must
    /// not vote twice.
    pub(super) fn reports(&self) -> Vec<SentinelReport<'_>> {
        let mut reports: BTreeMap<&SentinelId, SentinelReport<'_>> = BTreeMap::new();
        for tasks in self.sentinels.values() {
            let report = SentinelReport {
                sentinel: &tasks.sentinel,
                round: tasks.round,
                answer: tasks.answer(),
            };
            let weight = |report: &SentinelReport<'_>| (report.answer.is_some(), report.round);
            let known = reports.entry(&tasks.sentinel).or_insert(report);
            if weight(&report) > weight(known) {
                *known = report;
            }
        }
        reports.into_values().collect()
    }

    /// What has become of this look so far.
    pub(super) fn turnout(&self, round: u64) -> Turnout {
        // Before the first refresh none has been asked.
        let reported = |tasks: &&SentinelTasks| tasks.last.is_some() && tasks.round >= round;
        let reported = self.sentinels.values().filter(reported);
        let (answered, failed): (Vec<_>, Vec<_>) =
            reported.partition(|tasks| matches!(tasks.last, Some(Ok(_))));
        Turnout {
            known: self.sentinels.len(),
            answered: answered.len(),
            failed: failed.len(),
        }
    }

    /// Whether every one of them turned us away when last asked.
    pub(super) fn refuse_us(&self) -> bool {
        self.sentinels
            .values()
            .all(|tasks| matches!(&tasks.last, Some(Err(silence)) if silence.is_refusal()))
    }

    pub(super) fn counts(&self) -> SentinelCounts {
        let sentinels = || self.sentinels.values();
        let listened: BTreeSet<SentinelId> =
            sentinels().filter_map(SentinelTasks::listened_to).collect();
        let known = sentinels().map(|tasks| tasks.sentinel.clone());
        let known: BTreeSet<SentinelId> = known.chain(listened.iter().cloned()).collect();
        let answered = sentinels().filter(|tasks| tasks.answer().is_some());
        let answered: BTreeSet<&SentinelId> = answered.map(|tasks| &tasks.sentinel).collect();
        let unheard = self
            .sentinels
            .iter()
            .filter(|(_, tasks)| !listened.contains(&tasks.sentinel))
            .map(|(name, tasks)| (name.to_string(), tasks.events.describe()));
        let refused = self.sentinels.iter().flat_map(|(name, tasks)| {
            let questions = tasks.answer().map_or(&[][..], |answer| &answer.refused);
            let refused = questions.iter().cloned().chain(tasks.events.refused());
            refused.map(|refused| (name.to_string(), refused.to_string()))
        });
        SentinelCounts {
            known: known.len(),
            reachable: answered.len(),
            listening: listened.len(),
            unheard: unheard.collect(),
            refused: refused.collect(),
        }
    }

    /// What each said, for a human reader.
    pub(super) fn describe(&self) -> impl Iterator<Item = (String, String)> {
        self.sentinels
            .iter()
            .map(|(node, tasks)| (node.to_string(), describe_answer(tasks.last.as_ref())))
    }
}

impl SentinelTasks {
    fn answer(&self) -> Option<&Answer> {
        Some(self.last.as_ref()?.as_ref().ok()?)
    }

    /// Who is listened to.
    fn listened_to(&self) -> Option<SentinelId> {
        match &self.events {
            Events::Of { id: Some(id), .. } => {
                let address = self.sentinel.address().clone();
                Some(SentinelId::new(Some(id.clone()), address))
            }
            Events::Of { id: None, .. } => Some(self.sentinel.clone()),
            _ => None,
        }
    }

    /// Whether this Sentinel is asked by way of this link, and as far as is known is or would be
    /// listened to as well.
    fn may_reach(&self, sentinel: &SentinelId) -> bool {
        let fails = matches!(self.last, Some(Err(_)));
        let elsewhere = self.listened_to().is_some_and(|other| other != *sentinel);
        self.sentinel == *sentinel && !fails && !elsewhere
    }

    /// Whether its Sentinel is both asked and listened to by way of this link, as far as we may.
    fn reaches(&self) -> bool {
        let listens = match &self.events {
            Events::NotYet => false,
            Events::Of { .. } => self.listened_to().as_ref() == Some(&self.sentinel),
            Events::Nobodys(why) => why.is_refusal(),
        };
        self.answer().is_some() && listens
    }
}

impl Events {
    fn describe(&self) -> String {
        match self {
            Self::NotYet => "not subscribed yet".to_owned(),
            Self::Of { .. } => {
                "this address leads to several Sentinels, and its events are another one's"
                    .to_owned()
            }
            Self::Nobodys(why) => why.text.clone(),
        }
    }

    fn refused(&self) -> Option<Refused> {
        match self {
            Self::NotYet => None,
            Self::Of { refused, .. } => refused.clone(),
            Self::Nobodys(why) => why.refused("SUBSCRIBE"),
        }
    }
}

impl Turnout {
    pub(super) fn is_complete(self) -> bool {
        self.answered + self.failed == self.known
    }

    /// Whether so many answered that waiting for the others would change little.
    pub(super) fn is_enough(self) -> bool {
        self.is_complete() || self.answered * 2 >= self.known
    }
}

fn describe_answer(last: Option<&Result<Box<Answer>, SentinelError>>) -> String {
    match last {
        None => "has not answered yet".to_owned(),
        Some(Err(silence)) => silence.text.clone(),
        Some(Ok(answer)) => match &answer.view {
            None => "does not monitor this master name".to_owned(),
            Some(view) if answer.tells_epoch() => {
                let flag = answer
                    .failover_flag
                    .as_ref()
                    .map(|(_, flag)| format!(", {flag}"));
                let flag = flag.unwrap_or_default();
                format!("master is {} (epoch {}{flag})", view.master, view.epoch)
            }
            Some(view) => format!("master is {} (epoch unknown)", view.master),
        },
    }
}

#[cfg(test)]
mod tests;
