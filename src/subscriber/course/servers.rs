//! What servers say, and what becomes of connections.

use std::time::Duration;

use redis::RedisError;
use tokio::time::Instant;

use crate::{
    subscriber::{
        course::{Answer, Course, Effect, Lost, Stage},
        link::{Due, Link, LinkId, Ping, Reply},
        notice::{Gap, GapCause},
    },
    wire::pubsub::{Order, Subject},
};

/// A connection that was lost sooner than this counts as a failed dial, so that the next one waits: a
/// server may take connections only to close them.
const YOUNG: Duration = Duration::from_secs(1);

impl<M> Course<M> {
    /// A message has come. Returns it if it is to be handed out now.
    pub(in crate::subscriber) fn message(
        &mut self,
        id: LinkId,
        message: M,
        bytes: usize,
        now: Instant,
    ) -> Option<M> {
        if let Some(link) = &mut self.serving
            && link.id == id
        {
            link.heard(now);
            return Some(message);
        }
        let most = self.rules.early;
        if let Some((link, stage)) = &mut self.joining
            && link.id == id
        {
            link.heard(now);
            if !matches!(stage, Stage::Doubling | Stage::Sealing) {
                // What is dropped was published before the gap is told, so it falls into it.
                link.early.push(message, bytes, most);
            }
        }
        None
    }

    pub(in crate::subscriber) fn reply(&mut self, id: LinkId, reply: Reply, now: Instant) {
        let Some(link) = self.link(id) else { return };
        let heard = match link.reply(reply, now) {
            Ok(heard) => heard,
            Err(broken) => {
                self.lost(id, Lost::Closed(broken.0), now);
                return;
            }
        };
        self.send(id, heard.orders);
        let serves = self.serving.as_ref().is_some_and(|link| link.id == id);
        for (subject, error) in heard.settled {
            match error {
                Some(error) => self.refused(&subject, &error, now),
                None if serves => self.confirmed(&subject, now),
                None => {}
            }
        }
        if heard.pong == Some(Ping::Sealed)
            && let Some((_, stage)) = &mut self.joining
        {
            *stage = Stage::Sealed;
        }
        self.follow_up(now);
    }

    /// The server of the connection that serves owes nothing about this subject any more.
    fn confirmed(&mut self, subject: &Subject, now: Instant) {
        let over = self.calls.settle(subject, None);
        self.done(over);
        let Some(link) = self.serving.as_ref().filter(|link| link.has(subject)) else {
            return;
        };
        let node = link.target.node.clone();
        // It was refused for a while, although another server had confirmed it.
        if let Some(since) = self.wanted.confirm(subject)
            && self.interruption.is_none()
        {
            self.effects.push(Effect::Gap(Gap {
                from: Some(node.clone()),
                to: node,
                since: now - since,
                why: GapCause::Refused,
                refused: Vec::new(),
            }));
        }
    }

    fn refused(&mut self, subject: &Subject, error: &RedisError, now: Instant) {
        let over = self.calls.settle(subject, Some(error));
        if over.iter().any(|(_, call)| !call.subscribes) {
            // It is subscribed to as before.
            self.wanted.hold(subject);
            let _ = self.wanted.confirm(subject);
        }
        let answer = || Answer::Refused(subject.clone(), error.clone());
        self.failed(over, answer, now);
    }

    /// The connection is gone.
    pub(in crate::subscriber) fn lost(&mut self, id: LinkId, how: Lost, now: Instant) {
        let served = self.serving.take_if(|link| link.id == id);
        let joined = self.joining.take_if(|(link, _)| link.id == id);
        let joined = joined.map(|(link, _)| link);
        let Some(link) = served.as_ref().or(joined.as_ref()) else {
            return;
        };
        let node = link.target.node.clone();
        self.effects.push(Effect::Close(id));
        if now < link.opened + YOUNG {
            self.effects.push(Effect::Shun(node.clone()));
        }
        self.effects.push(Effect::Report(node, how.clone()));
        if let Some(link) = served {
            self.serving_lost(&link, how, now);
        }
        self.follow_up(now);
    }

    fn serving_lost(&mut self, link: &Link<M>, how: Lost, now: Instant) {
        self.effects.push(Effect::Serves {
            node: None,
            again: true,
        });
        let why = match how {
            Lost::Closed(_) if link.is_behind() => GapCause::Overrun,
            Lost::Closed(why) => GapCause::ConnectionLost(why),
            Lost::Silent(_) => GapCause::Silent,
        };
        self.interrupt(link.complete_until(now), why, link.target.node.clone());
        self.settle_the_unwanted();
    }

    /// The connection that serves is not read, because too much waits for the reader; or it is read
    /// again.
    pub(in crate::subscriber) fn stopped(&mut self, stopped: bool, now: Instant) {
        if let Some(link) = &mut self.serving {
            let id = link.id;
            let order = link.stop(stopped, now);
            self.send(id, order);
        }
    }

    pub(in crate::subscriber) fn tick(&mut self, now: Instant) {
        let patience = self.rules.patience;
        let mut silent = Vec::new();
        self.send_to_all(|link| match link.due(&patience, now) {
            Due::Nothing => Vec::new(),
            Due::Ping => still_there(link, now),
            Due::Silent(within) => {
                silent.push((link.id, within));
                Vec::new()
            }
        });
        for (id, within) in silent {
            self.lost(id, Lost::Silent(within), now);
        }
        self.expire(now);
        self.follow_up(now);
    }
}

/// Asks whether the server is there, and whether it allows now what it has refused.
fn still_there<M>(link: &mut Link<M>, now: Instant) -> Vec<Order> {
    let mut orders = vec![link.ping(Ping::Alive, now)];
    orders.extend(link.ask_again(now));
    orders
}
