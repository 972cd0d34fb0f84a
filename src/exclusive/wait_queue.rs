//! Callers that wait for a connection, and connections that nobody has taken yet.
//!
//! # Why there are never more than `max_active`
//!
//! Three counts make up a pool. Their sum never exceeds `max_active`:
//!
//! - *held*: connections that are lent or given to a waiter, and those in deadpool's queue;
//! - *untaken*: connections that arrived here while nobody waited;
//! - *pending*: dials under way, and open connections that are neither held nor untaken, because they
//!   are on their way to a waiter or about to be closed. Each of them has a [`Pending`].
//!
//! Every waiter has a permit of deadpool and no connection, and deadpool has `max_active` permits. So
//! held + waiters never exceeds `max_active` either. A dial for a waiter begins only while nothing is
//! untaken and fewer are pending than callers wait, so the sum stays within the limit. A dial ahead of
//! demand begins only while the sum is below the limit. Everything else moves a connection from one
//! count to another: it enters the new count before it leaves the old one, or under the same lock.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::oneshot::{self, error::RecvError};

use crate::{error::Error, exclusive::entry::Entry, status::discard::Discard};

type Waiter = oneshot::Sender<Result<Box<Entry>, Error>>;

#[derive(Debug, Default)]
struct State {
    /// Connections that nobody was waiting for when they arrived, oldest first.
    untaken: VecDeque<Box<Entry>>,
    /// By ticket number, first come first. A caller that leaves removes its own entry, so that nobody
    /// has to search for abandoned ones.
    waiters: BTreeMap<u64, Waiter>,
    /// Tickets given out so far.
    tickets: u64,
    /// How many [`Pending`] there are.
    pending: usize,
    last_error: Option<Error>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    /// Never held across an await, nor while a connection is dropped.
    state: Mutex<State>,
    /// How many connections nobody has taken, so that a checkout can tell without the lock that there is
    /// nothing to exchange.
    untaken: AtomicUsize,
}

/// What a caller that wants a connection gets at once.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    Here(Box<Entry>),
    /// A place in the wait queue, and the dial that has to begin for it, if any.
    InLine(InLine<'a>, Option<Pending>),
    Closed,
}

/// A place in the wait queue. When it is dropped, a connection that has arrived for it goes to the
/// next caller.
#[derive(Debug)]
pub(crate) struct InLine<'a> {
    wait_queue: &'a WaitQueue,
    ticket: u64,
    arrival: oneshot::Receiver<Result<Box<Entry>, Error>>,
}

impl InLine<'_> {
    pub(crate) async fn arrival(&mut self) -> Result<Result<Box<Entry>, Error>, RecvError> {
        (&mut self.arrival).await
    }
}

impl Drop for InLine<'_> {
    fn drop(&mut self) {
        let mut state = self.wait_queue.state.lock();
        state.waiters.remove(&self.ticket);
        // Sent under that lock, so it is here by now or never comes.
        if let Ok(Ok(entry)) = self.arrival.try_recv() {
            self.wait_queue.pass_on(state, entry);
        }
    }
}

/// Counts one connection that is being dialled, is on its way to a waiter, or is about to be
/// closed. Dropping it uncounts the connection.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pending {
    wait_queue: Arc<WaitQueue>,
    /// False once one of the methods below has uncounted it.
    counted: bool,
}

/// The ways in which a dial ends.
impl Pending {
    /// The dial has succeeded: its connection goes to the first waiter, or stays untaken.
    pub(crate) fn arrive(mut self, entry: Box<Entry>) {
        self.counted = false;
        let mut state = self.wait_queue.state.lock();
        state.pending -= 1;
        state.last_error = None;
        self.wait_queue.pass_on(state, entry);
    }

    /// The dial has failed. Gives it back to be tried again, if somebody waits for it.
    pub(crate) fn failed(mut self, error: Error) -> Option<Self> {
        let mut state = self.wait_queue.state.lock();
        state.last_error = Some(error);
        let again = state.is_dial_wanted(state.pending - 1);
        state.pending -= usize::from(!again);
        drop(state);
        self.counted = again;
        again.then_some(self)
    }

    /// The dial has failed, and another would fail too: every waiter gets the error.
    pub(crate) fn refused(mut self, error: &Error) {
        self.counted = false;
        let mut state = self.wait_queue.state.lock();
        state.pending -= 1;
        state.last_error = Some(error.clone());
        state.tell_waiters(error);
    }
}

/// The ways in which an open connection leaves this count.
impl Pending {
    /// The announced connection goes to the first waiter, or stays untaken.
    pub(crate) fn bring(mut self, entry: Box<Entry>) {
        self.counted = false;
        let mut state = self.wait_queue.state.lock();
        state.pending -= 1;
        self.wait_queue.pass_on(state, entry);
    }

    /// The connection is closed. Returns a dial in its place, if a waiter lacks one.
    pub(crate) fn closed(mut self) -> Option<Self> {
        let mut state = self.wait_queue.state.lock();
        let dial = state.is_dial_wanted(state.pending - 1);
        state.pending -= usize::from(!dial);
        drop(state);
        self.counted = dial;
        dial.then_some(self)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.counted {
            self.wait_queue.state.lock().pending -= 1;
        }
    }
}

impl State {
    /// Whether a waiter lacks a dial while this many are pending for all of them.
    fn is_dial_wanted(&self, pending: usize) -> bool {
        !self.closed && pending < self.waiters.len()
    }

    fn tell_waiters(&mut self, error: &Error) {
        for waiter in mem::take(&mut self.waiters).into_values() {
            // A waiter that is just leaving needs no answer.
            let _ = waiter.send(Err(error.clone()));
        }
    }
}

impl WaitQueue {
    /// Takes a connection that nobody has taken yet, or a place in the line.
    pub(crate) fn enter(self: &Arc<Self>) -> Arrival<'_> {
        let mut state = self.state.lock();
        if state.closed {
            return Arrival::Closed;
        }
        if let Some(entry) = state.untaken.pop_front() {
            self.untaken.store(state.untaken.len(), Relaxed);
            return Arrival::Here(entry);
        }
        let (sender, arrival) = oneshot::channel();
        let ticket = state.tickets;
        state.tickets += 1;
        state.waiters.insert(ticket, sender);
        // The dials of waiters that left serve those that come now.
        let dial = state.is_dial_wanted(state.pending);
        state.pending += usize::from(dial);
        drop(state);
        let place = InLine {
            wait_queue: self,
            ticket,
            arrival,
        };
        Arrival::InLine(place, dial.then(|| self.pending_one()))
    }

    /// A dial ahead of demand, if `room` allows one more in addition to those pending.
    pub(crate) fn reserve(self: &Arc<Self>, room: impl FnOnce(usize) -> bool) -> Option<Pending> {
        self.count_if(|state| !state.closed && room(state.pending))
    }

    /// A dial for a waiter whose own was abandoned.
    pub(crate) fn missing_dial(self: &Arc<Self>) -> Option<Pending> {
        self.count_if(|state| state.is_dial_wanted(state.pending))
    }

    /// Announces an idle connection, if somebody waits. It counts from now on, so that no dial
    /// takes its place until it is [brought](Pending::bring).
    pub(crate) fn announce(self: &Arc<Self>) -> Option<Pending> {
        self.count_if(|state| !state.waiters.is_empty())
    }

    /// Counts an open connection that is taken out of its queue to be closed, so that no dial takes
    /// its place until it is [closed](Pending::closed).
    pub(crate) fn count_closing(self: &Arc<Self>) -> Pending {
        self.state.lock().pending += 1;
        self.pending_one()
    }

    fn count_if(self: &Arc<Self>, rule: impl FnOnce(&State) -> bool) -> Option<Pending> {
        let mut state = self.state.lock();
        let counts = rule(&state);
        state.pending += usize::from(counts);
        drop(state);
        counts.then(|| self.pending_one())
    }

    /// The guard of one that is counted already.
    fn pending_one(self: &Arc<Self>) -> Pending {
        Pending {
            wait_queue: Arc::clone(self),
            counted: true,
        }
    }

    /// Takes the guard under which the connection left its former count: it must be in one count at
    /// every moment, or a dial would take its place.
    fn pass_on(&self, mut state: MutexGuard<'_, State>, mut entry: Box<Entry>) {
        if state.closed {
            drop(state);
            entry.close(Discard::PoolClosed);
            return;
        }
        while let Some((_, waiter)) = state.waiters.pop_first() {
            match waiter.send(Ok(entry)) {
                Ok(()) => return,
                Err(refused) => match refused {
                    Ok(back) => entry = back,
                    Err(_) => return,
                },
            }
        }
        state.untaken.push_back(entry);
        self.untaken.store(state.untaken.len(), Relaxed);
    }

    /// Exchanges a connection for the one that has been untaken longest, if there is one.
    pub(crate) fn exchange(&self, entry: &mut Box<Entry>) {
        if self.untaken.load(Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        if let Some(other) = state.untaken.pop_front() {
            state.untaken.push_back(mem::replace(entry, other));
        }
    }

    /// Whether there is an untaken connection that fits.
    pub(crate) fn has_untaken(&self, fits: impl Fn(&Entry) -> bool) -> bool {
        self.untaken() > 0 && self.state.lock().untaken.iter().any(|entry| fits(entry))
    }

    /// Exchanges a connection for the untaken one that fits and has been so longest. Says whether there was
    /// one.
    pub(crate) fn exchange_for(
        &self,
        entry: &mut Box<Entry>,
        fits: impl Fn(&Entry) -> bool,
    ) -> bool {
        if self.untaken() == 0 {
            return false;
        }
        let mut state = self.state.lock();
        let Some(place) = state.untaken.iter().position(|untaken| fits(untaken)) else {
            return false;
        };
        if let Some(other) = state.untaken.remove(place) {
            state.untaken.push_back(mem::replace(entry, other));
        }
        true
    }

    /// Takes out the untaken connections that the rule discards, each counted as by
    /// [`hold`](Self::hold).
    pub(crate) fn prune<R>(
        self: &Arc<Self>,
        mut rule: impl FnMut(&Entry) -> Option<R>,
    ) -> Vec<(Box<Entry>, R, Pending)> {
        let mut out = Vec::new();
        let mut state = self.state.lock();
        let mut keep = VecDeque::with_capacity(state.untaken.len());
        for entry in state.untaken.drain(..) {
            match rule(&entry) {
                Some(reason) => out.push((entry, reason)),
                None => keep.push_back(entry),
            }
        }
        state.untaken = keep;
        state.pending += out.len();
        self.untaken.store(state.untaken.len(), Relaxed);
        drop(state);
        out.into_iter()
            .map(|(entry, reason)| (entry, reason, self.pending_one()))
            .collect()
    }

    pub(crate) fn untaken(&self) -> usize {
        self.untaken.load(Relaxed)
    }

    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        self.state.lock().last_error.clone()
    }

    /// Ends every wait, and gives out the untaken connections to be closed.
    pub(crate) fn close(&self, end: &Error) -> VecDeque<Box<Entry>> {
        let mut state = self.state.lock();
        state.closed = true;
        state.tell_waiters(end);
        self.untaken.store(0, Relaxed);
        mem::take(&mut state.untaken)
    }
}

#[cfg(test)]
mod tests;
