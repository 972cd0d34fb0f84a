//! A connection as the pool keeps it: the socket, its target, and its times.

use std::{net::SocketAddr, sync::Arc};

use tokio::time::Instant;

use crate::{
    exclusive::keep::{self, Facts, Moment},
    role_pool::{RolePool, slot::NodeSlot},
    status::discard::Discard,
    topology::{Target, admission::Admission},
    wire::connection::WireConnection,
};

/// What deadpool stores and lends.
#[derive(Debug)]
pub(crate) struct Entry {
    role_pool: Arc<RolePool>,
    /// `None` once it is discarded: the socket is closed before the permit goes back, and before a
    /// fresh connection is made in its place, so that the limit holds at every moment.
    open: Option<(WireConnection, NodeSlot)>,
    pub(crate) target: Target,
    /// The address that the node was reached at. For a trace.
    pub(crate) peer_addr: Option<SocketAddr>,
    /// Where its checkouts and commands are counted.
    stripe: usize,
    /// The topology version under which `target` was last known to be good and open to commands.
    vetted: u64,
    /// When a reply of its node retired this connection: it takes no more commands.
    retired_at: Option<Instant>,
    born: Instant,
    expires_at: Option<Instant>,
    /// Why it is closed then.
    expiry: Discard,
    /// When it was last returned; until the first return, when it was made.
    pub(crate) idle_since: Instant,
}

impl Entry {
    pub(crate) fn new(wire: WireConnection, slot: NodeSlot, target: Target) -> Box<Self> {
        let now = Instant::now();
        let role_pool = Arc::clone(slot.role_pool());
        let lifetime = role_pool.lifetime();
        let stripe = role_pool.stats.next_stripe();
        Box::new(Self {
            role_pool,
            peer_addr: wire.peer_addr(),
            open: Some((wire, slot)),
            target,
            stripe,
            vetted: 0,
            retired_at: None,
            born: now,
            expires_at: lifetime.and_then(|lifetime| now.checked_add(lifetime)),
            expiry: Discard::Lifetime,
            idle_since: now,
        })
    }

    pub(crate) fn wire(&mut self) -> &mut WireConnection {
        &mut self.parts_mut().0
    }

    /// The pool this connection belongs to.
    pub(crate) fn role_pool(&self) -> &Arc<RolePool> {
        &self.role_pool
    }

    /// As [`Stats::lent_at_once`](crate::status::stats::Stats::lent_at_once) takes it.
    #[inline]
    pub(crate) fn stripe(&self) -> usize {
        self.stripe
    }

    /// So many replies came to commands of callers.
    #[inline]
    pub(crate) fn answered(&self, replies: usize) {
        self.role_pool.stats.answered(self.stripe, replies as u64);
    }

    /// Why this connection must not be kept; `None` if it may.
    pub(crate) fn reason_to_discard(&mut self, moment: Moment, now: Instant) -> Option<Discard> {
        let dirt = match moment {
            Moment::Return => self.dirt(),
            Moment::Checkout | Moment::Reap => None,
        };
        let admission = self.admission();
        self.reason_as(dirt, admission, moment, now)
    }

    /// As [`reason_to_discard`](Self::reason_to_discard), for the reaper, which has asked for all
    /// nodes at once whether they are still wanted.
    pub(crate) fn reason_to_prune(&self, admission: Admission, now: Instant) -> Option<Discard> {
        if admission == Admission::Open && self.has_older_login() {
            return Some(Discard::Credentials);
        }
        self.reason_as(None, admission, Moment::Reap, now)
    }

    #[inline]
    fn reason_as(
        &self,
        dirt: Option<Discard>,
        admission: Admission,
        moment: Moment,
        now: Instant,
    ) -> Option<Discard> {
        let facts = Facts {
            dirt,
            admission,
            departed: self.role_pool.departed(),
            // A caller that is about to get it would have to wait for another.
            outdated: moment != Moment::Checkout
                && self.parts().0.is_outdated()
                && self.role_pool.node_table.may_retire(&self.target.node),
            expires_at: self.expires_at,
            expiry: self.expiry,
            idle_since: self.idle_since,
        };
        let limits = self.role_pool.limits();
        keep::reason_to_discard(&facts, moment, limits, now, || self.is_stale())
    }

    /// Whether the server has closed it or has sent something unasked. Costs no round trip.
    fn is_stale(&self) -> bool {
        self.parts().0.is_stale()
    }

    /// What its last caller left behind that no other caller must see.
    pub(crate) fn dirt(&self) -> Option<Discard> {
        let retired = self.retired_at.map(|_| self.role_pool.departed());
        self.parts().0.dirt().or(retired)
    }

    /// Whether the next command may be written to it without another check. While the topology does
    /// not change this costs two atomic loads. In the read pool it costs one: a lent read
    /// connection stays with its node whatever the topology says.
    #[inline]
    pub(crate) fn is_fit(&self) -> bool {
        let vetted =
            || self.role_pool.is_read_pool() || self.vetted == self.role_pool.topology.version();
        let alive = !self.role_pool.runtime.has_ended();
        self.is_open() && self.retired_at.is_none() && vetted() && alive
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether its caller has set up nothing on it, so that a fresh connection would do as well.
    pub(crate) fn is_replaceable(&self) -> bool {
        self.open
            .as_ref()
            .is_none_or(|(wire, _)| wire.is_replaceable())
    }

    /// Whether the connection was made before this moment.
    pub(crate) fn is_older_than(&self, moment: Instant) -> bool {
        self.born <= moment
    }

    /// When the connection was made. No other of a guard's was made at the same time.
    pub(crate) fn born(&self) -> Instant {
        self.born
    }

    pub(crate) fn retired_at(&self) -> Option<Instant> {
        self.retired_at
    }

    /// Why it is closed when a fresh connection takes its place.
    pub(crate) fn why_replaced(&self) -> Discard {
        match self.parts().0.dirt() {
            Some(reason @ (Discard::Broken | Discard::Cancelled)) => reason,
            _ => self.role_pool.departed(),
        }
    }

    /// Whether a command may be written to it now.
    #[inline]
    pub(crate) fn admission(&mut self) -> Admission {
        if !self.is_open() || self.retired_at.is_some() && self.is_replaceable() {
            return Admission::Revoked;
        }
        let version = self.role_pool().topology.version();
        if self.vetted == version {
            return Admission::Open;
        }
        // A caller keeps a connection of older credentials, which works. It ends at its return, as at
        // the end of its lifetime.
        if self.has_older_login() {
            let now = self.role_pool.clock.now();
            (self.expires_at, self.expiry) = (Some(now), Discard::Credentials);
        }
        let admission = self.role_pool().admission(&self.target);
        if admission == Admission::Open {
            self.vetted = version;
        }
        admission
    }

    /// Whether its node has accepted newer credentials than those that it was made with.
    fn has_older_login(&self) -> bool {
        let node = &self.target.node;
        self.role_pool.is_outdated(node, self.parts().0.login())
    }

    /// A reply of its node says that this connection must take no more commands. Nothing is closed
    /// yet.
    pub(crate) fn retire(&mut self) {
        self.retired_at = Some(Instant::now());
    }

    /// Closes the socket and counts why.
    pub(crate) fn close(&mut self, reason: Discard) {
        self.role_pool.stats.discarded(reason);
        let (pool, node) = (self.role_pool.name, &self.target.node);
        tracing::debug!(%pool, %node, reason = reason.as_str(), "a connection is closed");
        self.open = None;
    }

    fn parts(&self) -> &(WireConnection, NodeSlot) {
        self.open
            .as_ref()
            .expect("BUG: a connection is used after it was discarded")
    }

    fn parts_mut(&mut self) -> &mut (WireConnection, NodeSlot) {
        self.open
            .as_mut()
            .expect("BUG: a connection is used after it was discarded")
    }
}

impl Drop for Entry {
    /// deadpool drops connections without telling why: when it is closed, and when a checkout is
    /// cancelled during its test.
    fn drop(&mut self) {
        if self.is_open() {
            let reason = if self.role_pool.is_closed() {
                Discard::PoolClosed
            } else {
                Discard::Cancelled
            };
            self.close(reason);
        }
    }
}
