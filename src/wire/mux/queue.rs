//! The admission queue: how many commands may be in flight, and which calls wait for room.

use std::{collections::VecDeque, mem};

use crate::{config::MultiplexedLimits, wire::mux::intake::Arrival};

/// First come, first served: a call that wants much is not overtaken by those that want little.
#[derive(Debug)]
pub(super) struct RequestQueue {
    limits: MultiplexedLimits,
    /// What waits for room, in the order in which it came.
    waiting: VecDeque<Arrival>,
    /// How many of these entries, at most, belong to calls that have given up.
    given_up: usize,
    /// Commands that count against the limit: those that were let in and have no reply.
    in_flight: usize,
}

impl RequestQueue {
    pub(super) fn new(limits: MultiplexedLimits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            given_up: 0,
            in_flight: 0,
        }
    }

    /// Whether there is room for `count` more commands. `unwritten` bytes wait for the socket.
    #[inline]
    pub(super) fn has_room(&self, count: usize, unwritten: u64) -> bool {
        // A transaction with more commands than the limit is let in when nothing else is in flight.
        let fits = self.in_flight == 0 || self.in_flight + count <= self.limits.max_in_flight;
        fits && unwritten < self.limits.max_pending_bytes as u64
    }

    /// `count` commands were let in.
    #[inline]
    pub(super) fn enter(&mut self, count: usize) {
        self.in_flight += count;
    }

    /// `count` commands were answered, or never will be.
    #[inline]
    pub(super) fn release(&mut self, count: usize) {
        self.in_flight -= count;
    }

    #[inline]
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(super) fn push(&mut self, arrival: Arrival) {
        self.waiting.push_back(arrival);
    }

    #[inline]
    pub(super) fn first(&self) -> Option<&Arrival> {
        self.waiting.front()
    }

    pub(super) fn pop(&mut self) -> Option<Arrival> {
        self.waiting.pop_front()
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Entries, those of calls that have given up included.
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// So many calls have given up that may wait here. Their entries stay until they are the first, or
    /// until [`compact`](Self::compact) removes them.
    pub(super) fn gave_up(&mut self, count: usize) {
        self.given_up += count;
    }

    /// Whether a call that has given up may be waiting.
    pub(super) fn has_given_up(&self) -> bool {
        self.given_up > 0
    }

    /// Removes the entries of calls that have given up, once they may be half of all. While no
    /// replies come nobody is admitted, and the queue would grow with every call that gives up.
    pub(super) fn compact(&mut self) {
        if self.given_up * 2 > self.waiting.len() {
            self.given_up = 0;
            self.waiting
                .retain(|arrival| !arrival.call.lock().is_over());
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arrival> {
        self.waiting.iter()
    }

    /// Takes out all who wait, because nobody will be admitted.
    pub(super) fn take_all(&mut self) -> VecDeque<Arrival> {
        self.given_up = 0;
        mem::take(&mut self.waiting)
    }

    /// Gives back what grew under load, while nobody waits.
    pub(super) fn shrink(&mut self) {
        self.waiting = VecDeque::new();
    }
}
