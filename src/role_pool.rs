//! What the exclusive and the shared connections of one pool (write or read) have in common.
//!
//! Its limits, the nodes it may go to, what it has open, and what those nodes said.

mod balance;
pub(crate) mod calls;
pub(crate) mod coarse_clock;
pub(crate) mod connect;
mod errors;
pub(crate) mod lazy_timeout;
mod node_table;
mod refusals;
pub(crate) mod scripts;
pub(crate) mod slot;
pub(crate) mod tier;

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::sync::{Notify, watch};

use crate::{
    config::{Config, PoolLimits, ReadFrom},
    error::{Error, PoolName, reply_class::ReplyClass},
    events::EventKind,
    freshness::Shared,
    node::Node,
    refresh::Progress,
    role_pool::{
        balance::{Balance, Share},
        calls::Calls,
        coarse_clock::CoarseClock,
        lazy_timeout::LazyTimeout,
        node_table::NodeTable,
        refusals::Refusals,
        scripts::Scripts,
        tier::Tier,
    },
    status::{discard::Discard, stats::Stats},
    topology::{Handle, Target, admission::Admission},
    util::{jitter, runtime::Runtime},
};

/// Shared by everything that works for one of the two pools, and by all its connections.
#[derive(Debug)]
pub(crate) struct RolePool {
    pub(crate) name: PoolName,
    pub(crate) config: Arc<Config>,
    pub(crate) topology: Arc<Handle>,
    progress: Arc<Progress>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) stats: Stats,
    /// Mostly nothing.
    pub(crate) calls: Option<Box<Calls>>,
    pub(crate) scripts: Arc<Scripts>,
    /// What is known of the nodes' positions. One for both pools.
    pub(crate) freshness: Arc<Shared>,
    pub(crate) node_table: NodeTable,
    pub(crate) refusals: Refusals,
    pub(crate) clock: CoarseClock,
    pub(crate) lazy_timeout: LazyTimeout,
    balance: Balance,
    /// Set once: why it lends nothing any more.
    end: OnceLock<Error>,
    closing: Notify,
    /// A caller may be waiting for a dial. Every return reads it. Only a hint: the reaper finds a
    /// caller that it misses.
    awaited: AtomicBool,
    /// A connection was returned since the reaper's last round.
    used: AtomicBool,
    stirred: Notify,
}

impl RolePool {
    pub(crate) fn new(
        name: PoolName,
        config: Arc<Config>,
        topology: Arc<Handle>,
        progress: Arc<Progress>,
        runtime: Arc<Runtime>,
        scripts: Arc<Scripts>,
        freshness: Arc<Shared>,
    ) -> Self {
        let lazy_timeout = LazyTimeout::new(limits(&config, name).wait_timeout);
        Self {
            name,
            calls: Calls::of(&config),
            config,
            topology,
            progress,
            runtime,
            stats: Stats::default(),
            scripts,
            freshness,
            node_table: NodeTable::default(),
            refusals: Refusals::default(),
            clock: CoarseClock::new(),
            lazy_timeout,
            balance: Balance::new(),
            end: OnceLock::new(),
            closing: Notify::new(),
            awaited: AtomicBool::new(false),
            used: AtomicBool::new(false),
            stirred: Notify::new(),
        }
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        limits(&self.config, self.name)
    }

    /// The lifetime of one more connection. It is jittered, so that connections made together do not
    /// expire together.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.limits()
            .max_lifetime
            .map(|lifetime| jitter::around(lifetime, 10))
    }

    pub(crate) fn admits(&self, target: &Target) -> bool {
        self.topology.snapshot().admits(self.policy(), target)
    }

    pub(crate) fn admission(&self, target: &Target) -> Admission {
        let snapshot = self.topology.snapshot();
        if !snapshot.admits(self.policy(), target) {
            Admission::Revoked
        } else if snapshot.fence.is_some() && !self.is_read_pool() {
            Admission::Fenced
        } else {
            Admission::Open
        }
    }

    /// Tells those who listen. Not to be called for a command or a checkout.
    pub(crate) fn tell(&self, kind: EventKind) {
        self.progress.events.tell(self.topology.version(), kind);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.end.get().is_some()
    }

    /// Connections open, not counting those still being dialled.
    pub(crate) fn open(&self) -> usize {
        self.node_table.open()
    }

    /// Whether this is the pool to read from. It may have several nodes, and its connections take
    /// turns.
    pub(crate) fn is_read_pool(&self) -> bool {
        matches!(self.name, PoolName::Read)
    }

    /// Each node that its next connections go to, with the number of those that it has.
    pub(crate) fn shares(&self) -> Vec<(Node, usize)> {
        let targets = self.tier().targets;
        let shares = self.node_table.shares(&targets);
        targets
            .into_iter()
            .map(|target| target.node)
            .zip(shares)
            .collect()
    }

    /// Whether one more connection, in addition to those pending, would even out the shares of the
    /// nodes.
    pub(crate) fn wants_balance(&self, pending: usize) -> bool {
        let tier = self.tier();
        let shares = self.node_table.shares(&tier.targets);
        let is_full = self.open() + pending >= self.limits().max_active;
        self.balance
            .wants_connection(&shares, self.astray(&tier, &shares), is_full)
    }

    /// How many connections lead to nodes that are not preferred, while preferred ones are well.
    fn astray(&self, tier: &Tier, shares: &[usize]) -> usize {
        if !tier.is_narrow {
            return 0;
        }
        let here: usize = shares.iter().sum();
        self.node_table.slots_of_all().saturating_sub(here)
    }

    fn is_overfull(&self, node: &Node) -> bool {
        self.balance.is_overfull(self.limits().max_active, || {
            let tier = self.tier();
            let shares = self.node_table.shares(&tier.targets);
            let fewest = shares.into_iter().min().unwrap_or(0);
            Share {
                own: self.node_table.slots(node),
                fewest,
                is_astray: tier.is_narrow && !tier.targets.iter().any(|it| it.node == *node),
            }
        })
    }

    /// Looks for connections to nodes that are not preferred. `pending` as for
    /// [`wants_balance`](Self::wants_balance). Says whether there are any.
    pub(crate) fn finds_astray(&self, pending: usize) -> bool {
        if self.balance.has_astray() || !self.topology.snapshot().preferred.is_empty() {
            self.wants_balance(pending);
        }
        self.balance.has_astray()
    }

    /// Whether this node is not preferred, and it is time for an idle connection to it to make room.
    pub(crate) fn is_leaving(&self, node: &Node) -> bool {
        self.balance.has_astray() && self.is_overfull(node)
    }

    /// Tells of each refresh that has ended.
    pub(crate) fn refreshes(&self) -> watch::Receiver<u64> {
        self.progress.progress()
    }

    /// Why a connection is closed whose node this pool may not go to any more.
    pub(crate) fn departed(&self) -> Discard {
        match self.name {
            PoolName::Write => Discard::RoleChanged,
            PoolName::Read => Discard::NodeGone,
        }
    }

    /// Whether a connection to this node has signed in with credentials that the node would not ask for
    /// any more.
    pub(crate) fn is_outdated(&self, node: &Node, login: u64) -> bool {
        self.config.node_logins().is_outdated(node, login)
    }

    /// Why one more idle connection to this node would be one too many; `None` if it would not.
    /// `idle` counts the idle ones, which takes a lock.
    pub(crate) fn unwanted(&self, node: &Node, idle: impl FnOnce() -> usize) -> Option<Discard> {
        if self.is_closed() {
            return Some(Discard::PoolClosed);
        }
        if self.is_overfull(node) {
            return Some(Discard::Rebalance);
        }
        // Where all may stay idle there is no need to count.
        let limits = self.limits();
        let max_idle = limits.effective_max_idle();
        (max_idle < limits.max_active && idle() >= max_idle).then_some(Discard::MaxIdle)
    }

    /// Acts on what a reply says about the node that sent it.
    #[cold]
    pub(crate) fn report(&self, class: ReplyClass, target: &Target) {
        let node = &target.node;
        if class == ReplyClass::NotServing {
            self.refusals.refused(node);
        }
        let suspect = match class {
            ReplyClass::NoSignal => false,
            ReplyClass::ReadOnly => class.retires(target.role),
            // The node may reply so to every command for a long time.
            ReplyClass::CheckNode | ReplyClass::NotServing => self.refusals.is_refresh_due(node),
        };
        if suspect {
            self.topology.suspect(node);
        }
    }

    /// Whether this pool may go to another node, and that one does not refuse to serve.
    pub(crate) fn has_alternative(&self, node: &Node) -> bool {
        let mut targets = self.allowed().into_iter();
        targets.any(|target| target.node != *node && !self.refusals.contains(&target.node))
    }

    /// Whether only the master may serve this pool.
    pub(crate) fn needs_master(&self) -> bool {
        matches!(self.policy(), None | Some(ReadFrom::Master))
    }

    /// `None` for the pool to write to.
    pub(crate) fn policy(&self) -> Option<ReadFrom> {
        match self.name {
            PoolName::Write => None,
            PoolName::Read => Some(self.config.read_from),
        }
    }

    /// How long a caller that has a permit may take to get a connection.
    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.config
            .failover_timeout
            .max(self.config.connect_timeout)
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Relaxed)
    }

    pub(crate) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Relaxed);
    }

    /// Takes note of a return. It reads before it writes, so that cores do not fight for the cache line.
    pub(crate) fn set_used(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether a connection was returned since the last call.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }

    /// A connection is about to be made. The reaper may have been at rest until now, and its clock with it.
    pub(crate) fn stir(&self) {
        self.clock.tick();
        self.stirred.notify_one();
    }

    /// Ends when a connection is about to be made, or has been since the last call.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost.
    pub(crate) async fn stirred(&self) {
        self.stirred.notified().await;
    }

    pub(crate) fn close(&self) {
        self.end.get_or_init(|| {
            if self.runtime.has_ended() {
                Error::RuntimeEnded
            } else {
                Error::Closed
            }
        });
        self.closing.notify_waiters();
        self.progress.events.close();
    }

    /// Ends when the pool is closed.
    pub(crate) async fn closing(&self) {
        let mut notice = pin!(self.closing.notified());
        // First listen, then check, so that no notice is lost in between.
        notice.as_mut().enable();
        if !self.is_closed() {
            notice.await;
        }
    }
}

fn limits(config: &Config, name: PoolName) -> &PoolLimits {
    match name {
        PoolName::Write => &config.write,
        PoolName::Read => &config.read,
    }
}
