//! What one of the two pools knows of itself: its limits, where it may go, what it has open.

pub(crate) mod coarse_clock;
pub(crate) mod connect;
pub(crate) mod lazy_timeout;
mod node_table;
mod refusals;
pub(crate) mod scripts;
pub(crate) mod slot;

use std::{
    pin::pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tokio::{sync::Notify, time::Instant};

use crate::{
    config::{Config, PoolLimits, ReadFrom},
    error::{Error, PoolName, Reports, is_refusal, reason},
    node::Node,
    retry::reply_class::ReplyClass,
    role_pool::{
        coarse_clock::CoarseClock, lazy_timeout::LazyTimeout, node_table::NodeTable,
        refusals::Refusals, scripts::Scripts,
    },
    status::{Stats, discard::Discard},
    topology::{Handle, Target, admission::Admission},
    util::{jitter, runtime::Runtime},
};

/// How often each connection serves before the odd one changes its node: often enough to come out
/// even within seconds under load, seldom enough for the dial to cost nothing.
const RETURNS_PER_TURN: usize = 64;
/// And not sooner than this after the last one: under full load returns come by the thousand, and
/// every turn leaves a socket in TIME_WAIT.
const SHORTEST_TURN: Duration = Duration::from_millis(100);

/// Shared by everything that works for one pool, and by every connection of it.
#[derive(Debug)]
pub(crate) struct RolePool {
    pub(crate) name: PoolName,
    pub(crate) config: Arc<Config>,
    pub(crate) topology: Arc<Handle>,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) stats: Stats,
    pub(crate) scripts: Arc<Scripts>,
    pub(crate) node_table: NodeTable,
    pub(crate) refusals: Refusals,
    pub(crate) clock: CoarseClock,
    pub(crate) lazy_timeout: LazyTimeout,
    /// Why it lends nothing any more.
    end: OnceLock<Error>,
    closing: Notify,
    /// Somebody may be waiting for a dial, for a look at every return. Only a hint: a caller whom
    /// it misses is seen by the reaper.
    awaited: AtomicBool,
    /// By how many connections the best served node exceeds the least, where the pool is full.
    excess: AtomicUsize,
    /// Returns since a connection that is one too many for a fair share last changed its node.
    returns: AtomicUsize,
    last_turn: Mutex<Instant>,
    /// A connection came back since the reaper's last refresh.
    used: AtomicBool,
}

impl RolePool {
    pub(crate) fn new(
        name: PoolName,
        config: Arc<Config>,
        topology: Arc<Handle>,
        runtime: Arc<Runtime>,
        scripts: Arc<Scripts>,
    ) -> Self {
        Self {
            name,
            config,
            topology,
            runtime,
            stats: Stats::default(),
            scripts,
            node_table: NodeTable::default(),
            refusals: Refusals::default(),
            clock: CoarseClock::new(),
            lazy_timeout: LazyTimeout::default(),
            end: OnceLock::new(),
            closing: Notify::new(),
            awaited: AtomicBool::new(false),
            excess: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            last_turn: Mutex::new(Instant::now()),
            used: AtomicBool::new(false),
        }
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        match self.name {
            PoolName::Write => &self.config.write,
            PoolName::Read => &self.config.read,
        }
    }

    /// A lifetime for one more connection: jittered, so that connections made together do not
    /// expire together.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.limits()
            .max_lifetime
            .map(|lifetime| jitter::around(lifetime, 10))
    }

    /// The nodes that connections of this pool may go to now.
    pub(crate) fn targets(&self) -> Vec<Target> {
        self.topology.snapshot().targets(self.policy())
    }

    pub(crate) fn admits(&self, target: &Target) -> bool {
        self.topology.snapshot().admits(self.policy(), target)
    }

    pub(crate) fn admission(&self, target: &Target) -> Admission {
        let snapshot = self.topology.snapshot();
        if !snapshot.admits(self.policy(), target) {
            Admission::Revoked
        } else if snapshot.fence.is_some() && self.policy().is_none() {
            Admission::Fenced
        } else {
            Admission::Open
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.end.get().is_some()
    }

    /// What a caller is told after [`close`](Self::close).
    pub(crate) fn ending(&self) -> Error {
        self.end.get().cloned().unwrap_or(Error::Closed)
    }

    /// Connections open, not counting those still being dialled.
    pub(crate) fn open(&self) -> usize {
        self.node_table.open()
    }

    /// Whether this node has more connections than its share, so that one of them should make room.
    /// Costs one atomic load while shares are even.
    ///
    /// Where `max_active` is no multiple of the nodes, some have one more than others. Which they
    /// are changes now and then, so that in the long run each node serves the same.
    fn is_overfull(&self, node: &Node) -> bool {
        let period = RETURNS_PER_TURN * self.limits().max_active;
        let tolerated = match self.excess.load(Relaxed) {
            0 => return false,
            1 if self.returns.fetch_add(1, Relaxed) < period => return false,
            1 if self.last_turn.lock().elapsed() < SHORTEST_TURN => {
                self.returns.store(0, Relaxed);
                return false;
            }
            1 => 0,
            _ => 1,
        };
        let census = self.node_table.census(&self.targets());
        let fewest = census.into_iter().min().unwrap_or(0);
        let overfull = self.node_table.places(node) > fewest + tolerated;
        if overfull {
            self.returns.store(0, Relaxed);
            *self.last_turn.lock() = Instant::now();
        }
        overfull
    }

    /// Whether connections are lent in turn, oldest return first, and not the latest again.
    pub(crate) fn is_read_pool(&self) -> bool {
        self.policy().is_some()
    }

    /// Each node that this pool may go to, with the number of its connections.
    pub(crate) fn shares(&self) -> Vec<(Node, usize)> {
        let targets = self.targets();
        let census = self.node_table.census(&targets);
        targets
            .into_iter()
            .map(|target| target.node)
            .zip(census)
            .collect()
    }

    /// Why a connection whose node is not wanted any more is closed.
    pub(crate) fn departed(&self) -> Discard {
        match self.name {
            PoolName::Write => Discard::RoleChanged,
            PoolName::Read => Discard::NodeGone,
        }
    }

    /// Why one more idle connection to this node would be one too many; `None` if it would not.
    pub(crate) fn unwanted(&self, node: &Node, idle: impl FnOnce() -> usize) -> Option<Discard> {
        if self.is_closed() {
            return Some(Discard::PoolClosed);
        }
        if self.is_overfull(node) {
            return Some(Discard::Rebalance);
        }
        // Where every connection may stay idle there is nothing to count.
        let limits = self.limits();
        let max_idle = limits.effective_max_idle();
        (max_idle < limits.max_active && idle() >= max_idle).then_some(Discard::MaxIdle)
    }

    /// Takes to heart what a reply says about the node that sent it.
    #[cold]
    pub(crate) fn report(&self, doubt: ReplyClass, target: &Target) {
        let node = &target.node;
        if doubt == ReplyClass::Service {
            self.refusals.refused(node);
        }
        let look = match doubt {
            ReplyClass::None => false,
            ReplyClass::Role => doubt.condemns(target.role),
            // The node may say so to every command for a long time.
            ReplyClass::Node | ReplyClass::Service => self.refusals.is_look_due(node),
        };
        if look {
            self.topology.suspect(node);
        }
    }

    /// Whether this pool may go to another node, which does not refuse to serve.
    pub(crate) fn has_alternative(&self, node: &Node) -> bool {
        let mut targets = self.targets().into_iter();
        targets.any(|target| target.node != *node && !self.refusals.contains(&target.node))
    }

    /// Whether nobody but the master may do what this pool is asked for.
    pub(crate) fn needs_master(&self) -> bool {
        matches!(self.policy(), None | Some(ReadFrom::Master))
    }

    /// `None` for the pool that writes.
    pub(crate) fn policy(&self) -> Option<ReadFrom> {
        match self.name {
            PoolName::Write => None,
            PoolName::Read => Some(self.config.read_from),
        }
    }

    /// Whether one more connection would even out the shares of the nodes; takes note of shares
    /// that cannot be evened out because the pool is full.
    pub(crate) fn wants_balance(&self, pending: usize) -> bool {
        let census = self.node_table.census(&self.targets());
        let (Some(fewest), Some(most)) = (census.iter().min(), census.iter().max()) else {
            return false;
        };
        let full = self.open() + pending >= self.limits().max_active;
        let excess = if full { most - fewest } else { 0 };
        self.excess.store(excess, Relaxed);
        !full && most > fewest
    }

    /// Why there is no node to connect to.
    pub(crate) fn nowhere_to_go(&self) -> Error {
        let snapshot = self.topology.snapshot();
        let said: Reports = snapshot
            .replicas
            .iter()
            .filter_map(|replica| {
                Some((
                    replica.node.to_string(),
                    replica.excluded.as_ref()?.to_string(),
                ))
            })
            .collect();
        Error::NoReplica { said }
    }

    /// Whether trying again would only repeat the refusal.
    pub(crate) fn is_final(&self, error: &Error) -> bool {
        match error {
            // Told not to wait for a master to exist.
            _ if self.config.failover_timeout.is_zero() => true,
            Error::NoReplica { .. } => !self.topology.snapshot().in_motion(),
            Error::Connect { source, .. } => is_refusal(source),
            _ => false,
        }
    }

    /// How long a caller whose turn it is may take to get a connection.
    pub(crate) fn acquire_timeout(&self) -> Duration {
        self.config
            .failover_timeout
            .max(self.config.connect_timeout)
    }

    /// Why a caller got no connection in all that time; `last` is what the last dial met.
    pub(crate) fn timed_out(&self, last: Option<Error>, waited: Duration) -> Error {
        let snapshot = self.topology.snapshot();
        let (node, said) = match (last, &snapshot.fence, &snapshot.master) {
            (Some(error), _, _) if self.is_read_pool() => return error,
            (_, Some(sign), Some(node)) if !self.is_read_pool() => {
                (node.to_string(), format!("it is being replaced ({sign})"))
            }
            (Some(Error::Connect { node, source, .. }), _, _) => {
                (node.to_string(), reason(&source))
            }
            (Some(error), _, _) => ("the pool".to_owned(), error.to_string()),
            (None, _, Some(node)) => (node.to_string(), "the dial has not ended".to_owned()),
            (None, _, None) => ("the pool".to_owned(), "no master is known".to_owned()),
        };
        Error::NoMaster {
            master_name: self.config.master_name.clone(),
            waited,
            said: [(node, said)].into_iter().collect(),
        }
    }

    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Relaxed)
    }

    pub(crate) fn set_awaited(&self, awaited: bool) {
        self.awaited.store(awaited, Relaxed);
    }

    /// Takes note of a return. Writes only where that is news.
    pub(crate) fn set_used(&self) {
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// Whether a connection came back since the last call.
    pub(crate) fn take_used(&self) -> bool {
        self.used.swap(false, Relaxed)
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
    }

    /// Ends when the pool is closed.
    pub(crate) async fn closing(&self) {
        let mut notice = pin!(self.closing.notified());
        // First listen, then look, so that the moment cannot pass in between.
        notice.as_mut().enable();
        if !self.is_closed() {
            notice.await;
        }
    }
}
