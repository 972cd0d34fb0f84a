//! Which connection messages come from, when another takes its place, and when a gap is told.
//!
//! Pure: events with their time go in, [`Effect`]s come out, and the task carries these out in their order.
//!
//! At most two connections are open. Messages of the *serving* one are handed out. The *joining* one
//! subscribes to everything that is wanted. When its server has answered all of that, what is left of the
//! serving one is handed out, it is closed, the gap is told, and the joining one serves.

mod callers;
mod interruption;
mod servers;
mod subscriptions;
mod switch;

use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;

use crate::{
    node::Node,
    subscriber::{
        calls::{CallId, Calls},
        course::{interruption::Interruption, subscriptions::Subscriptions},
        early::Most,
        link::{Link, LinkId, Patience},
        notice::{Gap, GapCause},
        options::Source,
    },
    topology::Target,
    wire::pubsub::{Order, Subject},
};

pub(super) use crate::subscriber::course::interruption::Lost;

/// What the task is to do.
#[derive(Debug)]
pub(super) enum Effect<M> {
    /// Connect to one of these. What comes of it is told with this number.
    Dial {
        number: u64,
        among: Vec<Target>,
        /// The connection in whose place it comes works.
        replaces: bool,
    },
    Send(LinkId, Order),
    /// Hand out the messages that are here already.
    Drain(LinkId),
    Close(LinkId),
    Message(M),
    Gap(Gap),
    Answer(CallId, Answer),
    /// Messages come from this node now. `again`: they came from elsewhere before.
    Serves {
        node: Option<Node>,
        again: bool,
    },
    /// The node was lost.
    Report(Node, Lost),
    /// The next dial to the node waits, as after one that failed.
    Shun(Node),
}

/// What a caller is told.
#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Refused(Subject, RedisError),
    /// Nothing confirmed it within this time.
    Late(Duration),
    /// A dial failed in a way that waiting does not mend.
    Hopeless,
}

/// What is known of the deployment.
#[derive(Debug, Clone, Default)]
pub(super) struct View {
    /// The nodes that messages may come from.
    pub(super) targets: Vec<Target>,
    /// The version in which the master became the master.
    pub(super) master_since: u64,
    pub(super) fenced: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Rules {
    pub(super) source: Source,
    pub(super) patience: Patience,
    /// How long a caller waits.
    pub(super) wait: Duration,
    /// How much is kept of a connection that does not serve yet.
    pub(super) early: Most,
}

/// How far the joining connection has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Subscribing,
    /// As well, while another connection serves that leads to the same node, or did at first. What comes
    /// early may have come over that one.
    Doubling,
    /// Everything is confirmed, and the other connection is closed. What comes before the `PONG` is dropped:
    /// the other one had it, or it falls into the gap. So nothing comes twice from one node.
    Sealing,
    Sealed,
}

#[derive(Debug)]
struct Dialling {
    number: u64,
    replaces: bool,
}

#[derive(Debug)]
pub(super) struct Course<M> {
    rules: Rules,
    view: View,
    fenced_since: Option<Instant>,
    wanted: Subscriptions,
    calls: Calls,
    serving: Option<Link<M>>,
    joining: Option<(Link<M>, Stage)>,
    dialling: Option<Dialling>,
    dials: u64,
    /// A connection has served.
    served: bool,
    interruption: Option<Interruption>,
    /// After a connection with newer credentials or certificates could not be made: when it is tried
    /// again, and the pause before that without its jitter.
    replacement: Option<(Instant, Duration)>,
    effects: Vec<Effect<M>>,
}

impl<M> Course<M> {
    pub(super) fn new(rules: Rules) -> Self {
        Self {
            rules,
            view: View::default(),
            fenced_since: None,
            wanted: Subscriptions::default(),
            calls: Calls::default(),
            serving: None,
            joining: None,
            dialling: None,
            dials: 0,
            served: false,
            interruption: None,
            replacement: None,
            effects: Vec::new(),
        }
    }

    /// What is to be done now, in this order.
    pub(super) fn effects(&mut self) -> Vec<Effect<M>> {
        std::mem::take(&mut self.effects)
    }

    /// How many channels and how many patterns are wanted.
    pub(super) fn counts(&self) -> (usize, usize) {
        self.wanted.counts()
    }

    pub(super) fn serving(&self) -> Option<&Link<M>> {
        self.serving.as_ref()
    }

    /// Whether a confirmation is to come over the connection that serves.
    pub(super) fn awaits_confirmation(&self) -> bool {
        self.serving.as_ref().is_some_and(|link| !link.is_settled())
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn due_at(&self) -> Option<Instant> {
        let patience = &self.rules.patience;
        let links = self.links().filter_map(|link| link.due_at(patience));
        let replacement = self.replacement.filter(|_| {
            self.wants_replacement() && self.joining.is_none() && self.dialling.is_none()
        });
        links
            .chain(self.calls.due_at())
            .chain(replacement.map(|(at, _)| at))
            .min()
    }

    fn links(&self) -> impl Iterator<Item = &Link<M>> {
        let joining = self.joining.as_ref().map(|(link, _)| link);
        self.serving.iter().chain(joining)
    }

    fn link(&mut self, id: LinkId) -> Option<&mut Link<M>> {
        let joining = self.joining.as_mut().map(|(link, _)| link);
        let mut links = self.serving.iter_mut().chain(joining);
        links.find(|link| link.id == id)
    }

    /// Has each connection send what `orders` makes of it.
    fn send_to_all(&mut self, mut orders: impl FnMut(&mut Link<M>) -> Vec<Order>) {
        let joining = self.joining.as_mut().map(|(link, _)| link);
        for link in self.serving.iter_mut().chain(joining) {
            let orders = orders(link).into_iter();
            self.effects
                .extend(orders.map(|order| Effect::Send(link.id, order)));
        }
    }

    fn send(&mut self, id: LinkId, orders: impl IntoIterator<Item = Order>) {
        let orders = orders.into_iter().map(|order| Effect::Send(id, order));
        self.effects.extend(orders);
    }

    /// Whether messages may come over this connection.
    fn is_right(&self, link: &Link<M>) -> bool {
        // A replica may follow the new master without having lost its clients.
        let same_master = link.master_since == self.view.master_since;
        let same_master = same_master || self.rules.source == Source::Master;
        same_master && self.view.targets.contains(&link.target)
    }

    /// From now on messages may be missing, if anything was confirmed. Returns whether that is new.
    fn interrupt(&mut self, since: Instant, why: GapCause, from: Node) -> bool {
        if !self.wanted.has_confirmed() {
            return false;
        }
        let is_new = self.interruption.is_none();
        let since = self.fenced_since.map_or(since, |fenced| fenced.min(since));
        let fenced = self.fenced_since.is_some();
        let interruption = self
            .interruption
            .get_or_insert_with(|| Interruption::new(since, why, from, fenced));
        interruption.since = interruption.since.min(since);
        is_new
    }

    /// Draws the conclusions of what has happened.
    fn follow_up(&mut self, now: Instant) {
        if !self.wanted.has_confirmed() {
            self.interruption = None;
        }
        self.advance(now);
        self.reconsider(now);
    }
}

#[cfg(test)]
pub(super) use tests::noperm;

#[cfg(test)]
mod tests;
