//! The queue at which the callers of one shared socket hand in commands and pick up replies.
//!
//! Pure state: no socket, no clock, no lock. [`Mux`](crate::wire::mux::Mux) keeps it behind one short lock,
//! the driver moves bytes between it and the socket. Replies carry no names: the order in which
//! commands were handed in is all that says whose reply comes next, so `due` and the bytes are only
//! ever appended to together.

use std::{collections::VecDeque, mem, task::Waker, time::Duration};

use redis::Value;
use slab::Slab;
use tokio::time::Instant;

use crate::{
    config::MultiplexedLimits,
    error::failure::{Cause, Fate},
    wire::{mux::ticks::Ticks, pipeline},
};

/// A command larger than this is not copied together with others.
pub(super) const BIG: usize = 16 * 1024;

/// Why a caller gets no reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MuxError {
    /// Nothing of the command was written, and it never will be: it may go over another connection.
    NotWritten,
    Failed(Cause, Fate),
}

#[derive(Debug)]
pub(super) enum Answer {
    One(Value),
    Many(Vec<Value>),
    Lost(MuxError),
}

/// How a caller finds its call.
#[derive(Debug)]
pub(super) enum Progress {
    /// In line, or waiting for a reply; its waker will be called.
    Waiting,
    /// May hand in as many commands as it asked for.
    Admitted,
    Done(Answer),
}

#[derive(Debug)]
struct Call {
    waker: Option<Waker>,
    /// The tick in which it came to the queue.
    since: u32,
    /// Where its first byte stands in the stream; behind the end until then.
    start: u64,
    /// How many commands it stands in line for; 0 when it does not.
    wanted: usize,
    /// How many it may hand in now.
    granted: usize,
    /// Its entries in `due`.
    dues: usize,
    /// How many commands it has handed in.
    handed_in: usize,
    /// Replies to a pipeline of so many commands.
    total: Option<usize>,
    replies: Vec<Value>,
    answer: Option<Answer>,
    /// Nobody waits for it any more; what still comes for it is dropped.
    abandoned: bool,
}

/// Commands handed in together and not all answered yet.
#[derive(Debug)]
struct Due {
    call: usize,
    left: usize,
    start: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// Nothing new is taken in and nothing written for now; replies still come.
    Held,
    /// Nothing new is taken in, nothing more is written; replies still come.
    Leaving,
    Over,
}

/// What the driver learns from a tick.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ticked {
    /// Somebody waits, or did a moment ago.
    Busy,
    /// Nobody has used the connection for a whole tick.
    Idle,
    /// Replies have stopped coming altogether.
    Stalled,
}

#[derive(Debug)]
pub(super) struct RequestQueue {
    limits: MultiplexedLimits,
    phase: Phase,
    calls: Slab<Call>,
    due: VecDeque<Due>,
    /// Calls waiting for room, in the order in which they came.
    line: VecDeque<usize>,
    /// How many have left the line, at most, whose place in it is still there.
    left_line: usize,
    /// Commands handed in and not answered, and those that may be handed in.
    in_flight: usize,
    /// Bytes that the driver has not taken: first the sealed ones, then `out`.
    sealed: VecDeque<Vec<u8>>,
    out: Vec<u8>,
    handed_in: u64,
    written: u64,
    ticks: Ticks,
    /// The tick in which the server last sent something, or began to owe something.
    heard: u32,
    /// Something was handed in since the last tick.
    used: bool,
    /// Asked to write nothing more; the driver sees to it in its next turn.
    retired: bool,
    driver: Option<Waker>,
    /// The driver has seen everything that was handed in, and waits for more.
    asleep: bool,
}

impl RequestQueue {
    pub(super) fn new(limits: MultiplexedLimits, timeout: Option<Duration>) -> Self {
        Self {
            limits,
            phase: Phase::Open,
            calls: Slab::new(),
            due: VecDeque::new(),
            line: VecDeque::new(),
            left_line: 0,
            in_flight: 0,
            sealed: VecDeque::new(),
            out: Vec::new(),
            handed_in: 0,
            written: 0,
            ticks: Ticks::new(timeout),
            heard: 0,
            used: false,
            retired: false,
            driver: None,
            asleep: false,
        }
    }

    // The callers' side.

    /// A new call, admitted at once where there is room and nobody waits for it. `None` when the
    /// queue takes nothing in any more.
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
        let key = self.calls.insert(Call {
            waker: Some(waker.clone()),
            since: self.ticks.now(),
            start: u64::MAX,
            wanted: 0,
            granted: 0,
            dues: 0,
            handed_in: 0,
            total: pipeline,
            replies: Vec::new(),
            answer: None,
            abandoned: false,
        });
        self.ask(key, wanted);
        Some(key)
    }

    /// Asks for room for so many commands more; whoever asked before is served before.
    #[inline]
    pub(super) fn ask(&mut self, key: usize, wanted: usize) {
        if self.line.is_empty() && self.has_room(wanted) {
            self.in_flight += wanted;
            self.calls[key].granted = wanted;
        } else {
            self.calls[key].wanted = wanted;
            self.line.push_back(key);
        }
    }

    #[inline]
    fn has_room(&self, wanted: usize) -> bool {
        // More than the limit at once, a big transaction, goes when nothing else is on its way.
        let fits = self.in_flight == 0 || self.in_flight + wanted <= self.limits.max_in_flight;
        fits && self.pending_bytes() < self.limits.max_pending_bytes as u64
    }

    fn pending_bytes(&self) -> u64 {
        self.handed_in - self.written
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
        let before = self.out.len();
        encode(&mut self.out);
        let bytes = self.out.len() - before;
        self.note(key, bytes)
    }

    /// As [`hand_in`](Self::hand_in), without a copy.
    pub(super) fn hand_in_big(&mut self, key: usize, bytes: Vec<u8>) -> Option<Waker> {
        if !self.out.is_empty() {
            self.sealed.push_back(mem::take(&mut self.out));
        }
        let len = bytes.len();
        self.sealed.push_back(bytes);
        self.note(key, len)
    }

    #[inline]
    fn note(&mut self, key: usize, bytes: usize) -> Option<Waker> {
        let call = &mut self.calls[key];
        let start = self.handed_in;
        call.start = call.start.min(start);
        call.dues += 1;
        let left = mem::take(&mut call.granted);
        call.handed_in += left;
        if self.due.is_empty() {
            self.heard = self.ticks.now();
        }
        self.due.push_back(Due {
            call: key,
            left,
            start,
        });
        self.handed_in += bytes as u64;
        self.used = true;
        if mem::take(&mut self.asleep) {
            return self.driver.clone();
        }
        None
    }

    #[inline]
    pub(super) fn progress(&mut self, key: usize, waker: &Waker) -> Progress {
        let call = &mut self.calls[key];
        if let Some(answer) = call.answer.take() {
            self.leave(key);
            return Progress::Done(answer);
        }
        // Whoever is admitted waits again as soon as it has handed in.
        match &mut call.waker {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        if call.granted > 0 {
            return Progress::Admitted;
        }
        Progress::Waiting
    }

    /// Nobody waits for this call any more. Those whom its room lets in are to be woken. Returns
    /// what it had received, to be dropped without the lock.
    pub(super) fn abandon(
        &mut self,
        key: usize,
        woken: &mut Vec<Waker>,
    ) -> (Option<Answer>, Vec<Value>) {
        let call = &mut self.calls[key];
        self.in_flight -= mem::take(&mut call.granted);
        let received = (call.answer.take(), mem::take(&mut call.replies));
        self.leave(key);
        self.close_ranks();
        self.admit(woken);
        received
    }

    /// What is known of a call that is given up now.
    pub(super) fn fate(&self, key: usize) -> Fate {
        self.calls[key].fate()
    }

    fn leave(&mut self, key: usize) {
        let call = &mut self.calls[key];
        if call.dues == 0 && call.wanted == 0 {
            self.calls.remove(key);
            return;
        }
        call.abandoned = true;
        call.waker = None;
        if call.wanted > 0 {
            self.left_line += 1;
        }
    }

    // The driver's side.

    /// The next bytes to write, in place of `written`, which has all been written; none when there
    /// are none.
    pub(super) fn take_out(&mut self, written: &mut Vec<u8>) {
        written.clear();
        if let Some(sealed) = self.sealed.pop_front() {
            *written = sealed;
        } else {
            mem::swap(&mut self.out, written);
        }
    }

    pub(super) fn has_out(&self) -> bool {
        !self.out.is_empty() || !self.sealed.is_empty()
    }

    /// The driver's turn begins: it is awake, and this is how to wake it after that.
    pub(super) fn greet(&mut self, driver: &Waker) {
        self.asleep = false;
        match &mut self.driver {
            Some(known) => known.clone_from(driver),
            none => *none = Some(driver.clone()),
        }
    }

    /// Nothing was handed in that the driver has not seen: it is woken when something is.
    pub(super) fn sleep(&mut self) {
        self.asleep = true;
    }

    /// Asks the driver to write nothing more. It may wait for the socket rather than sleep, so it
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
        !self.due.is_empty()
    }

    /// Whether the server is at work on something.
    pub(super) fn is_busy(&self) -> bool {
        self.due.front().is_some_and(|due| due.start < self.written)
    }

    /// So many more bytes have reached the socket.
    pub(super) fn wrote(&mut self, bytes: usize, woken: &mut Vec<Waker>) {
        self.written += bytes as u64;
        self.admit(woken);
    }

    /// The server has sent something, if only a part of a reply.
    pub(super) fn heard(&mut self) {
        self.heard = self.ticks.now();
    }

    /// Hands the replies to those whom they are for, in their order; false when there is one that
    /// nobody asked for. Those that nobody waits for stay where they are: dropping a large one takes
    /// time, and everybody would wait for it.
    pub(super) fn deliver(&mut self, replies: &mut [Value], woken: &mut Vec<Waker>) -> bool {
        for reply in replies {
            let Some(due) = self.due.front_mut() else {
                // Of commands that were written only in part the first may be answered.
                return self.phase == Phase::Leaving;
            };
            if due.start >= self.written {
                return false;
            }
            let key = due.call;
            due.left -= 1;
            self.in_flight -= 1;
            let call = &mut self.calls[key];
            if due.left == 0 {
                self.due.pop_front();
                call.dues -= 1;
            }
            if call.abandoned {
                self.forget(key);
                continue;
            }
            // One that failed already, at its deadline, keeps that answer.
            if call.answer.is_none() {
                call.receive(mem::replace(reply, Value::Nil), woken);
            }
        }
        self.admit(woken);
        true
    }

    /// Removes the places of those who have left the line, once they may be half of it: while no
    /// replies come nobody is let in, and the line would grow with everyone who gives up.
    fn close_ranks(&mut self) {
        if self.left_line * 2 <= self.line.len() {
            return;
        }
        self.left_line = 0;
        let mut line = mem::take(&mut self.line);
        line.retain(|&key| self.is_in_line(key) || self.strike(key));
        self.line = line;
    }

    fn is_in_line(&self, key: usize) -> bool {
        let call = &self.calls[key];
        !call.abandoned && call.answer.is_none()
    }

    /// Forgets what a call wanted. Always false: it keeps no place in line.
    fn strike(&mut self, key: usize) -> bool {
        let call = &mut self.calls[key];
        call.wanted = 0;
        self.forget(key);
        false
    }

    /// Lets in from the line whom there is room for.
    fn admit(&mut self, woken: &mut Vec<Waker>) {
        while let Some(&key) = self.line.front() {
            if !self.is_in_line(key) {
                self.strike(key);
            } else {
                let wanted = self.calls[key].wanted;
                if !self.has_room(wanted) {
                    return;
                }
                let call = &mut self.calls[key];
                call.wanted = 0;
                call.granted = wanted;
                self.in_flight += wanted;
                woken.extend(call.waker.take());
            }
            self.line.pop_front();
        }
    }

    /// Time has moved on by one tick: whoever has waited too long is told so.
    pub(super) fn tick(&mut self, now: Instant, woken: &mut Vec<Waker>) -> Ticked {
        self.ticks.advance(now);
        let used = mem::take(&mut self.used);
        // A server may answer what it has not been told to the end.
        let written = self.pending_bytes() == 0;
        if self.due.is_empty() && self.line.is_empty() && self.in_flight == 0 && written {
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
        if self.is_owed() && self.ticks.is_overdue(self.heard) {
            return Ticked::Stalled;
        }
        let limit = Cause::Timeout(timeout);
        for (_, call) in &mut self.calls {
            if self.ticks.is_overdue(call.since) && !call.abandoned && call.answer.is_none() {
                self.in_flight -= mem::take(&mut call.granted);
                if call.wanted > 0 {
                    self.left_line += 1;
                }
                call.lose(MuxError::Failed(limit.clone(), call.fate()), woken);
            }
        }
        self.close_ranks();
        self.admit(woken);
        Ticked::Busy
    }

    /// Gives back what grew under load.
    fn shrink(&mut self) {
        self.out = Vec::new();
        self.sealed = VecDeque::new();
        self.due = VecDeque::new();
        self.line = VecDeque::new();
        self.calls.shrink_to_fit();
    }

    /// Takes nothing in any more and writes nothing any more; what was written is waited for.
    pub(super) fn cut(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        if matches!(self.phase, Phase::Open | Phase::Held) {
            self.phase = Phase::Leaving;
            self.hand_back(cause, woken);
        }
    }

    /// Takes nothing in and writes nothing until it is [`reopened`](Self::reopen). False where it
    /// cannot stop, because a command has been written in part, and where it has stopped for good.
    pub(super) fn hold(&mut self, cause: &Cause, woken: &mut Vec<Waker>) -> bool {
        if self.phase != Phase::Open {
            return false;
        }
        let written = self.written;
        let whole = |due: &Due| due.start >= written;
        let next = self.due.iter().find(|due| whole(due));
        let boundary = next.map_or(self.handed_in, |due| due.start);
        if boundary != self.written {
            return false;
        }
        self.phase = Phase::Held;
        self.hand_back(cause, woken);
        true
    }

    pub(super) fn is_held(&self) -> bool {
        self.phase == Phase::Held
    }

    /// Takes commands again after a [`hold`](Self::hold); whether it takes them now.
    pub(super) fn reopen(&mut self) -> bool {
        if self.phase == Phase::Held {
            self.phase = Phase::Open;
        }
        self.phase == Phase::Open
    }

    /// Gives back whatever was not written.
    fn hand_back(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        self.sealed.clear();
        self.out = Vec::new();
        let mut end = mem::replace(&mut self.handed_in, self.written);
        // The last of these may be written in part; its end never will be.
        while let Some(due) = self.due.back()
            && end > self.written
        {
            end = due.start;
            let (key, left) = (due.call, due.left);
            self.in_flight -= left;
            self.due.pop_back();
            let call = &mut self.calls[key];
            call.dues -= 1;
            call.handed_in -= left;
            if end < self.written {
                self.give_up(key, cause, woken);
            } else {
                self.shorten(key, woken);
            }
        }
        for key in mem::take(&mut self.line) {
            self.calls[key].wanted = 0;
            self.shorten(key, woken);
        }
        self.left_line = 0;
        // A call that may hand in but has not come to do it.
        let admitted = self.calls.iter().filter(|(_, call)| call.granted > 0);
        for key in admitted.map(|(key, _)| key).collect::<Vec<_>>() {
            self.in_flight -= mem::take(&mut self.calls[key].granted);
            self.shorten(key, woken);
        }
    }

    /// Ends a call where what was written of it ends: a pipeline gets the replies to that.
    fn shorten(&mut self, key: usize, woken: &mut Vec<Waker>) {
        let call = &mut self.calls[key];
        if call.answer.is_none() {
            call.shorten(woken);
        }
        self.forget(key);
    }

    /// The connection is lost, and with it every reply that has not come.
    pub(super) fn fail(&mut self, cause: &Cause, woken: &mut Vec<Waker>) {
        self.phase = Phase::Over;
        self.driver = None;
        self.sealed.clear();
        self.out = Vec::new();
        self.due.clear();
        self.line.clear();
        self.in_flight = 0;
        let keys: Vec<_> = self.calls.iter().map(|(key, _)| key).collect();
        for key in keys {
            let call = &mut self.calls[key];
            (call.dues, call.wanted, call.granted) = (0, 0, 0);
            self.give_up(key, cause, woken);
        }
    }

    fn give_up(&mut self, key: usize, cause: &Cause, woken: &mut Vec<Waker>) {
        let written = self.written;
        let call = &mut self.calls[key];
        let word = pipeline::last_word(&call.replies).filter(|_| cause.is_hangup());
        if let Some((word, total)) = word.cloned().zip(call.total) {
            call.replies.resize(total, word);
            call.conclude(woken);
        } else if call.answer.is_none() {
            let fault = if call.start < written {
                MuxError::Failed(cause.clone(), Fate::Unknown)
            } else {
                MuxError::NotWritten
            };
            call.lose(fault, woken);
        }
        self.forget(key);
    }

    fn forget(&mut self, key: usize) {
        let call = &self.calls[key];
        if call.abandoned && call.dues == 0 && call.wanted == 0 {
            self.calls.remove(key);
        }
    }

    /// Whether every call has left and nothing is kept for any.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.due.len() + self.line.len() + self.in_flight;
        self.calls.is_empty() && waiting == 0 && !self.has_out()
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn waiting(&self) -> usize {
        let line = self.line.iter();
        line.filter(|&&key| self.is_in_line(key)).count()
    }
}

impl Call {
    fn fate(&self) -> Fate {
        // What was handed in may still be written after this.
        if self.start == u64::MAX {
            Fate::NotExecuted
        } else {
            Fate::Unknown
        }
    }

    #[inline]
    fn receive(&mut self, reply: Value, woken: &mut Vec<Waker>) {
        let Some(total) = self.total else {
            self.answer = Some(Answer::One(reply));
            woken.extend(self.waker.take());
            return;
        };
        self.replies.push(reply);
        if self.replies.len() == total {
            self.conclude(woken);
        }
    }

    fn conclude(&mut self, woken: &mut Vec<Waker>) {
        self.answer = Some(Answer::Many(mem::take(&mut self.replies)));
        woken.extend(self.waker.take());
    }

    fn shorten(&mut self, woken: &mut Vec<Waker>) {
        if self.handed_in == 0 {
            return self.lose(MuxError::NotWritten, woken);
        }
        self.total = Some(self.handed_in);
        if self.replies.len() == self.handed_in {
            self.conclude(woken);
        }
    }

    fn lose(&mut self, fault: MuxError, woken: &mut Vec<Waker>) {
        self.replies = Vec::new();
        self.answer = Some(Answer::Lost(fault));
        woken.extend(self.waker.take());
    }
}

#[cfg(test)]
mod tests;
