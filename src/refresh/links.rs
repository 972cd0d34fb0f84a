//! The Sentinels that are known, the tasks that talk to each, and what each said last.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::sync::{mpsc, watch};

use super::fence::Word;
use crate::{
    config::Config,
    node::Node,
    sentinel::{
        answer::Answer,
        client::{self, Contact},
        listener,
        message::Message,
        reply::Peer,
    },
    task::Task,
};

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
pub(super) struct Links {
    config: Arc<Config>,
    looks: watch::Sender<u64>,
    messages: mpsc::Sender<Message>,
    links: BTreeMap<Node, Link>,
}

/// How many Sentinels there are, and what has become of a look at them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turnout {
    pub(super) known: usize,
    pub(super) answered: usize,
    pub(super) failed: usize,
}

impl Links {
    /// Links to the configured Sentinels. What they say arrives as `messages`.
    pub(super) fn new(config: Arc<Config>, messages: mpsc::Sender<Message>) -> Self {
        let mut links = Self {
            config: Arc::clone(&config),
            looks: watch::Sender::new(0),
            messages,
            links: BTreeMap::new(),
        };
        for node in config.sentinel_nodes() {
            links.link(node.clone(), node, true);
        }
        links
    }

    /// Asks all of them.
    pub(super) fn ask(&self, look: u64) {
        self.looks.send_replace(look);
    }

    /// Takes note of what a Sentinel said, and follows up on others that it knows.
    pub(super) fn hear(&mut self, sentinel: &Node, look: u64, answer: Result<Box<Answer>, String>) {
        let peers = match &answer {
            Ok(answer) => answer.peers.clone(),
            Err(_) => Vec::new(),
        };
        if let Some(link) = self.links.get_mut(sentinel) {
            link.look = link.look.max(look);
            link.said = Some(answer);
        }
        self.learn(peers);
    }

    /// Follows up on Sentinels that others know, and lets go of learned ones that are gone.
    fn learn(&mut self, peers: Vec<Peer>) {
        for peer in peers {
            let known = self.links.contains_key(&peer.node)
                || peer.id.is_some() && self.ids().any(|id| Some(id) == peer.id.as_deref());
            if !known
                && peer.is_alive()
                && self.links.len() < MAX_SENTINELS
                && let Some(address) = self.config.address_of(&peer.node)
            {
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

    /// The last word of each Sentinel, each Sentinel once: one that is configured by one name and
    /// announced by another must not vote twice.
    pub(super) fn words(&self) -> Vec<Word<'_>> {
        let mut seen = HashSet::new();
        let words = self.links.iter().map(|(sentinel, link)| Word {
            sentinel,
            look: link.look,
            answer: match &link.said {
                Some(Ok(answer)) => Some(answer),
                _ => None,
            },
        });
        words
            .filter(|word| {
                let id = word.answer.and_then(|answer| answer.id.as_deref());
                id.is_none_or(|id| seen.insert(id))
            })
            .collect()
    }

    /// What has become of this look so far.
    pub(super) fn turnout(&self, look: u64) -> Turnout {
        let reported = self.links.values().filter(|link| link.look >= look);
        let (answered, failed): (Vec<_>, Vec<_>) =
            reported.partition(|link| matches!(link.said, Some(Ok(_))));
        Turnout {
            known: self.links.len(),
            answered: answered.len(),
            failed: failed.len(),
        }
    }

    /// How many of them answered when last asked.
    pub(super) fn reachable(&self) -> usize {
        self.answers().count()
    }

    /// What each said, for a human reader.
    pub(super) fn said(&self) -> impl Iterator<Item = (String, String)> {
        self.links
            .iter()
            .map(|(node, link)| (node.to_string(), describe(link.said.as_ref())))
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
