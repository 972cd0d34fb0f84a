//! The connections that the multiplexed handles of one pool (write or read) share: one, or a few,
//! to every node that the pool may use.
//!
//! One task, the maintainer, dials the missing connections, retires those that are not wanted any
//! more, and publishes the open ones as a snapshot. It rests until the first command asks for a
//! connection. From then on it keeps connections ready, so that a command after a failover finds one.

mod head_start;
#[cfg(test)]
mod model;
mod replacements;

use std::{
    collections::HashMap,
    mem,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{
            AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use redis::{RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    task::{self, JoinError, JoinSet},
    time::Instant,
};

use crate::{
    config::edition::Edition,
    error::reply_class::ReplyClass,
    error::{
        Error,
        failure::{Cause, Failure, Fate, Peer},
    },
    events::EventKind,
    freshness::node_hint::NodeHint,
    multiplexed::connections::{head_start::HeadStart, replacements::Replacements},
    node::{Node, Role},
    role_pool::{RolePool, connect},
    status::{
        MultiplexedStatus,
        dials::DialStats,
        discard::{Discard, Discards},
        failures::CommandStats,
    },
    topology::{Target, Topology, admission::Admission},
    wire::{connection::WireConnection, mux::Mux},
};

/// A connection that was lost sooner than this counts as a failed dial, so that the next one waits: a
/// server may take connections only to close them.
const YOUNG: Duration = Duration::from_secs(1);

/// A shared connection and its target.
#[derive(Debug)]
pub(crate) struct SharedConnection {
    pub(crate) mux: Arc<Mux>,
    pub(crate) target: Target,
    /// What was last seen of the node's position.
    pub(crate) hint: Arc<NodeHint>,
    edition: Edition,
    /// The generation of the credentials that it was made with.
    login: u64,
    /// The address that the node was reached at. For a trace.
    pub(crate) peer_addr: Option<SocketAddr>,
    /// Why it was retired. Where it ended by itself, its node is not what it should be.
    why: OnceLock<Discard>,
}

impl SharedConnection {
    /// Why it has a successor.
    fn why_outdated(&self) -> Discard {
        if self.edition.has_successor() {
            Discard::Certificates
        } else {
            Discard::Credentials
        }
    }

    /// Takes nothing in any more. False when it was about to end already.
    fn retire(&self, why: Discard) -> bool {
        self.why.get_or_init(|| why);
        self.mux.retire()
    }

    /// Whether another one should take its place: newer certificates were loaded, or the node has accepted
    /// newer credentials.
    fn has_successor(&self, role_pool: &RolePool) -> bool {
        self.edition.has_successor() || role_pool.is_outdated(&self.target.node, self.login)
    }
}

/// A snapshot of the open connections.
#[derive(Debug, Default)]
pub(crate) struct ConnectionSet {
    version: u64,
    pub(crate) open: Vec<Arc<SharedConnection>>,
    /// How many of these, the first ones, lead to preferred nodes, where others do not. 0 where no node is
    /// preferred to another.
    near: usize,
    /// Why the last dial failed, while there is no connection.
    trouble: Option<Error>,
    closed: bool,
}

impl ConnectionSet {
    /// Whether some nodes are preferred to others.
    #[inline]
    pub(crate) fn prefers(&self) -> bool {
        self.near > 0
    }

    /// The connections to preferred nodes, where others are open, too. Mostly none: then all are alike.
    pub(crate) fn near(&self) -> &[Arc<SharedConnection>] {
        &self.open[..self.near]
    }

    fn takes_commands(&self) -> bool {
        self.open.iter().any(|connection| connection.mux.is_open())
    }
}

#[derive(Debug)]
pub(crate) struct SharedConnections {
    role_pool: Arc<RolePool>,
    /// Read by every command, and without a lock: callers on several threads would meet there.
    set: ArcSwap<ConnectionSet>,
    /// That of `set`. Raised when the set is in place.
    version: AtomicU64,
    /// For those who wait for another set. Its lock is held while the set is replaced.
    changes: watch::Sender<()>,
    /// A command waits for a connection.
    wanted: Notify,
    /// A connection has ended.
    ended: Notify,
    created: AtomicU64,
    ledger: Mutex<Ledger>,
    pub(crate) dials: DialStats,
    pub(crate) stats: CommandStats,
}

/// What the connections have done. Locked when one is made or ends, and to be read.
#[derive(Debug, Default)]
struct Ledger {
    /// Those whose drivers have not ended. Some of them may take no commands any more.
    live: Vec<Arc<Mux>>,
    /// The commands that others have had answered.
    answered: u64,
    discards: Discards,
}

impl Ledger {
    /// A connection has ended, with its last reply.
    fn close(&mut self, mux: &Arc<Mux>, why: Discard) {
        self.live.retain(|live| !Arc::ptr_eq(live, mux));
        self.answered += mux.answered();
        self.discards.add(why);
    }
}

impl SharedConnections {
    pub(crate) fn new(role_pool: Arc<RolePool>) -> Self {
        Self {
            role_pool,
            set: ArcSwap::default(),
            version: AtomicU64::new(0),
            changes: watch::Sender::default(),
            wanted: Notify::new(),
            ended: Notify::new(),
            created: AtomicU64::new(0),
            ledger: Mutex::default(),
            dials: DialStats::default(),
            stats: CommandStats::default(),
        }
    }

    pub(crate) fn role_pool(&self) -> &Arc<RolePool> {
        &self.role_pool
    }

    /// The open connections, as of now.
    pub(crate) fn newest(&self) -> Arc<ConnectionSet> {
        self.set.load_full()
    }

    #[inline]
    pub(crate) fn is_newest(&self, set: &ConnectionSet) -> bool {
        set.version == self.version.load(Acquire)
    }

    /// Learns of every set that is published from now on.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Waits until a connection takes commands. `since` is when the wait began.
    pub(crate) async fn wait(&self, since: Instant, acquire_timeout: Duration) -> RedisResult<()> {
        let mut changes = self.subscribe();
        self.wanted.notify_one();
        loop {
            let set = self.newest();
            if let Some(error) = self.hopeless(&set) {
                return Err(error.into());
            }
            if set.takes_commands() {
                return Ok(());
            }
            let changed = tokio::time::timeout_at(since + acquire_timeout, changes.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let trouble = self.newest().trouble.clone();
                return Err(self.timed_out(trouble, since.elapsed()));
            }
        }
    }

    fn timed_out(&self, trouble: Option<Error>, waited: Duration) -> RedisError {
        let snapshot = self.role_pool.topology.snapshot();
        match (&snapshot.fence, &snapshot.master) {
            (Some(sign), Some(master)) if !self.role_pool.is_read_pool() => Failure {
                peer: Peer::Node(Role::Master),
                node: master.clone(),
                cause: Cause::Fenced(sign.clone(), waited),
                fate: Fate::NotExecuted,
            }
            .into(),
            _ => self.role_pool.timed_out(trouble, waited).into(),
        }
    }

    /// Why waiting for a connection is useless; `None` if it is not.
    fn hopeless(&self, set: &ConnectionSet) -> Option<Error> {
        if set.closed {
            return Some(self.role_pool.ending());
        }
        let trouble = set.trouble.as_ref()?;
        self.role_pool.is_final(trouble).then(|| trouble.clone())
    }

    /// Asks for connections, as the first command does, and does not wait for them.
    pub(crate) fn want(&self) {
        self.wanted.notify_one();
    }

    /// Acts on what a reply says about the node that sent it.
    pub(crate) fn report(&self, class: ReplyClass, connection: &SharedConnection) {
        // Many replies may say the same at once, and that is one failure.
        let retires = class.retires(connection.target.role);
        if retires && connection.retire(self.role_pool.departed()) {
            self.role_pool.node_table.failed(&connection.target.node);
            self.ended.notify_one();
        }
        self.role_pool.report(class, &connection.target);
    }

    pub(crate) fn status(&self) -> MultiplexedStatus {
        let set = self.newest();
        let muxes = set.open.iter().map(|connection| &connection.mux);
        let connections = muxes.filter(|mux| !mux.is_leaving()).count();
        let ledger = self.ledger.lock();
        let live = || ledger.live.iter();
        MultiplexedStatus {
            max_in_flight: self.role_pool.config.multiplexed.max_in_flight,
            connections,
            in_flight: live().map(|mux| mux.in_flight()).sum(),
            waiting: live().map(|mux| mux.waiting()).sum(),
            created: self.created.load(Relaxed),
            create: self.dials.create(),
            dial_failures: self.dials.failures(),
            last_dial_error: self.dials.last(),
            discards: ledger.discards,
            commands: ledger.answered + live().map(|mux| mux.answered()).sum::<u64>(),
            failures: self.stats.failures(),
            resent: self.stats.resent_count(),
            refused: self.stats.refused_count(),
        }
    }

    /// Counts a connection whose driver has ended.
    fn closed(&self, connection: &SharedConnection, lost: bool) {
        let retired = connection.why.get().copied();
        let why = match retired {
            _ if lost => Discard::Broken,
            Some(why) => why,
            None => self.role_pool.departed(),
        };
        self.ledger.lock().close(&connection.mux, why);
        let (pool, node) = (self.role_pool.name, &connection.target.node);
        tracing::debug!(%pool, %node, reason = why.as_str(), "a shared connection is closed");
        if matches!(why, Discard::Credentials | Discard::Certificates) {
            self.role_pool.tell(EventKind::Retired {
                pool,
                reason: why,
                count: 1,
            });
        }
    }

    /// No more commands are sent. Those that were sent are still answered.
    pub(crate) fn close(&self) {
        let before = self.replace(|_| {
            Some(ConnectionSet {
                closed: true,
                ..ConnectionSet::default()
            })
        });
        retire_all(&before.open);
    }

    /// Publishes the connections, unless the pool was closed meanwhile. Those that are `held_back` are not lent
    /// yet.
    fn publish(
        &self,
        open: &[Arc<SharedConnection>],
        near: usize,
        held_back: bool,
        trouble: Option<Error>,
    ) {
        let before = self.replace(|before| {
            (!before.closed).then(|| ConnectionSet {
                open: if held_back { Vec::new() } else { open.to_vec() },
                near,
                trouble,
                ..ConnectionSet::default()
            })
        });
        if before.closed {
            retire_all(open);
        }
    }

    /// Replaces the set by the one that is made of it, if any. Returns the set that it found.
    fn replace(
        &self,
        make: impl FnOnce(&ConnectionSet) -> Option<ConnectionSet>,
    ) -> Arc<ConnectionSet> {
        let mut before = Arc::default();
        self.changes.send_if_modified(|()| {
            before = self.newest();
            let Some(mut next) = make(&before) else {
                return false;
            };
            next.version = before.version + 1;
            let version = next.version;
            self.set.store(Arc::new(next));
            self.version.store(version, Release);
            true
        });
        before
    }

    /// Keeps connections ready as soon as the first is wanted.
    pub(crate) async fn run(self: Arc<Self>) {
        self.wanted.notified().await;
        Maintainer::new(self).run().await;
    }
}

/// The pool is closed.
fn retire_all(connections: &[Arc<SharedConnection>]) {
    for connection in connections {
        connection.retire(Discard::PoolClosed);
    }
}

struct Dialled {
    target: Target,
    result: Result<WireConnection, Error>,
    /// It was to take the place of one with old certificates.
    replaces: bool,
}

/// What the task of a [`SharedConnections`] owns.
#[derive(Debug)]
struct Maintainer {
    connections: Arc<SharedConnections>,
    open: Vec<Arc<SharedConnection>>,
    dials: JoinSet<Dialled>,
    /// The node of each dial.
    under_way: HashMap<task::Id, Node>,
    replacements: Replacements,
    head_start: HeadStart,
    trouble: Option<Error>,
}

impl Maintainer {
    fn new(connections: Arc<SharedConnections>) -> Self {
        Self {
            connections,
            open: Vec::new(),
            dials: JoinSet::new(),
            under_way: HashMap::new(),
            replacements: Replacements::default(),
            head_start: HeadStart::default(),
            trouble: None,
        }
    }

    async fn run(mut self) {
        let connections = Arc::clone(&self.connections);
        let mut topology = connections.role_pool.topology.subscribe();
        let mut new_editions = connections.role_pool.config.new_editions();
        loop {
            let snapshot = Arc::clone(&topology.borrow_and_update());
            self.maintain(&snapshot);
            tokio::select! {
                changed = topology.changed() => if changed.is_err() { return },
                Some(dialled) = self.dials.join_next_with_id(), if !self.dials.is_empty() => {
                    self.dialled(dialled);
                }
                () = connections.ended.notified() => {}
                () = new_editions.next() => self.replacements.begin_anew(),
                () = self.replacements.due() => {}
                () = self.head_start.end() => {}
            }
        }
    }

    /// Retires the connections that are not wanted any more, and dials those that are missing.
    fn maintain(&mut self, topology: &Topology) {
        let role_pool = &self.connections.role_pool;
        let targets = topology.targets(role_pool.policy());
        self.open.retain(|connection| {
            let wanted = targets.contains(&connection.target);
            if !wanted {
                connection.retire(role_pool.departed());
            }
            wanted && !connection.mux.is_leaving()
        });
        for connection in &self.open {
            match role_pool.admission(&connection.target) {
                Admission::Open => connection.mux.reopen(),
                _ => connection.mux.nudge(),
            }
        }
        self.retire_outdated(&targets);
        for target in &targets {
            self.dial_missing(target);
        }
        let role_pool = &self.connections.role_pool;
        if !self.open.is_empty() {
            self.trouble = None;
        } else if targets.is_empty() {
            self.trouble = Some(role_pool.nowhere_to_go());
        }
        let near = self.sort(topology);
        let held_back = self.holds_back(topology, &targets);
        self.connections
            .publish(&self.open, near, held_back, self.trouble.clone());
    }

    /// Whether the connections that are there are held back, since one to a preferred node may soon be there.
    fn holds_back(&mut self, topology: &Topology, targets: &[Target]) -> bool {
        let is_near = |target: &Target| topology.is_preferred(&target.node);
        let Some(first) = self.open.first() else {
            return false;
        };
        let (near, awaited) = (is_near(&first.target), targets.iter().any(is_near));
        self.head_start.holds_back(near, awaited, Instant::now())
    }

    /// Puts the connections to preferred nodes first, and says how many they are. A connection to every node
    /// is kept, so that reads go on at once where those nodes fail, and fresh reads find what is elsewhere.
    fn sort(&mut self, topology: &Topology) -> usize {
        if topology.preferred.is_empty() {
            return 0;
        }
        let is_near = |open: &SharedConnection| topology.is_preferred(&open.target.node);
        self.open.sort_by_key(|open| !is_near(open));
        let near = self.open.iter().filter(|open| is_near(open)).count();
        if near == self.open.len() { 0 } else { near }
    }

    /// Dials until the target has as many connections as it should, not counting those with old
    /// certificates or credentials.
    fn dial_missing(&mut self, target: &Target) {
        let role_pool = &self.connections.role_pool;
        let open = self.open.iter().filter(|open| open.target == *target);
        let (old, new): (Vec<_>, Vec<_>) = open.partition(|open| open.has_successor(role_pool));
        let (replaces, have) = (!old.is_empty(), new.len());
        if replaces && !self.replacements.is_due(&target.node, Instant::now()) {
            return;
        }
        let dials = self.under_way.values();
        let under_way = dials.filter(|node| **node == target.node).count();
        for _ in have + under_way..role_pool.config.multiplexed.connections {
            let (connections, target) = (Arc::clone(&self.connections), target.clone());
            let node = target.node.clone();
            let dial = async move {
                let (role_pool, stats) = (&connections.role_pool, &connections.dials);
                let result = if replaces {
                    connect::attempt_replacement(role_pool, &target, stats).await
                } else {
                    connect::attempt(role_pool, &target, stats).await
                };
                Dialled {
                    target,
                    result,
                    replaces,
                }
            };
            let counted = self.connections.role_pool.runtime.count(dial);
            let dial = self.dials.spawn(counted);
            self.under_way.insert(dial.id(), node);
        }
    }

    /// Retires connections with old certificates or credentials, as far as there are others in their
    /// place. Until then they are used on, so that no command fails or waits.
    fn retire_outdated(&mut self, targets: &[Target]) {
        let role_pool = &self.connections.role_pool;
        let wanted = role_pool.config.multiplexed.connections;
        for target in targets {
            let have = self.open.iter().filter(|it| it.target == *target).count();
            let mut surplus = have.saturating_sub(wanted);
            self.open.retain(|connection| {
                let replaced = surplus > 0
                    && connection.target == *target
                    && connection.has_successor(role_pool);
                if replaced {
                    surplus -= 1;
                    connection.retire(connection.why_outdated());
                }
                !replaced
            });
        }
    }

    fn dialled(&mut self, dialled: Result<(task::Id, Dialled), JoinError>) {
        let id = match &dialled {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.under_way.remove(&id);
        // Where the dial panicked, the runtime has printed it.
        let Ok((_, dialled)) = dialled else { return };
        match dialled.result {
            Ok(connection) => self.open(connection, dialled.target),
            Err(error) if dialled.replaces => {
                self.replacements.failed(&dialled.target.node, &error);
            }
            Err(error) => {
                self.head_start.give_up();
                self.trouble = Some(error);
            }
        }
    }

    fn open(&mut self, connection: WireConnection, target: Target) {
        let connections = Arc::clone(&self.connections);
        let limits = connections.role_pool.config.multiplexed;
        let current = admission(Arc::clone(&connections), target.clone());
        let edition = connection.edition();
        let login = connection.login();
        let peer_addr = connection.peer_addr();
        let (mux, driver) = Mux::open(connection, limits, current);
        connections.created.fetch_add(1, Relaxed);
        connections.ledger.lock().live.push(Arc::clone(&mux));
        let shared = Arc::new(SharedConnection {
            mux,
            hint: connections.role_pool.freshness.node(&target.node),
            target,
            edition,
            login,
            peer_addr,
            why: OnceLock::new(),
        });
        self.open.push(Arc::clone(&shared));
        let born = Instant::now();
        let runtime = Arc::clone(&connections.role_pool.runtime);
        runtime.spawn(async move {
            let ended = driver.await;
            if let Err(cause) = &ended {
                lost(&connections.role_pool, &shared.target.node, cause, born);
            }
            connections.closed(&shared, ended.is_err());
            connections.ended.notify_one();
        });
    }
}

/// Tells of a node whose connection was lost.
fn lost(role_pool: &RolePool, node: &Node, cause: &Cause, born: Instant) {
    if born.elapsed() < YOUNG {
        role_pool.node_table.failed(node);
    }
    match cause {
        Cause::Timeout(within) => role_pool.topology.exclude_silent(node, *within),
        _ => role_pool.topology.suspect(node),
    }
}

/// Whether a connection to this target may be written to. Costs one atomic load while the topology
/// does not change.
fn admission(connections: Arc<SharedConnections>, target: Target) -> impl FnMut() -> Admission {
    let mut vetted = 0;
    let mut fenced = false;
    move || {
        let version = connections.role_pool.topology.version();
        if vetted == version {
            return Admission::Open;
        }
        let admission = connections.role_pool.admission(&target);
        if admission == Admission::Open {
            vetted = version;
        }
        // When the fence comes down, the maintainer may have asked the driver to go on before it had
        // stopped; then it must ask again.
        if mem::replace(&mut fenced, admission == Admission::Fenced) && !fenced {
            connections.ended.notify_one();
        }
        admission
    }
}
