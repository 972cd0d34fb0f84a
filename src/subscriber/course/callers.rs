//! What callers ask for, and what they are told.

use tokio::time::Instant;

use crate::{
    subscriber::{
        calls::{Call, CallId},
        course::{Answer, Course, Effect},
    },
    wire::pubsub::Subject,
};

impl<M> Course<M> {
    pub(in crate::subscriber) fn subscribe(
        &mut self,
        id: CallId,
        subjects: Vec<Subject>,
        now: Instant,
    ) {
        self.wanted.claim(id, &subjects);
        self.send_to_all(|link| link.subscribe(&subjects, now));
        let serving = self.serving.as_ref();
        let is_open = |it: &&Subject| serving.is_none_or(|link| !link.has(it));
        let left: Vec<Subject> = subjects.iter().filter(is_open).cloned().collect();
        let call = Call::subscribe(now, now + self.rules.wait, subjects);
        if left.is_empty() {
            self.done(vec![(id, call)]);
        } else {
            self.calls.add(id, call, left);
        }
        self.follow_up(now);
    }

    pub(in crate::subscriber) fn unsubscribe(
        &mut self,
        id: CallId,
        subjects: Vec<Subject>,
        now: Instant,
    ) {
        self.wanted.remove(&subjects);
        self.send_to_all(|link| link.unsubscribe(&subjects, now));
        let serving = self.serving.as_ref();
        let is_pending = |it: &Subject| serving.is_some_and(|link| link.is_pending(it));
        let (left, settled): (Vec<_>, Vec<_>) = subjects.into_iter().partition(is_pending);
        // Whoever waits for such a subscription was overtaken.
        for subject in settled {
            let over = self.calls.settle(&subject, None);
            self.done(over);
        }
        let call = Call::unsubscribe(now, now + self.rules.wait);
        if left.is_empty() {
            self.done(vec![(id, call)]);
        } else {
            self.calls.add(id, call, left);
        }
        self.follow_up(now);
    }

    /// There is no connection any more, and the next one does not subscribe to what nobody wants.
    pub(super) fn settle_the_unwanted(&mut self) {
        for subject in self.calls.awaited() {
            if !self.wanted.contains(&subject) {
                let over = self.calls.settle(&subject, None);
                self.done(over);
            }
        }
    }

    /// These calls have what they wanted.
    pub(super) fn done(&mut self, over: Vec<(CallId, Call)>) {
        for (id, call) in over {
            self.wanted.release(id, &call.subjects, false);
            self.effects.push(Effect::Answer(id, Answer::Done));
        }
    }

    /// These calls have failed: nothing of them stays.
    pub(super) fn failed(
        &mut self,
        over: Vec<(CallId, Call)>,
        answer: impl Fn() -> Answer,
        now: Instant,
    ) {
        for (id, call) in over {
            self.effects.push(Effect::Answer(id, answer()));
            let gone = self.wanted.release(id, &call.subjects, true);
            self.send_to_all(|link| link.unsubscribe(&gone, now));
        }
    }

    /// Waiting is useless.
    pub(in crate::subscriber) fn give_up(&mut self, now: Instant) {
        let over = self.calls.give_up();
        self.failed(over, || Answer::Hopeless, now);
        self.follow_up(now);
    }

    /// Ends calls whose time is up. What they subscribe to stays wanted.
    pub(super) fn expire(&mut self, now: Instant) {
        for (id, call) in self.calls.expire(now) {
            self.wanted.release(id, &call.subjects, false);
            let answer = if call.subscribes {
                Answer::Late(now - call.asked_at)
            } else {
                // Nobody wants it any more, and no later connection asks for it.
                Answer::Done
            };
            self.effects.push(Effect::Answer(id, answer));
        }
    }
}
