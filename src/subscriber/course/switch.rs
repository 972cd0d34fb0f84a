//! From one connection to the next.

use tokio::time::Instant;

use crate::{
    subscriber::{
        course::{Answer, Course, Dialling, Effect, Stage, View, subscriptions::earlier},
        early::Early,
        errors,
        link::{Link, LinkId, Ping},
        notice::{GapCause, Refusal},
        options::Source,
    },
    topology::Target,
    util::backoff::REPLACEMENT,
    wire::pubsub::Subject,
};

impl<M> Course<M> {
    pub(in crate::subscriber) fn topology(&mut self, view: View, now: Instant) {
        self.view = view;
        if self.view.fenced {
            self.fenced_since.get_or_insert(now);
        }
        self.follow_up(now);
        if !self.view.fenced {
            self.fenced_since = None;
        }
    }

    /// Whether one with newer credentials or certificates should take the place of the connection that
    /// serves.
    pub(in crate::subscriber) fn outdated(&mut self, outdated: bool, now: Instant) {
        if let Some(link) = &mut self.serving {
            link.outdated = outdated;
        }
        self.follow_up(now);
    }

    /// There are newer certificates.
    pub(in crate::subscriber) fn replace_at_once(&mut self) {
        self.replacement = None;
    }

    /// A dial has succeeded. `None` if the connection is not wanted any more.
    pub(in crate::subscriber) fn dialled(
        &mut self,
        number: u64,
        target: Target,
        now: Instant,
    ) -> Option<LinkId> {
        self.dialling.take_if(|dial| dial.number == number)?;
        let mut link = Link::new(LinkId(number), target, self.view.master_since, now);
        if self.wanted.is_empty() || self.joining.is_some() || !self.is_right(&link) {
            self.follow_up(now);
            return None;
        }
        let orders = link.subscribe(self.wanted.iter(), now);
        let id = link.id;
        let serving = self.serving.as_ref();
        let stage = match serving {
            Some(serving) if serving.target.node == link.target.node => Stage::Doubling,
            _ => Stage::Subscribing,
        };
        self.joining = Some((link, stage));
        self.send(id, orders);
        Some(id)
    }

    /// A dial has failed. `is_final`: the next one would fail in the same way.
    pub(in crate::subscriber) fn dial_failed(&mut self, number: u64, is_final: bool, now: Instant) {
        let Some(dial) = self.dialling.take_if(|dial| dial.number == number) else {
            return;
        };
        if dial.replaces {
            let before = self.replacement;
            let pause = before.map_or(REPLACEMENT.first, |(_, pause)| REPLACEMENT.grow(pause));
            self.replacement = Some((now + REPLACEMENT.draw(pause), pause));
        } else if is_final {
            self.give_up(now);
            return;
        }
        self.follow_up(now);
    }

    /// Whether there is no node to go to.
    pub(in crate::subscriber) fn is_nowhere(&self) -> bool {
        self.view.targets.is_empty()
    }

    pub(super) fn wants_replacement(&self) -> bool {
        let serving = self.serving.as_ref();
        serving.is_some_and(|link| link.outdated && self.is_right(link))
            && self.interruption.is_none()
    }

    /// Leaves connections that are not right any more, as far as there are others, and dials what is
    /// missing.
    pub(super) fn reconsider(&mut self, now: Instant) {
        let is_wrong = |link: &Link<M>| self.wanted.is_empty() || !self.is_right(link);
        if let Some((link, _)) = &self.joining
            && is_wrong(link)
        {
            self.effects.push(Effect::Close(link.id));
            self.joining = None;
        }
        if let Some(link) = &self.serving
            && !self.is_right(link)
        {
            if self.wanted.is_empty() {
                self.leave_serving();
            } else {
                let (why, from) = (self.why_wrong(link), link.target.node.clone());
                if self.interrupt(now, why, from) {
                    self.prove_serving(now);
                }
            }
        }
        if self.joining.is_some() || self.dialling.is_some() || self.wanted.is_empty() {
            return;
        }
        let replaces = self.wants_replacement();
        let among = match &self.serving {
            Some(link) if replaces => {
                if self.replacement.is_some_and(|(at, _)| at > now) {
                    return;
                }
                vec![link.target.clone()]
            }
            Some(link) if self.is_right(link) && self.interruption.is_none() => return,
            _ => self.view.targets.clone(),
        };
        if !among.is_empty() {
            self.dials += 1;
            let number = self.dials;
            self.dialling = Some(Dialling { number, replaces });
            if replaces {
                self.prove_serving(now);
            }
            self.effects.push(Effect::Dial {
                number,
                among,
                replaces,
            });
        }
    }

    /// Asks the server of the connection that serves, so that it is known up to when nothing is missing.
    fn prove_serving(&mut self, now: Instant) {
        if let Some(link) = &mut self.serving {
            let (id, ping) = (link.id, link.ping(Ping::Alive, now));
            self.send(id, [ping]);
        }
    }

    fn why_wrong(&self, link: &Link<M>) -> GapCause {
        let same_master = link.master_since == self.view.master_since;
        if same_master && self.rules.source == Source::Reads {
            GapCause::NodeLeft
        } else {
            GapCause::MasterChanged
        }
    }

    /// Nothing is subscribed to over it.
    fn leave_serving(&mut self) {
        if let Some(link) = self.serving.take() {
            self.effects.push(Effect::Close(link.id));
            self.effects.push(Effect::Serves {
                node: None,
                again: true,
            });
            self.settle_the_unwanted();
        }
    }

    /// The joining connection takes its next step, if its server has answered everything.
    pub(super) fn advance(&mut self, now: Instant) {
        let Some((link, stage)) = &self.joining else {
            return;
        };
        if !link.is_settled() || self.wanted.is_empty() {
            return;
        }
        match stage {
            Stage::Doubling => self.seal(now),
            Stage::Sealing => {}
            Stage::Subscribing | Stage::Sealed => self.switch(now),
        }
    }

    fn seal(&mut self, now: Instant) {
        if let Some(serving) = self.serving.take() {
            self.effects.push(Effect::Drain(serving.id));
            self.effects.push(Effect::Close(serving.id));
            let since = serving.complete_until(now);
            self.interrupt(since, GapCause::Retired, serving.target.node);
        }
        if let Some((link, stage)) = &mut self.joining {
            *stage = Stage::Sealing;
            link.early = Early::default();
            let (id, ping) = (link.id, link.ping(Ping::Sealed, now));
            self.send(id, [ping]);
        }
    }

    /// The joining connection serves from now on.
    fn switch(&mut self, now: Instant) {
        let Some((mut link, _)) = self.joining.take() else {
            return;
        };
        if let Some(serving) = self.serving.take() {
            self.effects.push(Effect::Drain(serving.id));
            self.effects.push(Effect::Close(serving.id));
            if let Some(interruption) = &mut self.interruption {
                interruption.since = interruption.since.min(serving.complete_until(now));
            }
        }
        let missing_since = self.wanted.confirm_all(|subject| link.has(subject));
        let node = link.target.node.clone();
        if let Some(interruption) = self.interruption.take() {
            let since = earlier(missing_since, Some(interruption.since));
            let refused = link.refused().iter();
            let refused = refused
                .filter(|(subject, _)| self.wanted.refuse(subject, since.unwrap_or(now)))
                .map(|(subject, error)| refusal(subject, error))
                .collect();
            let gap = interruption.gap(node.clone(), since, refused, now);
            self.effects.push(Effect::Gap(gap));
        }
        let again = std::mem::replace(&mut self.served, true);
        self.effects.push(Effect::Serves {
            node: Some(node),
            again,
        });
        self.effects.extend(link.early.take().map(Effect::Message));
        self.replacement = None;
        let refused = link.refused().clone();
        // First, since what becomes of the calls may have to be sent over it.
        self.serving = Some(link);
        for subject in self.calls.awaited() {
            let error = refused.get(&subject);
            let over = self.calls.settle(&subject, error);
            match error {
                Some(error) => {
                    let answer = || Answer::Refused(subject.clone(), error.clone());
                    self.failed(over, answer, now);
                }
                None => self.done(over),
            }
        }
    }
}

fn refusal(subject: &Subject, error: &redis::RedisError) -> Refusal {
    Refusal {
        name: subject.name().to_vec(),
        is_pattern: matches!(subject, Subject::Pattern(_)),
        error: errors::text(error),
    }
}
