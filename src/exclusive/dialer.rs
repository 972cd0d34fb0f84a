//! Makes connections, apart from the callers who want them.
//!
//! A dial runs in a task of its own, on the pool's runtime. The caller that asked for it waits in the
//! wait queue, where finished connections arrive, and the first caller in it takes the next one. So a
//! dial that hangs delays one caller at most. When the caller of a dial has gone, its connection
//! stays in the wait queue for the next one.
//!
//! Some dials begin ahead of demand: for `min_idle`, for a new master, and in the read pool to even
//! out the shares of the nodes. Why there are never more than `max_active` connections is said in
//! [`wait_queue`](super::wait_queue).

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use crate::{
    error::{DialState, Error},
    exclusive::{
        entry::Entry,
        keep::Moment,
        wait_queue::{Arrival, Pending, WaitQueue},
    },
    role_pool::{RolePool, connect, slot::NodeSlot},
    status::discard::Discard,
};
#[cfg(test)]
use crate::{topology::Target, wire::connection::WireConnection};

/// In the read pool, a dial that takes longer than this gets a second one beside it, to another
/// node if there is one. In both pools, a waiter checks this often that a dial is under way for it.
const HEDGE: Duration = Duration::from_millis(150);

/// Which nodes a dial may go to.
#[derive(Debug, Clone, Copy)]
enum Reach {
    /// To those that are preferred, while one of them is well.
    Preferred,
    /// To all: the dial to one that is preferred takes long.
    Anywhere,
}

/// Whether there are nodes that are not preferred, after a dial to one that is has failed. That node counts
/// as in trouble from then on, so the next dial goes elsewhere.
#[derive(Debug, Clone, Copy)]
enum Detour {
    None,
    Untried,
}

/// One pool's source of connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    role_pool: Arc<RolePool>,
    wait_queue: Arc<WaitQueue>,
}

impl Dialer {
    pub(crate) fn new(role_pool: Arc<RolePool>) -> Arc<Self> {
        Arc::new(Self {
            role_pool,
            wait_queue: Arc::default(),
        })
    }

    pub(crate) fn untaken(&self) -> usize {
        self.wait_queue.untaken()
    }

    /// What the dials are doing.
    pub(crate) fn dials(&self) -> DialState {
        match (self.wait_queue.pending(), self.wait_queue.last_error()) {
            (0, _) => DialState::Idle,
            (_, Some(error)) => DialState::Failing(error.to_string()),
            (dials, None) => DialState::Dialing(dials),
        }
    }

    /// A new connection, or one that arrived in the wait queue while nobody waited. Says also whether
    /// it was idle there.
    ///
    /// The caller must have a permit of deadpool, since each call may lead to one more connection. The
    /// caller also sets the deadline, [`acquire_timeout`](RolePool::acquire_timeout) after it got the
    /// permit.
    pub(crate) async fn obtain(self: &Arc<Self>) -> Result<(Box<Entry>, bool), Error> {
        loop {
            let (mut place, dial) = match self.wait_queue.enter() {
                Arrival::Closed => return Err(self.role_pool.ending()),
                Arrival::Here(entry) => match self.still_good(entry) {
                    Some(entry) => return Ok((entry, true)),
                    None => continue,
                },
                Arrival::InLine(place, dial) => (place, dial),
            };
            self.role_pool.set_awaited(true);
            if let Some(pending) = dial {
                self.spawn_dial(pending);
            }
            if let Ok(result) = tokio::time::timeout(HEDGE, place.arrival()).await {
                return self.fresh(result);
            }
            if self.role_pool.is_read_pool() {
                self.dial_more(1, Reach::Anywhere);
            }
            loop {
                if let Some(pending) = self.wait_queue.missing_dial() {
                    self.spawn_dial(pending);
                }
                if let Ok(result) = tokio::time::timeout(HEDGE, place.arrival()).await {
                    return self.fresh(result);
                }
            }
        }
    }

    /// Dials ahead of demand: up to `count` connections, as long as there is room.
    pub(crate) fn dial_ahead(self: &Arc<Self>, count: usize) {
        self.dial_more(count, Reach::Preferred);
    }

    fn dial_more(self: &Arc<Self>, count: usize, reach: Reach) {
        let max_active = self.role_pool.limits().max_active;
        let room = |pending| self.role_pool.open() + pending < max_active;
        for _ in 0..count {
            let Some(pending) = self.wait_queue.reserve(room) else {
                return;
            };
            self.spawn_dial_to(pending, reach);
        }
    }

    /// Brings the connections of all readable replicas to the same number, so that each serves the
    /// same share of the reads.
    pub(crate) fn balance(self: &Arc<Self>) {
        if self.role_pool.is_read_pool() && self.role_pool.wants_balance(self.wait_queue.pending())
        {
            self.dial_ahead(1);
        }
    }

    /// In the read pool, exchanges a connection for the one that has waited longest in the wait queue:
    /// connections take turns there, so that one caller reaches every replica.
    pub(crate) fn exchange(&self, entry: &mut Box<Entry>) {
        if self.role_pool.is_read_pool() {
            self.wait_queue.exchange(entry);
        }
    }

    /// Whether a connection that fits waits in the wait queue.
    pub(crate) fn has_untaken(&self, fits: impl Fn(&Entry) -> bool) -> bool {
        self.wait_queue.has_untaken(fits)
    }

    /// Exchanges a connection for one in the wait queue that fits. Says whether there was one.
    pub(crate) fn exchange_for(
        &self,
        entry: &mut Box<Entry>,
        fits: impl Fn(&Entry) -> bool,
    ) -> bool {
        self.wait_queue.exchange_for(entry, fits)
    }

    /// Closes the connections in the wait queue that the rule discards.
    pub(crate) fn prune(self: &Arc<Self>, rule: impl FnMut(&Entry) -> Option<Discard>) {
        for (mut entry, reason, closing) in self.wait_queue.prune(rule) {
            self.close_counted(&mut entry, reason, closing);
        }
    }

    /// Counts a connection that is taken out of the pool as pending until it is closed. Otherwise a
    /// caller that finds none idle now could have another dialled, and there would be one too many.
    pub(crate) fn count_closing(&self) -> Pending {
        self.wait_queue.count_closing()
    }

    /// Closes a connection that [`count_closing`](Self::count_closing) counts.
    pub(crate) fn close_counted(
        self: &Arc<Self>,
        entry: &mut Entry,
        reason: Discard,
        closing: Pending,
    ) {
        entry.close(reason);
        if let Some(dial) = closing.closed() {
            self.spawn_dial(dial);
        }
    }

    /// Gives idle connections to callers that wait for a dial.
    pub(crate) fn feed(&self, mut idle: impl FnMut() -> Option<Box<Entry>>) {
        loop {
            let announced = self.wait_queue.announce();
            self.role_pool.set_awaited(announced.is_some());
            let Some(announced) = announced else {
                return;
            };
            let Some(entry) = idle() else {
                return;
            };
            announced.bring(entry);
        }
    }

    /// Connections being dialled, about to be brought to a waiter, or about to be closed.
    pub(crate) fn pending(&self) -> usize {
        self.wait_queue.pending()
    }

    pub(crate) fn close(&self) {
        self.role_pool.close();
        for mut entry in self.wait_queue.close(&self.role_pool.ending()) {
            entry.close(Discard::PoolClosed);
        }
    }

    pub(crate) fn still_good(&self, mut entry: Box<Entry>) -> Option<Box<Entry>> {
        match entry.reason_to_discard(Moment::Checkout, self.role_pool.clock.now()) {
            None => Some(entry),
            Some(reason) => {
                entry.close(reason);
                None
            }
        }
    }

    /// Brings a connection, as a successful dial does.
    #[cfg(test)]
    pub(crate) fn bring(&self, wire: WireConnection, target: Target) {
        let pending = self.wait_queue.reserve(|_| true).expect("not closed");
        let slot = NodeSlot::take(&self.role_pool, vec![target]);
        let (target, slot) = slot.expect("there is a target");
        pending.arrive(Entry::new(wire, slot.opened(), target));
    }

    /// A dial is dropped in the middle when the pool's runtime ends; `pending` is uncounted then too.
    fn spawn_dial(self: &Arc<Self>, pending: Pending) {
        self.spawn_dial_to(pending, Reach::Preferred);
    }

    fn spawn_dial_to(self: &Arc<Self>, pending: Pending, reach: Reach) {
        self.role_pool.stir();
        let dialer = Arc::clone(self);
        self.role_pool.runtime.spawn(async move {
            if dialer.dial(pending, reach).await {
                dialer.balance();
            }
        });
    }

    /// Dials until there is a connection, nobody waits for one any more, or the error is final. Says
    /// whether there is a connection.
    async fn dial(self: &Arc<Self>, mut pending: Pending, reach: Reach) -> bool {
        loop {
            match self.attempt(reach).await {
                Ok(entry) => {
                    self.role_pool.stats.created.fetch_add(1, Relaxed);
                    pending.arrive(entry);
                    return true;
                }
                Err((error, Detour::None)) if self.role_pool.is_final(&error) => {
                    pending.refused(&error);
                    return false;
                }
                Err((error, _)) => match pending.failed(error) {
                    Some(again) => pending = again,
                    None => return false,
                },
            }
        }
    }

    async fn attempt(self: &Arc<Self>, reach: Reach) -> Result<Box<Entry>, (Error, Detour)> {
        let mut changes = self.role_pool.topology.subscribe();
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let tier = match reach {
            Reach::Preferred => self.role_pool.tier_in(&snapshot),
            Reach::Anywhere => self.role_pool.all_in(&snapshot),
        };
        let detour = if tier.is_narrow {
            Detour::Untried
        } else {
            Detour::None
        };
        let Some((target, slot)) = NodeSlot::take(&self.role_pool, tier.targets) else {
            if snapshot.in_motion() || snapshot.master.is_none() {
                // A replica is about to be readable, or there is no master yet. A refresh of the
                // topology will tell.
                let _ = tokio::time::timeout(HEDGE, changes.changed()).await;
            }
            return Err((self.role_pool.nowhere_to_go(), Detour::None));
        };
        let dialled = connect::attempt(&self.role_pool, &target, &self.role_pool.stats.dials).await;
        let wire = dialled.map_err(|error| (error, detour))?;
        Ok(Entry::new(wire, slot.opened(), target))
    }

    /// What arrived for a caller in the wait queue. The channel closes only when the pool is closed.
    fn fresh<E>(
        &self,
        arrival: Result<Result<Box<Entry>, Error>, E>,
    ) -> Result<(Box<Entry>, bool), Error> {
        let entry = arrival.unwrap_or_else(|_| Err(self.role_pool.ending()))?;
        Ok((entry, false))
    }

    /// Why a caller got no connection in all that time.
    pub(crate) fn timed_out(&self, waited: Duration) -> Error {
        self.role_pool
            .timed_out(self.wait_queue.last_error(), waited)
    }
}
