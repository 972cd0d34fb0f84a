//! One connection: what was asked of its server, what the server has confirmed, and whether it is silent.
//!
//! Pure. Replies come in the order of the orders, with messages in between. A server answers an order
//! that names several subjects with one confirmation for each, or with one error in place of all.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    time::Duration,
};

use redis::RedisError;
use tokio::time::Instant;

use crate::{
    subscriber::early::Early,
    topology::Target,
    wire::pubsub::{Order, Subject},
};

/// A server with a thousand names to look up is not busy for long.
const NAMES_AT_ONCE: usize = 1000;

/// For how long a message may be on its way, counted generously. One that was published before another
/// one came here may still be lost with the connection.
const ON_ITS_WAY: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct LinkId(pub(super) u64);

/// How long a server may be silent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Until it gets a `PING`.
    pub(super) ping: Option<Duration>,
    /// While it owes a reply.
    pub(super) reply: Duration,
}

/// What a server replied.
#[derive(Debug)]
pub(super) enum Reply {
    Subscribed(Subject),
    Unsubscribed(Subject),
    Pong,
    /// `denied`: it does not let us, and would not the next time either.
    Error {
        error: RedisError,
        denied: bool,
    },
}

/// A reply that is still to come.
#[derive(Debug)]
enum Expected {
    Subscribed(VecDeque<Subject>),
    Unsubscribed(VecDeque<Subject>),
    /// When it was asked for.
    Pong(Ping, Instant),
}

/// Why a `PING` is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ping {
    /// Is it alive?
    Alive,
    /// Its `PONG` stands behind everything that the server kept for us while we did not read.
    CaughtUp,
    /// What stands before its `PONG` is not handed out.
    Sealed,
}

/// What follows from a reply.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The subjects about which the server owes nothing any more, each with its error if it was refused.
    pub(super) settled: Vec<(Subject, Option<RedisError>)>,
    pub(super) pong: Option<Ping>,
    /// What is to be sent now.
    pub(super) orders: Vec<Order>,
}

/// The server does not reply as it should: the connection is not to be used any more.
#[derive(Debug)]
pub(super) struct Broken(pub(super) String);

/// What a link does now that time has passed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    Nothing,
    Ping,
    /// For this long the server has owed a reply.
    Silent(Duration),
}

#[derive(Debug)]
pub(super) struct Link<M> {
    pub(super) id: LinkId,
    pub(super) target: Target,
    /// The version in which the master of that time became the master.
    pub(super) master_since: u64,
    pub(super) opened: Instant,
    /// What is subscribed to once everything that was sent is answered.
    asked: HashSet<Subject>,
    /// How many orders that name it are not answered yet.
    pending: HashMap<Subject, u32>,
    refused: BTreeMap<Subject, RedisError>,
    expected: VecDeque<Expected>,
    /// When the server was last heard.
    heard: Instant,
    /// When the last `PING` was sent that was answered: everything that was published before has come.
    proven: Instant,
    /// From when on its silence counts.
    quiet_since: Instant,
    /// It is not read, because too much waits for the reader.
    stopped: bool,
    /// It was stopped after the server was asked for the `PONG` that proves that all is read.
    stopped_again: bool,
    /// Since when the server may have kept something for us that has not been read yet.
    behind_since: Option<Instant>,
    /// Messages that came before it serves.
    pub(super) early: Early<M>,
    /// A newer one should take its place.
    pub(super) outdated: bool,
}

impl<M> Link<M> {
    pub(super) fn new(id: LinkId, target: Target, master_since: u64, now: Instant) -> Self {
        Self {
            id,
            target,
            master_since,
            opened: now,
            asked: HashSet::new(),
            pending: HashMap::new(),
            refused: BTreeMap::new(),
            expected: VecDeque::new(),
            heard: now,
            proven: now,
            quiet_since: now,
            stopped: false,
            stopped_again: false,
            behind_since: None,
            early: Early::default(),
            outdated: false,
        }
    }

    /// Subscribes to those of these that are not subscribed to.
    #[must_use]
    pub(super) fn subscribe<'a>(
        &mut self,
        subjects: impl IntoIterator<Item = &'a Subject>,
        now: Instant,
    ) -> Vec<Order> {
        let mut fresh = Vec::new();
        for subject in subjects {
            if self.asked.insert(subject.clone()) {
                self.refused.remove(subject);
                *self.pending.entry(subject.clone()).or_default() += 1;
                fresh.push(subject.clone());
            }
        }
        let orders = orders(fresh, Order::Subscribe);
        self.expect(&orders, now);
        orders
    }

    /// Ends the subscriptions to those of these that there are.
    #[must_use]
    pub(super) fn unsubscribe<'a>(
        &mut self,
        subjects: impl IntoIterator<Item = &'a Subject>,
        now: Instant,
    ) -> Vec<Order> {
        let mut gone = Vec::new();
        for subject in subjects {
            self.refused.remove(subject);
            if self.asked.remove(subject) {
                *self.pending.entry(subject.clone()).or_default() += 1;
                gone.push(subject.clone());
            }
        }
        let orders = orders(gone, Order::Unsubscribe);
        self.expect(&orders, now);
        orders
    }

    #[must_use]
    pub(super) fn ping(&mut self, why: Ping, now: Instant) -> Order {
        self.owe(Expected::Pong(why, now), now);
        Order::Ping
    }

    /// Asks again for what was refused, one by one.
    #[must_use]
    pub(super) fn ask_again(&mut self, now: Instant) -> Vec<Order> {
        let refused: Vec<Subject> = self.refused.keys().cloned().collect();
        refused
            .iter()
            .flat_map(|subject| self.subscribe([subject], now))
            .collect()
    }

    fn expect(&mut self, orders: &[Order], now: Instant) {
        for order in orders {
            let expected = match order {
                Order::Subscribe(subjects) => {
                    Expected::Subscribed(subjects.iter().cloned().collect())
                }
                Order::Unsubscribe(subjects) => {
                    Expected::Unsubscribed(subjects.iter().cloned().collect())
                }
                Order::Ping => Expected::Pong(Ping::Alive, now),
            };
            self.owe(expected, now);
        }
    }

    fn owe(&mut self, expected: Expected, now: Instant) {
        if self.expected.is_empty() {
            self.quiet_since = now;
        }
        self.expected.push_back(expected);
    }

    /// A message came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
        self.quiet_since = now;
    }

    pub(super) fn reply(&mut self, reply: Reply, now: Instant) -> Result<Heard, Broken> {
        self.heard(now);
        let mut heard = Heard::default();
        match (self.expected.front_mut(), reply) {
            (Some(Expected::Subscribed(names)), Reply::Subscribed(subject))
            | (Some(Expected::Unsubscribed(names)), Reply::Unsubscribed(subject))
                if names.front() == Some(&subject) =>
            {
                names.pop_front();
                if names.is_empty() {
                    self.expected.pop_front();
                }
                if self.answered(&subject) {
                    heard.settled.push((subject, None));
                }
            }
            // Where it may not be asked, the refusal shows the same.
            (Some(Expected::Pong(why, asked_at)), Reply::Pong)
            | (Some(Expected::Pong(why, asked_at)), Reply::Error { denied: true, .. }) => {
                let why = *why;
                heard.pong = Some(why);
                self.proven = *asked_at;
                self.expected.pop_front();
                if why == Ping::CaughtUp {
                    self.caught_up(now, &mut heard);
                }
            }
            (
                Some(_),
                Reply::Error {
                    error,
                    denied: true,
                },
            ) => self.refuse(error, now, &mut heard),
            (_, Reply::Error { error, .. }) => return Err(Broken(error.to_string())),
            _ => {
                return Err(Broken(
                    "the server sent a reply that no command asked for".to_owned(),
                ));
            }
        }
        Ok(heard)
    }

    /// Everything has been read that the server had kept when it was asked. Where the connection was stopped
    /// after that, it may have kept more.
    fn caught_up(&mut self, now: Instant, heard: &mut Heard) {
        if self.stopped {
            return;
        }
        if self.stopped_again {
            heard.orders.push(self.catch_up(now));
        } else {
            self.behind_since = None;
        }
    }

    fn catch_up(&mut self, now: Instant) -> Order {
        self.stopped_again = false;
        self.ping(Ping::CaughtUp, now)
    }

    /// The order that is next was refused as a whole.
    fn refuse(&mut self, error: RedisError, now: Instant, heard: &mut Heard) {
        match self.expected.pop_front() {
            // One of several may be what is refused. They are asked for one by one.
            Some(Expected::Subscribed(names)) if names.len() > 1 => {
                for subject in names {
                    if !self.answered(&subject) {
                        continue;
                    }
                    if self.asked.remove(&subject) {
                        heard.orders.extend(self.subscribe([&subject], now));
                    } else {
                        heard.settled.push((subject, None));
                    }
                }
            }
            Some(Expected::Subscribed(names)) => {
                for subject in names {
                    if self.answered(&subject) && self.asked.remove(&subject) {
                        self.refused.insert(subject.clone(), error.clone());
                        heard.settled.push((subject, Some(error.clone())));
                    }
                }
            }
            Some(Expected::Unsubscribed(names)) => {
                for subject in names {
                    if self.answered(&subject) {
                        self.asked.insert(subject.clone());
                        heard.settled.push((subject, Some(error.clone())));
                    }
                }
            }
            Some(Expected::Pong(..)) | None => {}
        }
    }

    /// One order that names it was answered. Returns whether that was the last.
    fn answered(&mut self, subject: &Subject) -> bool {
        let Some(left) = self.pending.get_mut(subject) else {
            return true;
        };
        *left -= 1;
        if *left == 0 {
            self.pending.remove(subject);
        }
        !self.pending.contains_key(subject)
    }

    /// Whether the server has answered everything about subscriptions.
    pub(super) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    pub(super) fn is_pending(&self, subject: &Subject) -> bool {
        self.pending.contains_key(subject)
    }

    /// Whether the server has confirmed this subscription.
    pub(super) fn has(&self, subject: &Subject) -> bool {
        self.asked.contains(subject) && !self.is_pending(subject)
    }

    pub(super) fn refused(&self) -> &BTreeMap<Subject, RedisError> {
        &self.refused
    }

    /// Whether the server may have kept something for us that has not been read yet.
    pub(super) fn is_behind(&self) -> bool {
        self.behind_since.is_some()
    }

    /// It is not read from now on, or is read again.
    #[must_use]
    pub(super) fn stop(&mut self, stopped: bool, now: Instant) -> Option<Order> {
        if self.stopped == stopped {
            return None;
        }
        self.stopped = stopped;
        if stopped {
            self.stopped_again = true;
            self.behind_since.get_or_insert(now);
            return None;
        }
        self.quiet_since = now;
        // One on its way is enough. A slow reader stops and goes on again and again before it is answered.
        let is_catching_up = |it: &Expected| matches!(it, Expected::Pong(Ping::CaughtUp, _));
        let is_asked = self.expected.iter().any(is_catching_up);
        (!is_asked).then(|| self.catch_up(now))
    }

    /// Nothing that was published before this moment is missing, if the connection ends now.
    pub(super) fn complete_until(&self, now: Instant) -> Instant {
        let heard = self.behind_since.unwrap_or(self.heard).min(now);
        let sent = heard.checked_sub(ON_ITS_WAY).unwrap_or(self.proven);
        sent.max(self.proven)
    }

    /// When [`due`](Self::due) is to be asked. While it is not read, its silence proves nothing.
    pub(super) fn due_at(&self, patience: &Patience) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let limit = if self.expected.is_empty() {
            patience.ping?
        } else {
            patience.reply
        };
        self.quiet_since.checked_add(limit)
    }

    pub(super) fn due(&self, patience: &Patience, now: Instant) -> Due {
        match self.due_at(patience) {
            Some(at) if at > now => Due::Nothing,
            None => Due::Nothing,
            Some(_) if self.expected.is_empty() => Due::Ping,
            Some(_) => Due::Silent(patience.reply),
        }
    }
}

/// Channels and patterns are asked for with different commands.
fn orders(subjects: Vec<Subject>, order: fn(Vec<Subject>) -> Order) -> Vec<Order> {
    let is_pattern = |subject: &Subject| matches!(subject, Subject::Pattern(_));
    let (patterns, channels): (Vec<_>, Vec<_>) = subjects.into_iter().partition(is_pattern);
    let chunks = channels
        .chunks(NAMES_AT_ONCE)
        .chain(patterns.chunks(NAMES_AT_ONCE));
    chunks.map(|names| order(names.to_vec())).collect()
}

#[cfg(test)]
mod tests;
