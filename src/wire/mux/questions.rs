//! The questions among the commands of one connection: which are on their way, and who waits for what the
//! node answers.

use std::{collections::VecDeque, task::Waker};

use crate::wire::{
    mux::in_flight::{Due, Portion},
    position_question::Answer,
};

/// So many callers go on together whose writes one answer covers. As with replies: all of them at once would
/// keep the server waiting for their next commands.
const TOGETHER: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Questions {
    /// A call was put into the stream that wants to know the position behind it, and no question since.
    due: bool,
    /// How many are in the in-flight ledger.
    asked: usize,
    /// The last answer: how far the data goes that the commands see whose replies come next.
    last: Option<Answer>,
    /// Calls that have all their replies, and wait for the next answer.
    held: VecDeque<Portion>,
    /// As many at the front of them have it: the last answer. A later one is as good.
    ripe: usize,
}

impl Questions {
    /// A call was put into the stream that wants to know the position behind it.
    pub(super) fn require(&mut self) {
        self.due = true;
    }

    /// Whether one is to be put behind what is in the stream.
    #[inline]
    pub(super) fn is_due(&self) -> bool {
        self.due
    }

    /// One was put into the stream.
    pub(super) fn asked(&mut self) {
        self.due = false;
        self.asked += 1;
    }

    /// One will not be written.
    pub(super) fn take_back(&mut self) {
        self.asked -= 1;
    }

    /// Whether an answer is to come. It is about a moment after all that was answered by now: questions and
    /// commands are answered in the order of the stream.
    fn is_to_come(&self) -> bool {
        self.due || self.asked > 0
    }

    /// Tells the call, whose next reply is here, which position was ahead of it. Returns whether it is to wait
    /// for the next answer if that reply is its last.
    pub(super) fn note(&self, portion: &Portion) -> bool {
        if portion.want.ahead() {
            let last = self.last.as_ref();
            let last = last.expect("BUG: a question goes ahead of each call that wants one");
            portion.call.lock().note_ahead(last);
        }
        portion.want.behind() && portion.unanswered == 0 && self.is_to_come()
    }

    /// Whether the call has all its replies, and waits for the next answer from now on.
    pub(super) fn hold(&mut self, ended: Option<Due>) -> bool {
        let Some(Due::Call(portion)) = ended else {
            return false;
        };
        let is_answered = portion.call.lock().is_answered();
        if is_answered {
            self.held.push_back(portion);
        }
        is_answered
    }

    /// Here is the next answer, for all calls that are held. [`conclude`](Self::conclude) gives it to them.
    pub(super) fn answered(&mut self, answer: Answer) {
        self.asked -= 1;
        self.ripe = self.held.len();
        self.last = Some(answer);
    }

    /// Whether calls are held whose answer is here.
    #[inline]
    pub(super) fn has_ripe(&self) -> bool {
        self.ripe > 0
    }

    /// Ends some of the calls whose answer is here. Returns how many.
    pub(super) fn conclude(&mut self, woken: &mut Vec<Waker>) -> usize {
        let (before, together) = (woken.len(), self.ripe.min(TOGETHER));
        self.ripe -= together;
        for portion in self.held.drain(..together) {
            woken.extend(portion.call.lock().conclude(self.last.clone()));
        }
        woken.len() - before
    }

    /// What is not written yet will not be.
    pub(super) fn discard(&mut self, woken: &mut Vec<Waker>) {
        self.due = false;
        if self.asked == 0 {
            self.give_up(woken);
        }
    }

    /// No answer will come. The calls that wait for one have their replies all the same.
    pub(super) fn give_up(&mut self, woken: &mut Vec<Waker>) {
        (self.due, self.asked) = (false, 0);
        while self.has_ripe() {
            self.conclude(woken);
        }
        for portion in self.held.drain(..) {
            woken.extend(portion.call.lock().conclude(None));
        }
    }

    /// The calls that wait for an answer.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Portion> {
        self.held.iter()
    }

    /// Gives back what grew under load, while nobody waits.
    pub(super) fn shrink(&mut self) {
        self.held = VecDeque::new();
    }

    /// Whether no call is held.
    pub(super) fn holds_none(&self) -> bool {
        self.held.is_empty()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        !self.is_to_come() && self.holds_none()
    }
}
