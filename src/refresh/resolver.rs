//! Resolves the host names of nodes, concurrently with everything else.
//!
//! The addresses only tell which names are the same server; each dial resolves its name by itself.
//! A DNS server that is slow or gone must delay nothing here.

use std::{
    collections::{HashMap, HashSet},
    net::IpAddr,
    time::Duration,
};

use tokio::{sync::mpsc, task::JoinSet, time::Instant};

use crate::{
    node::{Node, announced},
    refresh::aliases::Addresses,
};

/// What a name resolves to; `None` where the lookup failed.
#[derive(Debug)]
pub(super) struct Resolved {
    host: String,
    addresses: Option<Vec<IpAddr>>,
}

#[derive(Debug)]
pub(super) struct Resolver {
    addresses: Addresses,
    asked: HashMap<String, Instant>,
    pending: HashSet<String>,
    /// How long an address is valid, and how long a lookup may take.
    lasts: Duration,
    limit: Duration,
    out: mpsc::Sender<Resolved>,
    /// The lookups, which end with this.
    tasks: JoinSet<()>,
}

impl Resolver {
    pub(super) fn new(lasts: Duration, limit: Duration, out: mpsc::Sender<Resolved>) -> Self {
        Self {
            addresses: HashMap::new(),
            asked: HashMap::new(),
            pending: HashSet::new(),
            lasts,
            limit,
            out,
            tasks: JoinSet::new(),
        }
    }

    pub(super) fn addresses(&self) -> &Addresses {
        &self.addresses
    }

    /// Whether a name is being resolved for the first time.
    pub(super) fn is_waiting(&self) -> bool {
        let mut pending = self.pending.iter();
        pending.any(|host| !self.addresses.contains_key(host))
    }

    /// Looks up the names of these nodes unless a recent address is known, and forgets all other
    /// names.
    pub(super) fn keep<'a>(&mut self, nodes: impl Iterator<Item = &'a Node>, now: Instant) {
        let hosts: HashSet<&str> = nodes
            .filter(|node| !node.is_unix())
            .map(Node::host)
            .filter(|host| announced::ip(host).is_none())
            .collect();
        self.addresses.retain(|host, _| hosts.contains(&host[..]));
        self.asked.retain(|host, _| hosts.contains(&host[..]));
        for host in hosts {
            let recent = self
                .asked
                .get(host)
                .is_some_and(|at| now - *at < self.lasts);
            if !recent && self.pending.insert(host.to_owned()) {
                self.asked.insert(host.to_owned(), now);
                self.look_up(host.to_owned());
            }
        }
    }

    fn look_up(&mut self, host: String) {
        let (out, limit) = (self.out.clone(), self.limit);
        while self.tasks.try_join_next().is_some() {}
        self.tasks.spawn(async move {
            let lookup = tokio::net::lookup_host((&host[..], 0));
            let addresses = match tokio::time::timeout(limit, lookup).await {
                Ok(Ok(addresses)) => Some(addresses.map(|address| address.ip()).collect()),
                _ => None,
            };
            // The receiver is gone only when the pool is.
            let _ = out.send(Resolved { host, addresses }).await;
        });
    }

    /// Says whether the name had other addresses before, or none were known.
    pub(super) fn note(&mut self, resolved: Resolved) -> bool {
        self.pending.remove(&resolved.host);
        let is_first = !self.addresses.contains_key(&resolved.host);
        let known = self.addresses.entry(resolved.host).or_default();
        // The old addresses stay when DNS does not answer: one server must not become two.
        let addresses = resolved.addresses.unwrap_or_else(|| known.clone());
        let is_news = is_first || *known != addresses;
        *known = addresses;
        is_news
    }
}
