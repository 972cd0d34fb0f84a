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

/// The longest that it takes, under load, until all connections of a full pool have moved to nodes that are
/// preferred.
const ALL_MOVED: Duration = Duration::from_secs(2);

/// The excess where connections lead to nodes that are not preferred, while preferred ones are well.
const ASTRAY: usize = usize::MAX;

/// What a pool knows of shares that it cannot even out by dialling.
#[derive(Debug)]
pub(super) struct Balance {
    /// The connections of the node with the most, minus those of the node with the fewest. 0 while
    /// the pool is not full. [`ASTRAY`] in both cases where there are such.
    excess: AtomicUsize,
    /// Returns since a connection last changed its node, or since a change would have come too
    /// early.
    returns: AtomicUsize,
    last_turn: Mutex<Instant>,
}

/// What part in the connections the node of one of them has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    pub(super) own: usize,
    /// Of the node with the fewest.
    pub(super) fewest: usize,
    /// The node is not preferred, and preferred ones are well.
    pub(super) is_astray: bool,
}

impl Balance {
    pub(super) fn new() -> Self {
        Self {
            excess: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            last_turn: Mutex::new(Instant::now()),
        }
    }

    /// Whether one more connection would even out the shares, given the connections of each node and how
    /// many are astray. Takes note of the excess where the pool has no room for it.
    pub(super) fn wants_connection(&self, shares: &[usize], astray: usize, is_full: bool) -> bool {
        let (Some(fewest), Some(most)) = (shares.iter().min(), shares.iter().max()) else {
            return false;
        };
        let excess = match (astray, is_full) {
            (1.., _) => ASTRAY,
            (0, true) => most - fewest,
            (0, false) => 0,
        };
        self.excess.store(excess, Relaxed);
        // Those astray leave when there are as many others.
        !is_full && (most > fewest || astray > shares.iter().sum::<usize>())
    }

    pub(super) fn has_astray(&self) -> bool {
        self.excess.load(Relaxed) == ASTRAY
    }

    /// Whether a connection that is returned should make room for one to another node. Costs one atomic
    /// load while shares are even.
    ///
    /// Where `max_active` is no multiple of the number of nodes, some nodes have one connection more
    /// than others. Now and then others get it, so that in the long run each node serves the same.
    #[inline]
    pub(super) fn is_overfull(&self, max_active: usize, look: impl FnOnce() -> Share) -> bool {
        let excess = self.excess.load(Relaxed);
        let tolerated = match excess {
            0 => return false,
            1 if !self.is_turn_due(max_active) => return false,
            ASTRAY if !self.is_move_due(max_active) => return false,
            1 => 0,
            _ => 1,
        };
        let share = look();
        let overfull = if excess == ASTRAY {
            share.is_astray
        } else {
            share.own > share.fewest + tolerated
        };
        if overfull {
            self.returns.store(0, Relaxed);
            *self.last_turn.lock() = Instant::now();
        }
        overfull
    }

    /// Whether a connection may leave a node that is not preferred. One after the other: a preferred node may
    /// come and go, and dials cost more than reads from far away.
    fn is_move_due(&self, max_active: usize) -> bool {
        let all = u32::try_from(max_active.max(1)).unwrap_or(u32::MAX);
        self.last_turn.lock().elapsed() >= SHORTEST_TURN.min(ALL_MOVED / all)
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
