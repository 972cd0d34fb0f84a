//! The admission queue: how many commands may be in flight, and which calls wait for room.

use std::{collections::VecDeque, mem, task::Waker};

use crate::{
    config::MultiplexedLimits,
    wire::mux::call::{Calls, forget},
};

/// First come, first served: a call that wants much is not overtaken by those that want little.
#[derive(Debug)]
pub(super) struct RequestQueue {
    limits: MultiplexedLimits,
    /// The keys of the calls that wait for room, in the order in which they came.
    waiting: VecDeque<usize>,
    /// How many of these entries, at most, belong to calls that have given up.
    given_up: usize,
    /// Commands that count against the limit: those that may be handed in, and those that were handed
    /// in and have no reply.
    reserved: usize,
}

impl RequestQueue {
    pub(super) fn new(limits: MultiplexedLimits) -> Self {
        Self {
            limits,
            waiting: VecDeque::new(),
            given_up: 0,
            reserved: 0,
        }
    }

    /// Asks for room for `wanted` more commands. Calls that asked before are served before.
    #[inline]
    pub(super) fn ask(&mut self, calls: &mut Calls, key: usize, wanted: usize, unwritten: u64) {
        if self.waiting.is_empty() && self.has_room(wanted, unwritten) {
            self.reserved += wanted;
            calls[key].granted = wanted;
        } else {
            calls[key].wanted = wanted;
            self.waiting.push_back(key);
        }
    }

    #[inline]
    fn has_room(&self, wanted: usize, unwritten: u64) -> bool {
        // A transaction with more commands than the limit is admitted when nothing else is in flight.
        let fits = self.reserved == 0 || self.reserved + wanted <= self.limits.max_in_flight;
        fits && unwritten < self.limits.max_pending_bytes as u64
    }

    #[inline]
    pub(super) fn reserved(&self) -> usize {
        self.reserved
    }

    /// `count` commands were answered, or never will be.
    #[inline]
    pub(super) fn release(&mut self, count: usize) {
        self.reserved -= count;
    }

    /// Admits calls in order while there is room.
    #[inline]
    pub(super) fn admit(&mut self, calls: &mut Calls, unwritten: u64, woken: &mut Vec<Waker>) {
        while let Some(&key) = self.waiting.front() {
            if calls[key].is_pending() {
                let wanted = calls[key].wanted;
                if !self.has_room(wanted, unwritten) {
                    return;
                }
                let call = &mut calls[key];
                call.wanted = 0;
                call.granted = wanted;
                self.reserved += wanted;
                woken.extend(call.waker.take());
            } else {
                remove(calls, key);
            }
            self.waiting.pop_front();
        }
    }

    /// A waiting call has given up. Its entry stays until it is the first, or until
    /// [`compact`](Self::compact) removes it.
    pub(super) fn gave_up(&mut self) {
        self.given_up += 1;
    }

    /// Removes the entries of calls that have given up, once they may be half of all. While no
    /// replies come nobody is admitted, and the queue would grow with every call that gives up.
    pub(super) fn compact(&mut self, calls: &mut Calls) {
        if self.given_up * 2 <= self.waiting.len() {
            return;
        }
        self.given_up = 0;
        self.waiting.retain(|&key| {
            let waits = calls[key].is_pending();
            if !waits {
                remove(calls, key);
            }
            waits
        });
    }

    /// Takes out all who wait, because nobody will be admitted.
    pub(super) fn take_all(&mut self) -> VecDeque<usize> {
        self.given_up = 0;
        mem::take(&mut self.waiting)
    }

    /// Nobody waits any more and nothing is in flight.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.reserved = 0;
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// How many calls wait for room.
    pub(super) fn waiting(&self, calls: &Calls) -> usize {
        let keys = self.waiting.iter();
        keys.filter(|&&key| calls[key].is_pending()).count()
    }

    /// Gives back what grew under load, while nobody waits.
    pub(super) fn shrink(&mut self) {
        self.waiting = VecDeque::new();
    }

    /// Entries, those of calls that have given up included.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// Notes that a call's entry leaves the queue.
fn remove(calls: &mut Calls, key: usize) {
    calls[key].wanted = 0;
    forget(calls, key);
}
