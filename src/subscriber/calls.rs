//! Callers that wait until a server has answered.

use std::collections::{BTreeMap, HashSet};

use redis::RedisError;
use tokio::time::Instant;

use crate::wire::pubsub::Subject;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct CallId(pub(super) u64);

#[derive(Debug, Default)]
pub(super) struct Calls {
    /// In the order in which they came, which is that of their deadlines: all have the same time.
    calls: BTreeMap<CallId, Call>,
    /// Who waits for each subject.
    waiters: BTreeMap<Subject, Vec<CallId>>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) asked_at: Instant,
    until: Instant,
    /// What it waits for.
    left: HashSet<Subject>,
    /// What it subscribes to.
    pub(super) subjects: Vec<Subject>,
    pub(super) subscribes: bool,
}

impl Call {
    pub(super) fn subscribe(asked_at: Instant, until: Instant, subjects: Vec<Subject>) -> Self {
        Self {
            asked_at,
            until,
            left: HashSet::new(),
            subjects,
            subscribes: true,
        }
    }

    pub(super) fn unsubscribe(asked_at: Instant, until: Instant) -> Self {
        Self {
            asked_at,
            until,
            left: HashSet::new(),
            subjects: Vec::new(),
            subscribes: false,
        }
    }
}

impl Calls {
    /// The call waits for these.
    pub(super) fn add(
        &mut self,
        id: CallId,
        mut call: Call,
        left: impl IntoIterator<Item = Subject>,
    ) {
        call.left.extend(left);
        for subject in &call.left {
            self.waiters.entry(subject.clone()).or_default().push(id);
        }
        self.calls.insert(id, call);
    }

    /// There is nothing to wait for about this subject any more. Returns the calls that are over.
    #[must_use]
    pub(super) fn settle(
        &mut self,
        subject: &Subject,
        error: Option<&RedisError>,
    ) -> Vec<(CallId, Call)> {
        let mut over = Vec::new();
        for id in self.waiters.remove(subject).unwrap_or_default() {
            let Some(call) = self.calls.get_mut(&id) else {
                continue;
            };
            call.left.remove(subject);
            if error.is_some() || call.left.is_empty() {
                over.extend(self.remove(id).map(|call| (id, call)));
            }
        }
        over
    }

    /// The calls whose time is up.
    #[must_use]
    pub(super) fn expire(&mut self, now: Instant) -> Vec<(CallId, Call)> {
        self.remove_where(|call| call.until <= now)
    }

    /// All calls that wait for a subscription.
    #[must_use]
    pub(super) fn give_up(&mut self) -> Vec<(CallId, Call)> {
        self.remove_where(|call| call.subscribes)
    }

    fn remove_where(&mut self, over: impl Fn(&Call) -> bool) -> Vec<(CallId, Call)> {
        let calls = self.calls.iter();
        let ids: Vec<CallId> = calls
            .filter(|(_, it)| over(it))
            .map(|(id, _)| *id)
            .collect();
        ids.into_iter()
            .filter_map(|id| Some((id, self.remove(id)?)))
            .collect()
    }

    fn remove(&mut self, id: CallId) -> Option<Call> {
        let call = self.calls.remove(&id)?;
        for subject in &call.left {
            if let Some(waiters) = self.waiters.get_mut(subject) {
                waiters.retain(|waiter| *waiter != id);
                if waiters.is_empty() {
                    self.waiters.remove(subject);
                }
            }
        }
        Some(call)
    }

    /// Everything that somebody waits for.
    pub(super) fn awaited(&self) -> Vec<Subject> {
        self.waiters.keys().cloned().collect()
    }

    pub(super) fn due_at(&self) -> Option<Instant> {
        self.calls.first_key_value().map(|(_, call)| call.until)
    }
}

#[cfg(test)]
mod tests;
