//! Even shares: each node that a pool may go to gets the same number of its connections.

use std::{
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::Instant;

/// After this many returns for each connection, a surplus connection moves to another node. Under
/// load that evens the shares out within seconds, and dials are so rare that they cost nothing.
const RETURNS_PER_TURN: usize = 64;
/// The shortest time between two such changes. Under full load connections are returned by the
/// thousand, and every change leaves a socket in TIME_WAIT.
const SHORTEST_TURN: Duration = Duration::from_millis(100);

/// What a pool knows of shares that it cannot even out by dialling, because it is full.
#[derive(Debug)]
pub(super) struct Balance {
    /// The connections of the node with the most, minus those of the node with the fewest. 0 while
    /// the pool is not full.
    excess: AtomicUsize,
    /// Returns since a connection last changed its node, or since a change would have come too
    /// early.
    returns: AtomicUsize,
    last_turn: Mutex<Instant>,
}

impl Balance {
    pub(super) fn new() -> Self {
        Self {
            excess: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            last_turn: Mutex::new(Instant::now()),
        }
    }

    /// Whether one more connection would even out the shares, given the connections of each node.
    /// Takes note of the excess where the pool has no room for it.
    pub(super) fn wants_connection(&self, shares: &[usize], is_full: bool) -> bool {
        let (Some(fewest), Some(most)) = (shares.iter().min(), shares.iter().max()) else {
            return false;
        };
        let excess = if is_full { most - fewest } else { 0 };
        self.excess.store(excess, Relaxed);
        !is_full && most > fewest
    }

    /// Whether a connection that is returned should make room for one to another node. `shares` gives
    /// how many its own node has, and how many the node with the fewest. Costs one atomic load while
    /// shares are even.
    ///
    /// Where `max_active` is no multiple of the number of nodes, some nodes have one connection more
    /// than others. Now and then others get it, so that in the long run each node serves the same.
    #[inline]
    pub(super) fn is_overfull(
        &self,
        max_active: usize,
        shares: impl FnOnce() -> (usize, usize),
    ) -> bool {
        let tolerated = match self.excess.load(Relaxed) {
            0 => return false,
            1 if !self.is_turn_due(max_active) => return false,
            1 => 0,
            _ => 1,
        };
        let (own, fewest) = shares();
        let overfull = own > fewest + tolerated;
        if overfull {
            self.returns.store(0, Relaxed);
            *self.last_turn.lock() = Instant::now();
        }
        overfull
    }

    fn is_turn_due(&self, max_active: usize) -> bool {
        if self.returns.fetch_add(1, Relaxed) < RETURNS_PER_TURN * max_active {
            return false;
        }
        let due = self.last_turn.lock().elapsed() >= SHORTEST_TURN;
        if !due {
            self.returns.store(0, Relaxed);
        }
        due
    }
}

#[cfg(test)]
mod tests;
