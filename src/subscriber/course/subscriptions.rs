//! What is to be subscribed to, wherever the connection leads.

use std::collections::{BTreeMap, btree_map::Entry};

use tokio::time::Instant;

use crate::{subscriber::calls::CallId, wire::pubsub::Subject};

#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    /// In an order of its own: what a connection sends does not depend on chance.
    wanted: BTreeMap<Subject, State>,
    patterns: usize,
    /// How many are confirmed.
    confirmed: usize,
}

#[derive(Debug, Default)]
struct State {
    /// The calls under way that want it. If all of them fail, nobody does.
    claims: Vec<CallId>,
    /// A call that wanted it is over, and has not failed.
    held: bool,
    /// A server has confirmed it, so a message that is missing from then on must be told.
    confirmed: bool,
    /// Since when it is missing, because a later server refuses it.
    refused_since: Option<Instant>,
}

impl Subscriptions {
    /// A call wants these.
    pub(super) fn claim(&mut self, id: CallId, subjects: &[Subject]) {
        for subject in subjects {
            self.entry(subject).claims.push(id);
        }
    }

    /// It is wanted whatever becomes of calls.
    pub(super) fn hold(&mut self, subject: &Subject) {
        self.entry(subject).held = true;
    }

    fn entry(&mut self, subject: &Subject) -> &mut State {
        let entry = self.wanted.entry(subject.clone());
        if matches!(entry, Entry::Vacant(_)) {
            self.patterns += usize::from(is_pattern(subject));
        }
        entry.or_default()
    }

    /// The call is over. Returns what nobody wants any more, because it has `failed`.
    pub(super) fn release(
        &mut self,
        id: CallId,
        subjects: &[Subject],
        failed: bool,
    ) -> Vec<Subject> {
        let mut gone = Vec::new();
        for subject in subjects {
            let Some(state) = self.wanted.get_mut(subject) else {
                continue;
            };
            // If it is not there, somebody has unsubscribed meanwhile.
            let Some(place) = state.claims.iter().position(|claim| *claim == id) else {
                continue;
            };
            state.claims.swap_remove(place);
            state.held |= !failed;
            if state.claims.is_empty() && !state.held {
                gone.push(subject.clone());
            }
        }
        self.remove(&gone);
        gone
    }

    pub(super) fn remove(&mut self, subjects: &[Subject]) {
        for subject in subjects {
            if let Some(state) = self.wanted.remove(subject) {
                self.patterns -= usize::from(is_pattern(subject));
                self.confirmed -= usize::from(state.confirmed);
            }
        }
    }

    /// A server has confirmed it. Returns since when it was missing, if another server refused it.
    pub(super) fn confirm(&mut self, subject: &Subject) -> Option<Instant> {
        let state = self.wanted.get_mut(subject)?;
        self.confirmed += usize::from(!state.confirmed);
        state.confirmed = true;
        state.refused_since.take()
    }

    /// Those of which a new server `has` the subscription are confirmed. Returns since when some of them
    /// were missing because another server refused them.
    pub(super) fn confirm_all(&mut self, has: impl Fn(&Subject) -> bool) -> Option<Instant> {
        let mut since = None;
        for (subject, state) in &mut self.wanted {
            if has(subject) {
                self.confirmed += usize::from(!state.confirmed);
                state.confirmed = true;
                since = earlier(since, state.refused_since.take());
            }
        }
        since
    }

    /// A server refuses it. If another had confirmed it before, it has been missing since then; false if
    /// none had.
    pub(super) fn refuse(&mut self, subject: &Subject, since: Instant) -> bool {
        match self.wanted.get_mut(subject) {
            Some(state) if state.confirmed => {
                state.refused_since.get_or_insert(since);
                true
            }
            _ => false,
        }
    }

    /// Whether anything is wanted that a server has confirmed once.
    pub(super) fn has_confirmed(&self) -> bool {
        self.confirmed > 0
    }

    pub(super) fn contains(&self, subject: &Subject) -> bool {
        self.wanted.contains_key(subject)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Subject> {
        self.wanted.keys()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// How many channels and how many patterns.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.wanted.len() - self.patterns, self.patterns)
    }
}

fn is_pattern(subject: &Subject) -> bool {
    matches!(subject, Subject::Pattern(_))
}

/// The earlier of those that there are.
pub(super) fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    one.into_iter().chain(other).min()
}
