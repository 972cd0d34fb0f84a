//! Callers that wait for a connection, and connections that nobody has taken yet.

use std::{
    collections::{BTreeMap, VecDeque},
    mem,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
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
    /// Dials under way, idle connections that are announced to a caller, and connections taken out to
    /// be closed.
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

/// What somebody who wants a connection gets at once.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    Here(Box<Entry>),
    /// A place in the wait queue, and whether a dial has to begin for it.
    InLine(InLine<'a>, bool),
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

impl WaitQueue {
    /// Takes a connection that nobody has taken yet, or a place in the line.
    pub(crate) fn enter(&self) -> Arrival<'_> {
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
        // Callers who left have made room: their dials serve those who come now.
        let dial = state.pending < state.waiters.len();
        state.pending += usize::from(dial);
        let place = InLine {
            wait_queue: self,
            ticket,
            arrival,
        };
        Arrival::InLine(place, dial)
    }

    /// Reserves a dial that nobody in line asked for, if `room` allows it given the dials under
    /// way.
    pub(crate) fn reserve(&self, room: impl FnOnce(usize) -> bool) -> bool {
        let mut state = self.state.lock();
        let reserve = !state.closed && room(state.pending);
        state.pending += usize::from(reserve);
        reserve
    }

    /// Announces an idle connection that the caller is about to bring, if somebody is in line.
    /// Until it is brought or called off it counts as a dial, so that no dial takes its place
    /// meanwhile.
    pub(crate) fn announce(&self) -> bool {
        let mut state = self.state.lock();
        let awaited = !state.waiters.is_empty();
        state.pending += usize::from(awaited);
        awaited
    }

    /// Brings the connection that was announced, or says that there is none.
    pub(crate) fn bring(&self, entry: Option<Box<Entry>>) {
        let mut state = self.state.lock();
        state.pending -= 1;
        if let Some(entry) = entry {
            self.pass_on(state, entry);
        }
    }

    /// A dial has ended with a connection: it goes to the first in line, or stays.
    pub(crate) fn arrive(&self, entry: Box<Entry>) {
        let mut state = self.state.lock();
        state.pending -= 1;
        state.last_error = None;
        self.pass_on(state, entry);
    }

    /// Under the same lock as what counted the connection before: at no moment may it count
    /// nowhere, or a dial would take its place.
    fn pass_on(&self, mut state: MutexGuard<'_, State>, mut entry: Box<Entry>) {
        if state.closed {
            drop(state);
            entry.close(Discard::PoolClosed);
            return;
        }
        while let Some((_, ticket)) = state.waiters.pop_first() {
            match ticket.send(Ok(entry)) {
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

    /// A dial has failed; says whether it should be tried again, because somebody waits for it.
    pub(crate) fn failed(&self, error: Error) -> bool {
        let mut state = self.state.lock();
        state.last_error = Some(error);
        let again = !state.closed && state.pending <= state.waiters.len();
        state.pending -= usize::from(!again);
        again
    }

    /// Takes note of a connection that is taken out of its queue to be closed. Until it is closed it
    /// counts as a dial, so that no dial takes its place meanwhile.
    pub(crate) fn hold(&self) {
        self.state.lock().pending += 1;
    }

    /// It is closed. Says whether a dial is to take its place, because somebody in line has none.
    pub(crate) fn release(&self) -> bool {
        let mut state = self.state.lock();
        let dial = !state.closed && state.pending <= state.waiters.len();
        state.pending -= usize::from(!dial);
        dial
    }

    /// A dial has been dropped in the middle.
    pub(crate) fn abandoned(&self) {
        self.state.lock().pending -= 1;
    }

    /// Reserves a dial for somebody in line whose own was abandoned.
    pub(crate) fn lacks_dial(&self) -> bool {
        let mut state = self.state.lock();
        let lacks = !state.closed && state.pending < state.waiters.len();
        state.pending += usize::from(lacks);
        lacks
    }

    /// A dial has failed for good: everybody in line gets the error.
    pub(crate) fn refused(&self, error: &Error) {
        let mut state = self.state.lock();
        state.pending -= 1;
        state.last_error = Some(error.clone());
        for ticket in mem::take(&mut state.waiters).into_values() {
            // Whoever is just leaving needs no answer.
            let _ = ticket.send(Err(error.clone()));
        }
    }

    /// Exchanges a connection for the one that has waited longest for a taker, if there is one.
    pub(crate) fn exchange(&self, entry: &mut Box<Entry>) {
        if self.untaken.load(Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        if let Some(other) = state.untaken.pop_front() {
            state.untaken.push_back(mem::replace(entry, other));
        }
    }

    /// Takes out the connections without a taker that the rule discards, each counted as by
    /// [`hold`](Self::hold).
    pub(crate) fn prune<R>(
        &self,
        mut rule: impl FnMut(&Entry) -> Option<R>,
    ) -> Vec<(Box<Entry>, R)> {
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
        out
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

    /// Ends every wait and gives out the connections that nobody has taken, to be closed.
    pub(crate) fn close(&self, end: &Error) -> VecDeque<Box<Entry>> {
        let mut state = self.state.lock();
        state.closed = true;
        for ticket in mem::take(&mut state.waiters).into_values() {
            let _ = ticket.send(Err(end.clone()));
        }
        self.untaken.store(0, Relaxed);
        mem::take(&mut state.untaken)
    }
}

#[cfg(test)]
mod tests;
