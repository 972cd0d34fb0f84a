//! Where finished connections arrive and callers wait in line for them.

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
    docked: VecDeque<Box<Entry>>,
    /// By the numbers of the tickets, the first in line first. Whoever leaves takes the ticket out,
    /// so that nobody has to look for those who left, however long the line.
    waiters: BTreeMap<u64, Waiter>,
    /// Tickets given out so far.
    tickets: u64,
    /// Dials under way.
    pending: usize,
    last_error: Option<Error>,
    closed: bool,
}

#[derive(Debug, Default)]
pub(crate) struct WaitQueue {
    /// Guards the line, the connections in it and the number of dials; never held across an await
    /// nor while a connection is dropped.
    state: Mutex<State>,
    /// How many connections are docked, so that a checkout can tell without the lock that there is
    /// nothing to exchange.
    docked: AtomicUsize,
}

/// What somebody who wants a connection gets at once.
#[derive(Debug)]
pub(crate) enum Arrival<'a> {
    Here(Box<Entry>),
    /// A place in the line, and whether a dial has to be begun for it.
    InLine(InLine<'a>, bool),
    Closed,
}

/// A place in the line. A connection that came for somebody who left before taking it goes to the
/// next.
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
        if let Ok(Ok(pooled)) = self.arrival.try_recv() {
            self.wait_queue.pass_on(state, pooled);
        }
    }
}

impl WaitQueue {
    /// Takes a docked connection or a place in the line.
    pub(crate) fn enter(&self) -> Arrival<'_> {
        let mut state = self.state.lock();
        if state.closed {
            return Arrival::Closed;
        }
        if let Some(pooled) = state.docked.pop_front() {
            self.docked.store(state.docked.len(), Relaxed);
            return Arrival::Here(pooled);
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
    pub(crate) fn bring(&self, pooled: Option<Box<Entry>>) {
        let mut state = self.state.lock();
        state.pending -= 1;
        if let Some(pooled) = pooled {
            self.pass_on(state, pooled);
        }
    }

    /// A dial has ended with a connection: it goes to the first in line, or stays.
    pub(crate) fn arrive(&self, pooled: Box<Entry>) {
        let mut state = self.state.lock();
        state.pending -= 1;
        state.last_error = None;
        self.pass_on(state, pooled);
    }

    /// Under the same lock as what counted the connection before: at no moment may it count
    /// nowhere, or a dial would take its place.
    fn pass_on(&self, mut state: MutexGuard<'_, State>, mut pooled: Box<Entry>) {
        if state.closed {
            drop(state);
            pooled.close(Discard::PoolClosed);
            return;
        }
        while let Some((_, ticket)) = state.waiters.pop_first() {
            match ticket.send(Ok(pooled)) {
                Ok(()) => return,
                Err(refused) => match refused {
                    Ok(back) => pooled = back,
                    Err(_) => return,
                },
            }
        }
        state.docked.push_back(pooled);
        self.docked.store(state.docked.len(), Relaxed);
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

    /// Exchanges a connection for the one that has been docked longest, if there is one.
    pub(crate) fn exchange(&self, pooled: &mut Box<Entry>) {
        if self.docked.load(Relaxed) == 0 {
            return;
        }
        let mut state = self.state.lock();
        if let Some(other) = state.docked.pop_front() {
            state.docked.push_back(mem::replace(pooled, other));
        }
    }

    /// Takes out the docked connections that the rule speaks against, each as one to
    /// [`hold`](Self::hold).
    pub(crate) fn prune<R>(
        &self,
        mut rule: impl FnMut(&Entry) -> Option<R>,
    ) -> Vec<(Box<Entry>, R)> {
        let mut out = Vec::new();
        let mut state = self.state.lock();
        let mut keep = VecDeque::with_capacity(state.docked.len());
        for pooled in state.docked.drain(..) {
            match rule(&pooled) {
                Some(reason) => out.push((pooled, reason)),
                None => keep.push_back(pooled),
            }
        }
        state.docked = keep;
        state.pending += out.len();
        self.docked.store(state.docked.len(), Relaxed);
        out
    }

    pub(crate) fn docked(&self) -> usize {
        self.docked.load(Relaxed)
    }

    pub(crate) fn pending(&self) -> usize {
        self.state.lock().pending
    }

    pub(crate) fn last_error(&self) -> Option<Error> {
        self.state.lock().last_error.clone()
    }

    /// Sends everybody home and closes what is docked.
    pub(crate) fn close(&self, end: &Error) -> VecDeque<Box<Entry>> {
        let mut state = self.state.lock();
        state.closed = true;
        for ticket in mem::take(&mut state.waiters).into_values() {
            let _ = ticket.send(Err(end.clone()));
        }
        self.docked.store(0, Relaxed);
        mem::take(&mut state.docked)
    }
}

#[cfg(test)]
mod tests;
