//! A connection as the pool keeps it: the socket, whom it goes to, and since when.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    dialer::{Dialer, Place},
    stats::Discard,
    topology::Target,
    wire::exclusive::Exclusive,
};

/// What deadpool stores and lends.
#[derive(Debug)]
pub(crate) struct Pooled {
    /// `None` only between being discarded and being dropped: the socket is closed before the
    /// permit goes back, so that the limit holds at every moment.
    open: Option<(Exclusive, Place)>,
    pub(crate) target: Target,
    /// The topology version under which `target` was last known to be good.
    pub(crate) vetted: u64,
    pub(crate) expires_at: Option<Instant>,
    /// When it last came back; its creation until then.
    pub(crate) idle_since: Instant,
}

impl Pooled {
    pub(crate) fn new(wire: Exclusive, place: Place, target: Target, vetted: u64) -> Self {
        let now = Instant::now();
        let lifetime = place.home().lifetime();
        Self {
            open: Some((wire, place)),
            target,
            vetted,
            expires_at: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            idle_since: now,
        }
    }

    pub(crate) fn wire(&mut self) -> &mut Exclusive {
        &mut self.parts_mut().0
    }

    /// The pool this connection belongs to.
    pub(crate) fn home(&self) -> &Arc<Dialer> {
        self.parts().1.home()
    }

    /// Whether the server has closed it or has spoken out of turn. Costs no round trip.
    pub(crate) fn is_stale(&self) -> bool {
        self.parts().0.is_stale()
    }

    /// What its last user left behind that nobody else must see.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        self.parts().0.dirt()
    }

    /// Whether its node still is what this pool wants. Without a change of the topology since the
    /// last look this costs one atomic load.
    pub(crate) fn vet(&mut self) -> bool {
        let home = Arc::clone(self.home());
        let version = home.topology().version();
        if self.vetted == version {
            return true;
        }
        let admitted = home.admits(&self.target);
        if admitted {
            self.vetted = version;
        }
        admitted
    }

    /// Closes the socket and counts why.
    pub(crate) fn close(&mut self, reason: Discard) {
        self.home().stats().discarded(reason);
        self.open = None;
    }

    fn parts(&self) -> &(Exclusive, Place) {
        self.open
            .as_ref()
            .expect("BUG: a connection is used after it was discarded")
    }

    fn parts_mut(&mut self) -> &mut (Exclusive, Place) {
        self.open
            .as_mut()
            .expect("BUG: a connection is used after it was discarded")
    }
}

impl Drop for Pooled {
    /// deadpool drops what it holds without a word: when it is closed, and when a checkout is
    /// cancelled in the middle of its test.
    fn drop(&mut self) {
        if let Some((_, place)) = &self.open {
            let reason = if place.home().is_closed() {
                Discard::PoolClosed
            } else {
                Discard::Cancelled
            };
            self.close(reason);
        }
    }
}
