//! The Sentinels that are known, and what each of them said last.
//!
//! Entries are kept by address (`name`), as it was configured or announced. To which Sentinel an
//! address leads is known only of each connection: a load-balanced address may lead to another one
//! each time. A Sentinel is *reached* if it is both asked and listened to at one address.

mod tasks;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use tokio::sync::{mpsc, watch};

use crate::{
    config::Config,
    error::Reports,
    node::Node,
    refresh::{
        decide::sentinel_report::SentinelReport,
        sentinels::tasks::{Events, SentinelTasks},
    },
    sentinel::{
        answer::Answer,
        client::{Asked, Contact},
        id::SentinelId,
        message::{Message, SentinelError},
        refused::Refused,
        reply::Peer,
    },
};

/// More Sentinels than any deployment has; a hostile answer may list thousands.
const MAX_SENTINELS: usize = 32;
/// The most warnings that are remembered: a hostile Sentinel may have a new id each time.
const MAX_WARNINGS: usize = 1024;

#[derive(Debug)]
pub(super) struct SentinelSet {
    config: Arc<Config>,
    refreshes: watch::Sender<Asked>,
    messages: mpsc::Sender<Message>,
    sentinels: BTreeMap<Node, SentinelTasks>,
    /// Refused commands that were warned of already, once for each Sentinel and command.
    warned: BTreeSet<(SentinelId, &'static str)>,
}

/// How many addresses there are, and how many of them answered in one refresh, or failed to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turnout {
    pub(super) known: usize,
    pub(super) answered: usize,
    pub(super) failed: usize,
}

/// How many Sentinels can be used, each of them counted once.
#[derive(Debug)]
pub(super) struct SentinelCounts {
    pub(super) known: usize,
    /// How many answered when they were asked last.
    pub(super) reachable: usize,
    /// How many are listened to.
    pub(super) listening: usize,
    /// Why the others are not.
    pub(super) unheard: Reports,
    /// The commands and channels that are refused by those that answer or are listened to.
    pub(super) refused: Reports,
}

impl SentinelSet {
    /// Starts to talk to the configured Sentinels. What they say arrives as `messages`.
    pub(super) fn new(config: Arc<Config>, messages: mpsc::Sender<Message>) -> Self {
        let mut sentinels = Self {
            config: Arc::clone(&config),
            refreshes: watch::Sender::default(),
            messages,
            sentinels: BTreeMap::new(),
            warned: BTreeSet::new(),
        };
        for node in config.sentinel_addresses() {
            sentinels.start(SentinelId::from(node.clone()), node.clone(), node, true);
        }
        sentinels
    }

    /// Asks all of them. `calm`: nothing happens, and nothing is in doubt.
    pub(super) fn ask(&self, round: u64, calm: bool) {
        let calm = calm && self.sentinels.values().all(SentinelTasks::is_well);
        self.refreshes
            .send_modify(|asked| *asked = asked.next(round, calm));
    }

    /// Whether they were to answer everything when they were asked last.
    pub(super) fn were_asked_everything(&self) -> bool {
        self.refreshes.borrow().is_everything()
    }

    /// Records what a Sentinel answered, and starts to talk to others that it knows. Says whether it
    /// answered something else before.
    pub(super) fn note_answer(
        &mut self,
        name: &Node,
        round: u64,
        answer: Result<Arc<Answer>, SentinelError>,
    ) -> bool {
        if let (Some(tasks), Ok(answer)) = (self.sentinels.get_mut(name), &answer)
            && tasks.is_repeated(answer)
        {
            tasks.round = tasks.round.max(round);
            return false;
        }
        let known = answer.as_ref().ok().cloned();
        let refused = match &answer {
            Ok(answer) => answer.refused.clone(),
            Err(error) => error.refused("SENTINEL").into_iter().collect(),
        };
        if let Some(id) = known.as_ref().and_then(|answer| answer.id.clone()) {
            self.recognize(name, Some(id));
        }
        let mut is_news = false;
        if let Some(tasks) = self.sentinels.get_mut(name) {
            is_news = tasks.note_answer(name, round, answer);
            let sentinel = tasks.sentinel.clone();
            self.warn(&sentinel, &refused);
        }
        self.learn(known.as_ref().map_or(&[], |answer| &answer.peers));
        is_news
    }

    /// The events of a Sentinel arrive by this address from now on.
    pub(super) fn note_subscribed(
        &mut self,
        name: &Node,
        id: Option<String>,
        refused: Option<Refused>,
    ) {
        let sentinel = self.identify(name, id.clone());
        self.warn(&sentinel, refused.as_slice());
        if let Some(tasks) = self.sentinels.get_mut(name) {
            tasks.note_events(name, Events::Of { id, refused });
        }
    }

    /// No events arrive by this address any more.
    pub(super) fn note_unsubscribed(&mut self, name: &Node, why: SentinelError) {
        let Some(tasks) = self.sentinels.get_mut(name) else {
            return;
        };
        let sentinel = tasks.sentinel.clone();
        let refused = why.refused("SUBSCRIBE");
        tasks.note_events(name, Events::Nobodys(why));
        self.warn(&sentinel, refused.as_slice());
    }

    /// The Sentinel that has this id. Without an id, the one to which the address leads.
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

    /// Records to which Sentinel an address leads.
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

    /// Starts to talk to Sentinels that others know, and drops learned addresses that are not needed.
    fn learn(&mut self, peers: &[Peer]) {
        for peer in peers {
            if let Some(tasks) = self.sentinels.get(&peer.node) {
                // It may not tell its id, or may never have answered.
                if tasks.sentinel.id().is_none() {
                    self.recognize(&peer.node, peer.id.clone());
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
                self.start(sentinel, peer.node.clone(), address, false);
            }
        }
        self.forget_unlisted();
        self.forget_redundant();
    }

    fn forget_unlisted(&mut self) {
        // Where no Sentinel answers, none is listed either. If the learned ones were dropped then,
        // only the configured ones could ever be asked again.
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
            tasks.configured || !matches!(tasks.last, Some(Err(_))) || listed.contains(node)
        });
    }

    /// Drops learned addresses of Sentinels that are reached by another address already.
    fn forget_redundant(&mut self) {
        let mut reached: HashSet<String> = HashSet::new();
        let mut redundant = Vec::new();
        let (configured, learned): (Vec<_>, Vec<_>) = self
            .sentinels
            .iter()
            .partition(|(_, tasks)| tasks.configured);
        for (name, tasks) in configured.into_iter().chain(learned) {
            let Some(id) = tasks.sentinel.id() else {
                continue;
            };
            if reached.contains(id) && !tasks.configured {
                redundant.push(name.clone());
            } else if tasks.reaches() {
                reached.insert(id.to_owned());
            }
        }
        for name in redundant {
            self.sentinels.remove(&name);
        }
    }

    fn start(&mut self, sentinel: SentinelId, name: Node, address: Node, configured: bool) {
        let contact = Contact {
            name: name.clone(),
            address,
        };
        let refreshes = self.refreshes.subscribe();
        let messages = self.messages.clone();
        let config = &self.config;
        let tasks =
            SentinelTasks::spawn(contact, config, sentinel, configured, refreshes, messages);
        self.sentinels.insert(name, tasks);
    }

    fn answers(&self) -> impl Iterator<Item = &Answer> {
        self.sentinels.values().filter_map(SentinelTasks::answer)
    }

    /// What each Sentinel said last, each Sentinel once: one that has two addresses must not vote
    /// twice.
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

    /// How far this refresh has come.
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

    /// Whether all of them refused to let us in when they were asked last.
    pub(super) fn refuse_us(&self) -> bool {
        self.sentinels
            .values()
            .all(|tasks| matches!(&tasks.last, Some(Err(error)) if error.is_refusal()))
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

    /// What each said last, for a human reader.
    pub(super) fn describe(&self) -> impl Iterator<Item = (String, String)> {
        self.sentinels
            .iter()
            .map(|(node, tasks)| (node.to_string(), tasks.describe()))
    }
}

impl Turnout {
    pub(super) fn is_complete(self) -> bool {
        self.answered + self.failed == self.known
    }

    /// Whether at least half answered; the others would change little.
    pub(super) fn is_enough(self) -> bool {
        self.is_complete() || self.answered * 2 >= self.known
    }
}

#[cfg(test)]
mod tests;
