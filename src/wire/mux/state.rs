//! What the driver knows of its connection: which calls wait for room, what is to be written, and whose
//! reply comes next.
//!
//! No socket, no clock: the driver moves bytes between this and the socket. Nobody else uses it, so it
//! needs no lock; each call has one of its own. Outbox and in-flight ledger are only ever added to
//! together: the order of one is the order of the other.

use std::{mem, task::Waker, time::Duration};

use redis::Value;
use tokio::time::Instant;

use crate::{
    config::MultiplexedLimits,
    error::failure::Cause,
    wire::{
        mux::{
            call::{Call, MuxError},
            in_flight::{Due, InFlight, Owner, Portion},
            intake::Arrival,
            outbox::Outbox,
            questions::Questions,
            queue::RequestQueue,
            ticks::Ticks,
        },
        position_question::{self, Answer, Want},
    },
};

/// What the driver learns from a tick.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ticked {
    /// The connection was used since the last tick, or is in use.
    Busy,
    /// Nobody has used the connection for a whole tick.
    Idle,
    /// Replies have stopped coming altogether.
    Stalled,
}

/// Whom a reply was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivered {
    /// So many callers may go on with it, or none yet.
    To(usize),
    /// Nobody asked for it.
    Unasked,
}

#[derive(Debug)]
pub(super) struct MuxState {
    queue: RequestQueue,
    outbox: Outbox,
    in_flight: InFlight,
    questions: Questions,
    ticks: Ticks,
    /// Something was put into the stream since the last tick.
    used: bool,
    /// Nothing is written any more; replies still come.
    draining: bool,
    /// Replies that were for a call.
    answered: u64,
}

/// Letting calls in. Wakers that are added to `woken` are to be called without a lock.
impl MuxState {
    pub(super) fn new(limits: MultiplexedLimits, timeout: Option<Duration>) -> Self {
        Self {
            queue: RequestQueue::new(limits),
            outbox: Outbox::new(),
            in_flight: InFlight::new(),
            questions: Questions::default(),
            ticks: Ticks::new(timeout),
            used: false,
            draining: false,
            answered: 0,
        }
    }

    /// Puts what was handed in into the stream as far as there is room. The rest waits in line.
    #[inline]
    pub(super) fn admit(&mut self, arrived: &mut Vec<Arrival>, woken: &mut Vec<Waker>) {
        if !self.queue.is_empty() {
            self.admit_waiting(woken);
        }
        for mut arrival in arrived.drain(..) {
            arrival.since = self.ticks.known(arrival.since);
            if self.queue.is_empty() && self.has_room(&arrival) {
                self.enter(arrival, woken);
            } else if !arrival.call.lock().is_over() {
                self.queue.push(arrival);
            }
        }
    }

    fn admit_waiting(&mut self, woken: &mut Vec<Waker>) {
        while let Some(first) = self.queue.first() {
            let gone = self.queue.has_given_up() && first.call.lock().is_over();
            if !gone && !self.has_room(first) {
                break;
            }
            if let Some(arrival) = self.queue.pop() {
                self.enter(arrival, woken);
            }
        }
        self.queue.compact();
    }

    #[inline]
    fn has_room(&self, arrival: &Arrival) -> bool {
        self.queue.has_room(arrival.count, self.outbox.unwritten())
    }

    #[inline]
    fn enter(&mut self, arrival: Arrival, woken: &mut Vec<Waker>) {
        let Arrival {
            call,
            count,
            since,
            want,
        } = arrival;
        let mut taken = call.lock();
        if want != Want::NOTHING {
            self.ask_around(&taken, want);
        }
        let start = taken.take(count, want, &mut self.outbox, woken);
        drop(taken);
        let Some(start) = start else {
            return;
        };
        self.queue.enter(count);
        self.used = true;
        let portion = Portion {
            call,
            unanswered: count,
            start,
            since,
            want,
        };
        self.in_flight.push(Due::Call(portion), self.ticks.now());
    }

    /// Has the position asked for that a call wants to know, which is put into the stream next. One question
    /// ahead serves all calls behind it in the same write, and one behind serves all calls that were put
    /// into the stream since the question before.
    fn ask_around(&mut self, call: &Call, want: Want) {
        if !call.is_handed_in() {
            return;
        }
        if want.ahead() && !self.outbox.is_headed() {
            self.ask();
        }
        if want.behind() && call.is_waited_for() {
            self.questions.require();
        }
    }

    /// Puts a question into the stream. Between two calls at most: the commands of an atomic pipeline are
    /// put there together.
    fn ask(&mut self) {
        let start = self.outbox.end();
        self.outbox.ask();
        self.questions.asked();
        self.in_flight.push(Due::Question(start), self.ticks.now());
    }

    /// So many calls were abandoned that may wait in line.
    pub(super) fn abandoned(&mut self, count: usize) {
        self.queue.gave_up(count);
    }

    /// How many commands count against the limit.
    pub(super) fn in_flight(&self) -> usize {
        self.queue.in_flight()
    }

    /// How many calls wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.queue.len()
    }

    /// How many replies were for a call.
    pub(super) fn answered(&self) -> u64 {
        self.answered
    }
}

/// Writing and reading.
impl MuxState {
    /// As [`Outbox::take`], with a question behind it if one is due.
    pub(super) fn take_out(&mut self, buffer: &mut Vec<u8>) {
        if self.questions.is_due() && self.outbox.is_last() {
            self.ask();
        }
        self.outbox.take(buffer);
    }

    /// Whether a question is among what is written next.
    #[inline]
    pub(super) fn has_asked(&self) -> bool {
        self.outbox.is_headed() || self.questions.is_due()
    }

    /// As [`Outbox::has_bytes`].
    pub(super) fn has_out(&self) -> bool {
        self.outbox.has_bytes()
    }

    /// Whether replies are still to come.
    pub(super) fn is_owed(&self) -> bool {
        !self.in_flight.is_empty()
    }

    /// As [`InFlight::is_busy`].
    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.is_busy(self.outbox.written())
    }

    /// `bytes` more have reached the socket.
    pub(super) fn wrote(&mut self, bytes: usize) {
        self.outbox.wrote(bytes);
    }

    /// The server has sent something, if only a part of a reply.
    pub(super) fn heard(&mut self) {
        self.in_flight.heard(self.ticks.now());
    }

    /// Gives the next reply to whom it is for: `receive` to its call, or `read` to those who wait for what it
    /// says.
    #[inline]
    fn answer<R>(
        &mut self,
        reply: R,
        woken: &mut Vec<Waker>,
        receive: impl FnOnce(&Portion, R, bool) -> Option<Waker>,
        read: impl FnOnce(R) -> Answer,
    ) -> Delivered {
        let portion = match self.in_flight.owner(self.outbox.written()) {
            Owner::Call(portion) => portion,
            Owner::Question => {
                self.in_flight.end_first();
                self.questions.answered(read(reply));
                return Delivered::To(self.questions.conclude(woken));
            }
            // A command that was written only in part may be answered all the same.
            Owner::Nobody if self.draining => return Delivered::To(1),
            Owner::Nobody | Owner::Unwritten => return Delivered::Unasked,
        };
        portion.unanswered -= 1;
        let is_last = portion.unanswered == 0;
        let hold = portion.want != Want::NOTHING && self.questions.note(portion);
        woken.extend(receive(portion, reply, hold));
        self.queue.release(1);
        self.answered += 1;
        // The driver forgets a call before it wakes the caller, who may then use the call again.
        if is_last {
            let ended = self.in_flight.end_first();
            if hold && self.questions.hold(ended) {
                return Delivered::To(0);
            }
        }
        Delivered::To(1)
    }

    /// Lets some callers go on who waited for an answer that is here, if there are any.
    #[inline]
    pub(super) fn conclude(&mut self, woken: &mut Vec<Waker>) -> Option<Delivered> {
        let ripe = self.questions.has_ripe();
        ripe.then(|| Delivered::To(self.questions.conclude(woken)))
    }

    /// Gives the next reply to whom it is for.
    #[inline]
    pub(super) fn deliver(&mut self, reply: Value, woken: &mut Vec<Waker>) -> Delivered {
        let receive = |portion: &Portion, reply, hold| {
            let (waker, _unwanted) = portion.call.lock().receive(reply, hold);
            waker
        };
        self.answer(reply, woken, receive, position_question::answer)
    }

    /// As [`deliver`](Self::deliver), for a short bulk string.
    #[inline]
    pub(super) fn deliver_short(&mut self, reply: &[u8], woken: &mut Vec<Waker>) -> Delivered {
        let receive =
            |portion: &Portion, reply: &[u8], hold| portion.call.lock().receive_short(reply, hold);
        self.answer(reply, woken, receive, position_question::answer_text)
    }
}

/// The passing of time.
impl MuxState {
    /// A new tick begins; returns its number.
    pub(super) fn advance(&mut self, now: Instant) -> u32 {
        self.ticks.advance(now);
        self.ticks.now()
    }

    /// Ends the calls that have waited too long by now.
    pub(super) fn expire(&mut self, woken: &mut Vec<Waker>) -> Ticked {
        let used = mem::take(&mut self.used);
        if self.is_idle() {
            if used {
                return Ticked::Busy;
            }
            self.ticks.forget();
            self.shrink();
            return Ticked::Idle;
        }
        let Some(timeout) = self.ticks.timeout() else {
            return Ticked::Busy;
        };
        if self.is_owed() && self.ticks.is_overdue(self.in_flight.last_heard()) {
            return Ticked::Stalled;
        }
        let limit = Cause::Timeout(timeout);
        let sent = self.in_flight.iter().chain(self.questions.iter());
        let sent = sent.map(|portion| (&portion.call, portion.since));
        let waiting = self.queue.iter();
        let waiting = waiting.map(|arrival| (&arrival.call, arrival.since));
        for (call, since) in sent.chain(waiting) {
            if self.ticks.is_overdue(since) {
                let mut call = call.lock();
                if !call.is_over() {
                    let fate = call.fate();
                    woken.extend(call.fail(MuxError::Failed(limit.clone(), fate)));
                }
            }
        }
        // Each of those that wait may have given up.
        self.abandoned(self.queue.len());
        self.admit_waiting(woken);
        Ticked::Busy
    }

    fn is_idle(&self) -> bool {
        // A server may answer a command before all of it is written, so there may be bytes to write
        // although no reply is owed.
        !self.is_owed()
            && self.questions.holds_none()
            && self.queue.is_empty()
            && self.outbox.unwritten() == 0
    }

    fn shrink(&mut self) {
        self.outbox.shrink();
        self.in_flight.shrink();
        self.questions.shrink();
        self.queue.shrink();
    }
}

/// The end, for now or ever.
impl MuxState {
    /// Whether no command has been written in part, so that one may stop here and go on later.
    pub(super) fn is_between_commands(&self) -> bool {
        let written = self.outbox.written();
        let next = self.in_flight.first_unwritten(written);
        next.unwrap_or_else(|| self.outbox.end()) == written
    }

    /// Nothing is written any more; the replies to what was written are waited for.
    pub(super) fn drain(&mut self, arrived: Vec<Arrival>, cause: &Cause, woken: &mut Vec<Waker>) {
        if !mem::replace(&mut self.draining, true) {
            self.hand_back(arrived, cause, woken);
        }
    }

    /// Gives back to the calls what was not written, and lets in none of those that wait.
    pub(super) fn hand_back(
        &mut self,
        arrived: Vec<Arrival>,
        cause: &Cause,
        woken: &mut Vec<Waker>,
    ) {
        let written = self.outbox.written();
        let mut end = self.outbox.discard();
        while end > written
            && let Some(due) = self.in_flight.pop()
        {
            end = due.start();
            let Due::Call(portion) = due else {
                self.questions.take_back();
                continue;
            };
            self.queue.release(portion.unanswered);
            let mut call = portion.call.lock();
            call.take_back(portion.unanswered);
            // The first of these portions may be written in part. The rest of it never will be.
            woken.extend(if end < written {
                call.give_up(cause, written)
            } else {
                call.shorten()
            });
        }
        self.questions.discard(woken);
        self.shorten_waiting(arrived, woken);
    }

    fn shorten_waiting(&mut self, arrived: Vec<Arrival>, woken: &mut Vec<Waker>) {
        for arrival in self.queue.take_all().into_iter().chain(arrived) {
            woken.extend(arrival.call.lock().shorten());
        }
    }

    /// The connection is lost, and with it every reply that has not come.
    pub(super) fn fail(&mut self, arrived: Vec<Arrival>, cause: &Cause, woken: &mut Vec<Waker>) {
        self.questions.give_up(woken);
        let written = self.outbox.written();
        for portion in self.in_flight.iter() {
            woken.extend(portion.call.lock().give_up(cause, written));
            self.queue.release(portion.unanswered);
        }
        self.in_flight.clear();
        self.outbox.clear();
        self.shorten_waiting(arrived, woken);
    }

    /// Whether nothing is kept for any call.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.in_flight.len() + self.queue.len() + self.queue.in_flight();
        waiting == 0 && !self.has_out() && self.questions.is_empty()
    }
}

#[cfg(test)]
mod tests;
