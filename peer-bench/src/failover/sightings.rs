//! What the witnesses saw: raw facts with their times, nothing concluded.

use std::{collections::BTreeMap, time::Duration};

use crate::failover::broadcast::Published;

#[derive(Debug, Clone, Default)]
pub(crate) struct Sightings {
    /// What each node said of itself, by port.
    pub(crate) roles: BTreeMap<u16, Vec<Span>>,
    /// The first write that a node took which had not been the master.
    pub(crate) taken: BTreeMap<u16, Duration>,
    /// Who the Sentinels said is the master, whenever one of them said something new.
    pub(crate) named: Vec<Named>,
    pub(crate) events: Vec<Event>,
    /// What was published at the master.
    pub(crate) published: Vec<Published>,
}

/// A time in which a node said one thing only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Span {
    pub(crate) role: Said,
    /// When the first of these answers came.
    pub(crate) from: Duration,
    /// When the question was sent whose answer was the last of these.
    pub(crate) until: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    Master,
    /// A replica whose link is up.
    InStep,
    Replica,
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Named {
    pub(crate) at: Duration,
    pub(crate) sentinel: u16,
    pub(crate) master: u16,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Event {
    pub(crate) at: Duration,
    pub(crate) channel: String,
}

impl Sightings {
    pub(crate) fn saw_role(&mut self, port: u16, role: Said, asked: Duration, answered: Duration) {
        let spans = self.roles.entry(port).or_default();
        match spans.last_mut() {
            Some(span) if span.role == role => span.until = asked,
            _ => spans.push(Span {
                role,
                from: answered,
                until: asked,
            }),
        }
    }

    pub(crate) fn saw_named(&mut self, at: Duration, sentinel: u16, master: u16) {
        let before = self.named.iter().rev();
        let before = before
            .clone()
            .find(|named| named.sentinel == sentinel)
            .map(|named| named.master);
        if before != Some(master) {
            self.named.push(Named {
                at,
                sentinel,
                master,
            });
        }
    }

    pub(crate) fn says_now(&self, port: u16) -> Option<Said> {
        Some(self.roles.get(&port)?.last()?.role)
    }
}
