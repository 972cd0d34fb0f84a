//! What the callers and the driver of one connection share.
//!
//! No socket, no clock, no lock: [`Mux`](crate::wire::mux::Mux) keeps it behind one short lock, and the
//! driver moves bytes between it and the socket. Its three parts are the queue of calls that wait
//! for room, the outbox of what was handed in, and the ledger of what is in flight. Outbox and ledger
//! are only ever added to together: the order of one is the order of the other.

use std::{mem, task::Waker, time::Duration};

use redis::Value;
use tokio::time::Instant;

use crate::{
    config::MultiplexedLimits,
    error::failure::{Cause, Fate},
    wire::mux::{
        call::{Call, Calls, Completion, MuxError, forget},
        in_flight::{InFlight, Owner, Portion},
        outbox::Outbox,
        queue::RequestQueue,
        ticks::Ticks,
    },
};

/// What a caller finds when it is polled.
#[derive(Debug)]
pub(super) enum Progress {
    /// It waits for room or for a reply; its waker will be called.
    Waiting,
    /// It may hand in as many commands as it asked for.
    Admitted,
    Done(Completion),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing is taken in and nothing written until it is reopened; replies still come.
    Paused,
    /// Nothing is taken in or written any more; replies still come.
    Draining,
    Closed,
}

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

#[derive(Debug)]
pub(super) struct MuxState {
    phase: Phase,
    calls: Calls,
    queue: RequestQueue,
    outbox: Outbox,
    in_flight: InFlight,
    ticks: Ticks,
    /// Something was handed in since the last tick.
    used: bool,
    /// The connection is to be drained; the driver does so in its next turn.
    retired: bool,
    driver: Option<Waker>,
    /// The driver has seen everything that was handed in, and waits for more.
    asleep: bool,
}

/// The callers' side.
impl MuxState {
    pub(super) fn new(limits: MultiplexedLimits, timeout: Option<Duration>) -> Self {
        Self {
            phase: Phase::Open,
            calls: Calls::new(),
            queue: RequestQueue::new(limits),
            outbox: Outbox::new(),
            in_flight: InFlight::new(),
            ticks: Ticks::new(timeout),
            used: false,
            retired: false,
            driver: None,
            asleep: false,
        }
    }

    /// Adds a call, admitted at once where there is room and nobody waits for it. `None` when nothing
    /// is taken in.
    #[inline]
    pub(super) fn enter(
        &mut self,
        wanted: usize,
        pipeline: Option<usize>,
        waker: &Waker,
    ) -> Option<usize> {
        if self.phase != Phase::Open {
            return None;
        }
        let call = Call::new(pipeline, self.ticks.now(), waker);
        let key = self.calls.insert(call);
        self.ask(key, wanted);
        Some(key)
    }

    /// As [`RequestQueue::ask`].
    #[inline]
    pub(super) fn ask(&mut self, key: usize, wanted: usize) {
        let unwritten = self.outbox.unwritten();
        self.queue.ask(&mut self.calls, key, wanted, unwritten);
    }

    #[inline]
    pub(super) fn is_admitted(&self, key: usize) -> bool {
        self.calls[key].granted > 0
    }

    /// Hands in what the call was admitted for, small enough to be copied. Returns the driver's
    /// waker where it sleeps.
    #[inline]
    pub(super) fn hand_in(
        &mut self,
        key: usize,
        encode: impl FnOnce(&mut Vec<u8>),
    ) -> Option<Waker> {
        let start = self.outbox.end();
        self.outbox.encode(encode);
        self.handed_in(key, start)
    }

    /// As [`hand_in`](Self::hand_in), without a copy.
    pub(super) fn hand_in_big(&mut self, key: usize, bytes: Vec<u8>) -> Option<Waker> {
        let start = self.outbox.end();
        self.outbox.push(bytes);
        self.handed_in(key, start)
    }

    #[inline]
    fn handed_in(&mut self, key: usize, start: u64) -> Option<Waker> {
        let portion = Portion {
            call: key,
            unanswered: self.calls[key].hand_in(start),
            start,
        };
        self.in_flight.push(portion, self.ticks.now());
        self.used = true;
        if mem::take(&mut self.asleep) {
            return self.driver.clone();
        }
        None
    }

    #[inline]
    pub(super) fn progress(&mut self, key: usize, waker: &Waker) -> Progress {
        let call = &mut self.calls[key];
        if let Some(completion) = call.completion.take() {
            self.leave(key);
            return Progress::Done(completion);
        }
        // Also for one that is admitted: it waits again as soon as it has handed in.
        match &mut call.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        if call.granted > 0 {
            return Progress::Admitted;
        }
        Progress::Waiting
    }

    /// The caller has gone. Adds to `woken` the calls that its room admits. Returns what it had
    /// received, to be dropped without the lock.
    pub(super) fn abandon(
        &mut self,
        key: usize,
        woken: &mut Vec<Waker>,
    ) -> (Option<Completion>, Vec<Value>) {
        let call = &mut self.calls[key];
        self.queue.release(mem::take(&mut call.granted));
        let received = call.take_received();
        self.leave(key);
        self.queue.compact(&mut self.calls);
        self.admit(woken);
        received
    }

    /// As [`Call::fate`].
    pub(super) fn fate(&self, key: usize) -> Fate {
        self.calls[key].fate()
    }

    #[inline]
    fn leave(&mut self, key: usize) {
        let call = &mut self.calls[key];
        if !call.is_referenced() {
            self.calls.remove(key);
            return;
        }
        call.abandoned = true;
        call.waker = None;
        if call.wanted > 0 {
            self.queue.gave_up();
        }
    }
}

/// The driver's side.
impl MuxState {
    /// As [`Outbox::take`].
    pub(super) fn take_out(&mut self, buffer: &mut Vec<u8>) {
        self.outbox.take(buffer);
    }

    /// As [`Outbox::has_bytes`].
    pub(super) fn has_out(&self) -> bool {
        self.outbox.has_bytes()
    }

    /// The driver's turn begins: it is awake, and this is how to wake it after that.
    pub(super) fn greet(&mut self, driver: &Waker) {
        self.asleep = false;
        match &mut self.driver {
            Some(known) => known.clone_from(driver),
            none => *none = Some(driver.clone()),
        }
    }

    /// The driver has seen everything that was handed in, and is to be woken when something is.
    pub(super) fn sleep(&mut self) {
        self.asleep = true;
    }

    /// Asks the driver to drain the connection. It may wait for the socket rather than sleep, so it
    /// is to be woken in any case.
    pub(super) fn retire(&mut self) -> Option<Waker> {
        self.retired = true;
        self.driver.clone()
    }

    /// How to wake the driver, whatever it waits for.
    pub(super) fn driver(&self) -> Option<Waker> {
        self.driver.clone()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired
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
    pub(super) fn wrote(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.outbox.wrote(bytes);
        self.admit(woken);
    }

    /// The server has sent something, if only a part of a reply.
    pub(super) fn heard(&mut self) {
        self.in_flight.heard(self.ticks.now());
    }

    /// Gives the replies to their calls, in order; false when there is one that nobody asked for.
    /// Replies that nobody waits for stay in `replies`: dropping a large one takes time, and all
    /// callers would wait for the lock meanwhile.
    pub(super) fn deliver(&mut self, replies: &mut [Value], woken: &mut Vec<Waker>) -> bool {
        for reply in replies {
            let (key, ended) = match self.in_flight.answered(self.outbox.written()) {
                Owner::Call { key, ended } => (key, ended),
                // A command that was written only in part may be answered all the same.
                Owner::Nobody => return self.phase == Phase::Draining,
                Owner::Unwritten => return false,
            };
            self.queue.release(1);
            let call = &mut self.calls[key];
            if ended {
                call.portion_ended();
            }
            if call.abandoned {
                forget(&mut self.calls, key);
                continue;
            }
            // A call that failed already, at its deadline, keeps that error.
            if call.completion.is_none() {
                call.receive(mem::replace(reply, Value::Nil), woken);
            }
        }
        self.admit(woken);
        true
    }

    fn admit(&mut self, woken: &mut Vec<Waker>) {
        let unwritten = self.outbox.unwritten();
        self.queue.admit(&mut self.calls, unwritten, woken);
    }

    /// Time has moved on by one tick: calls that have waited too long fail.
    pub(super) fn tick(&mut self, now: Instant, woken: &mut Vec<Waker>) -> Ticked {
        self.ticks.advance(now);
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
        for (_, call) in &mut self.calls {
            if self.ticks.is_overdue(call.since) && call.is_pending() {
                self.queue.release(mem::take(&mut call.granted));
                if call.wanted > 0 {
                    self.queue.gave_up();
                }
                call.fail(MuxError::Failed(limit.clone(), call.fate()), woken);
            }
        }
        self.queue.compact(&mut self.calls);
        self.admit(woken);
        Ticked::Busy
    }

    fn is_idle(&self) -> bool {
        let waited_for = self.is_owed() || !self.queue.is_empty() || self.queue.reserved() > 0;
        // A server may answer a command before all of it is written, so there may be bytes to write
        // although no reply is owed.
        !waited_for && self.outbox.unwritten() == 0
    }

    fn shrink(&mut self) {
        self.outbox.shrink();
        self.in_flight.shrink();
        self.queue.shrink();
        self.calls.shrink_to_fit();
    }

    /// Takes nothing in and writes nothing any more, and waits for the replies to what was written.
    pub(super) fn drain(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        if matches!(self.phase, Phase::Open | Phase::Paused) {
            self.phase = Phase::Draining;
            self.hand_back(cause, woken);
        }
    }

    /// Takes nothing in and writes nothing until it is [`reopened`](Self::reopen). False where it
    /// cannot stop because a command has been written in part, and where it has stopped already.
    pub(super) fn pause(&mut self, cause: &Cause, woken: &mut Vec<Waker>) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        let written = self.outbox.written();
        let next = self.in_flight.first_unwritten(written);
        let boundary = next.unwrap_or_else(|| self.outbox.end());
        if boundary != written {
            return false;
        }
        self.phase = Phase::Paused;
        self.hand_back(cause, woken);
        true
    }

    pub(super) fn is_paused(&self) -> bool {
        self.phase == Phase::Paused
    }

    /// Takes commands again after a [`pause`](Self::pause); whether it takes them now.
    pub(super) fn reopen(&mut self) -> bool {
        if self.phase == Phase::Paused {
            self.phase = Phase::Open;
        }
        self.phase == Phase::Open
    }

    /// Gives back to the calls what was not written, and admits none of those that wait.
    fn hand_back(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        let written = self.outbox.written();
        let mut end = self.outbox.discard();
        while end > written
            && let Some(portion) = self.in_flight.pop()
        {
            end = portion.start;
            self.queue.release(portion.unanswered);
            self.calls[portion.call].take_back(portion.unanswered);
            // The first of these portions may be written in part. The rest of it never will be.
            if end < written {
                self.give_up(portion.call, cause, woken);
            } else {
                self.shorten(portion.call, woken);
            }
        }
        for key in self.queue.take_all() {
            self.calls[key].wanted = 0;
            self.shorten(key, woken);
        }
        // Calls that may hand in but have not been polled since.
        let admitted = self.calls.iter().filter(|(_, call)| call.granted > 0);
        for key in admitted.map(|(key, _)| key).collect::<Vec<_>>() {
            self.queue.release(mem::take(&mut self.calls[key].granted));
            self.shorten(key, woken);
        }
    }

    fn shorten(&mut self, key: usize, woken: &mut Vec<Waker>) {
        let call = &mut self.calls[key];
        if call.completion.is_none() {
            call.shorten(woken);
        }
        forget(&mut self.calls, key);
    }

    /// The connection is lost, and with it every reply that has not come.
    pub(super) fn fail(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        self.phase = Phase::Closed;
        self.driver = None;
        self.outbox.clear();
        self.in_flight.clear();
        self.queue.clear();
        let keys: Vec<_> = self.calls.iter().map(|(key, _)| key).collect();
        for key in keys {
            self.calls[key].unlink();
            self.give_up(key, cause, woken);
        }
    }

    fn give_up(&mut self, key: usize, cause: &Cause, woken: &mut Vec<Waker>) {
        self.calls[key].give_up(cause, self.outbox.written(), woken);
        forget(&mut self.calls, key);
    }

    /// How many commands count against the limit.
    pub(super) fn in_flight(&self) -> usize {
        self.queue.reserved()
    }

    /// How many calls wait for room.
    pub(super) fn waiting(&self) -> usize {
        self.queue.waiting(&self.calls)
    }

    /// Whether every call has left and nothing is kept for any.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.in_flight.len() + self.queue.len() + self.queue.reserved();
        self.calls.is_empty() && waiting == 0 && !self.has_out()
    }
}

#[cfg(test)]
mod tests;
