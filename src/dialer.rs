//! Makes connections, apart from the callers who want them.
//!
//! A dial runs in a task of its own. The caller who asked for it waits in line at the *dock*, where
//! finished connections arrive; whoever is first in line takes the next one, so a dial that hangs
//! holds up one caller at most, and one whose caller has gone is not wasted: its connection stays
//! at the dock until somebody wants it.
//!
//! The limit holds without a lock around deadpool: each caller in line has a permit of the pool, a
//! dial is begun for the line only while fewer dials are under way than callers are in line, and
//! ahead of demand (`min_idle`, a replica without connections) only while there is room.

mod dock;
mod fleet;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::RedisResult;
use tokio::time::Instant;

pub(crate) use self::fleet::Place;
use self::{
    dock::{Arrival, Dock},
    fleet::Fleet,
};
use crate::{
    config::{Config, PoolLimits, ReadFrom},
    error::{Blocker, Error, PoolName, Said, is_refusal},
    jitter,
    node::{Node, Role},
    pooled::Pooled,
    stats::{Discard, Stats},
    topology::{Handle, Target},
    wire::handshake::{self, Greeting},
};

/// A dial that has not answered by now gets company, on another node if there is one.
const HEDGE: Duration = Duration::from_millis(150);

/// One pool's source of connections, and what the pool knows of itself.
#[derive(Debug)]
pub(crate) struct Dialer {
    name: PoolName,
    config: Arc<Config>,
    topology: Arc<Handle>,
    stats: Stats,
    dock: Dock,
    fleet: Fleet,
    /// Some replica has at least two connections fewer than another and the pool is full.
    lopsided: AtomicBool,
}

impl Dialer {
    pub(crate) fn new(name: PoolName, config: Arc<Config>, topology: Arc<Handle>) -> Arc<Self> {
        Arc::new(Self {
            name,
            config,
            topology,
            stats: Stats::default(),
            dock: Dock::default(),
            fleet: Fleet::default(),
            lopsided: AtomicBool::new(false),
        })
    }

    pub(crate) fn name(&self) -> PoolName {
        self.name
    }

    pub(crate) fn limits(&self) -> &PoolLimits {
        match self.name {
            PoolName::Write => &self.config.write,
            PoolName::Read => &self.config.read,
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    pub(crate) fn topology(&self) -> &Handle {
        &self.topology
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    /// A lifetime for one more connection: jittered, so that connections made together do not
    /// expire together.
    pub(crate) fn lifetime(&self) -> Option<Duration> {
        self.limits()
            .max_lifetime
            .map(|lifetime| jitter::around(lifetime, 10))
    }

    pub(crate) fn admits(&self, target: &Target) -> bool {
        self.topology.snapshot().admits(self.policy(), target)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.dock.is_closed()
    }

    /// Connections open, not counting those still being dialled.
    pub(crate) fn open(&self) -> usize {
        self.fleet.open()
    }

    pub(crate) fn docked(&self) -> usize {
        self.dock.docked()
    }

    /// What stands in the way of new connections, if anything does.
    pub(crate) fn blocker(&self) -> Blocker {
        match self.dock.last_error() {
            Some(error) if self.dock.pending() > 0 => Blocker::Dialing(with_source(&error)),
            _ => Blocker::None,
        }
    }

    /// A new connection, or one that was dialled before and never used.
    ///
    /// The caller must hold a permit of the pool: each call may lead to one more connection.
    pub(crate) async fn obtain(self: &Arc<Self>) -> Result<Pooled, Error> {
        let started = Instant::now();
        let patience = self
            .config
            .failover_timeout
            .max(self.config.connect_timeout);
        loop {
            let (mut arrival, dial) = match self.dock.enter() {
                Arrival::Closed => return Err(Error::Closed),
                Arrival::Here(pooled) => match self.still_good(*pooled) {
                    Some(pooled) => return Ok(pooled),
                    None => continue,
                },
                Arrival::InLine(arrival, dial) => (arrival, dial),
            };
            if dial {
                self.spawn_dial();
            }
            let first = started + HEDGE;
            if let Ok(Ok(result)) = tokio::time::timeout_at(first, &mut arrival).await {
                return result;
            }
            if self.policy().is_some() {
                self.dial_ahead(1);
            }
            return match tokio::time::timeout_at(started + patience, arrival).await {
                Ok(Ok(result)) => result,
                Ok(Err(_)) => Err(Error::Closed),
                Err(_) => Err(self.out_of_patience(started.elapsed())),
            };
        }
    }

    /// Dials ahead of demand: up to `count` connections, as long as there is room.
    pub(crate) fn dial_ahead(self: &Arc<Self>, count: usize) {
        let max_active = self.limits().max_active;
        for _ in 0..count {
            if !self
                .dock
                .reserve(|pending| self.open() + pending < max_active)
            {
                return;
            }
            self.spawn_dial();
        }
    }

    /// Brings the connections of all readable replicas to the same number, so that each serves the
    /// same share of the reads. Returns how many connections of which replica are too many for
    /// that, where the pool is full.
    pub(crate) fn balance(self: &Arc<Self>) {
        if self.policy().is_none() {
            return;
        }
        let targets = self.topology.snapshot().targets(self.policy());
        let census = self.fleet.census(&targets);
        let (Some(fewest), Some(most)) = (census.iter().min(), census.iter().max()) else {
            return;
        };
        let full = self.open() + self.dock.pending() >= self.limits().max_active;
        self.lopsided.store(full && most - fewest > 1, Relaxed);
        // Without any connection there is no demand to serve.
        if !full && most > fewest {
            self.dial_ahead(1);
        }
    }

    /// Whether this node has so many more connections than another that one of them should make
    /// room. Costs one atomic load while shares are even.
    pub(crate) fn is_overfull(&self, node: &Node) -> bool {
        if !self.lopsided.load(Relaxed) {
            return false;
        }
        let targets = self.topology.snapshot().targets(self.policy());
        let fewest = self.fleet.census(&targets).into_iter().min().unwrap_or(0);
        self.fleet.places(node) > fewest + 1
    }

    /// Puts a connection back in the queue behind those at the dock and takes the first of them.
    /// Only a pool that takes turns does this; it makes the dock the end of its queue.
    pub(crate) fn exchange(&self, pooled: &mut Pooled) {
        if self.policy().is_some() {
            self.dock.exchange(pooled);
        }
    }

    /// Closes the docked connections that the rule speaks against.
    pub(crate) fn sweep(&self, rule: impl FnMut(&Pooled) -> Option<Discard>) {
        for (mut pooled, reason) in self.dock.sweep(rule) {
            pooled.close(reason);
        }
    }

    /// Connections being dialled.
    pub(crate) fn pending(&self) -> usize {
        self.dock.pending()
    }

    /// Whether connections are lent in turn, oldest return first, and not the latest again.
    pub(crate) fn takes_turns(&self) -> bool {
        self.policy().is_some()
    }

    /// Each node that this pool may go to, with the number of its connections.
    pub(crate) fn shares(&self) -> Vec<(Node, usize)> {
        let targets = self.topology.snapshot().targets(self.policy());
        let census = self.fleet.census(&targets);
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

    /// A node misbehaved: have it looked at.
    pub(crate) fn suspect(&self, node: &Node) {
        self.topology.suspect(node);
    }

    pub(crate) fn close(&self) {
        for mut pooled in self.dock.close() {
            pooled.close(Discard::PoolClosed);
        }
    }

    /// `None` for the pool that writes.
    fn policy(&self) -> Option<ReadFrom> {
        match self.name {
            PoolName::Write => None,
            PoolName::Read => Some(self.config.read_from),
        }
    }

    fn still_good(&self, mut pooled: Pooled) -> Option<Pooled> {
        match crate::manager::discard_reason(&mut pooled, Instant::now()) {
            None => Some(pooled),
            Some(reason) => {
                pooled.close(reason);
                None
            }
        }
    }

    fn spawn_dial(self: &Arc<Self>) {
        let dialer = Arc::clone(self);
        tokio::spawn(async move { dialer.dial().await });
    }

    /// Dials until there is a connection, nobody waits for one any more, or it is hopeless.
    async fn dial(self: Arc<Self>) {
        loop {
            match self.attempt().await {
                Ok(pooled) => {
                    self.stats.created.fetch_add(1, Relaxed);
                    self.dock.arrive(pooled);
                    return self.balance();
                }
                Err(error) if self.is_final(&error) => return self.dock.refused(&error),
                Err(error) => {
                    if !self.dock.failed(error) {
                        return;
                    }
                }
            }
        }
    }

    async fn attempt(self: &Arc<Self>) -> Result<Pooled, Error> {
        let mut changes = self.topology.subscribe();
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let targets = snapshot.targets(self.policy());
        let Some((target, place)) = self.fleet.take_place(self, targets) else {
            if snapshot.in_motion() {
                // A replica is about to be readable; the pace is that of the looks at it.
                let _ = tokio::time::timeout(HEDGE, changes.changed()).await;
            }
            return Err(self.nowhere_to_go());
        };
        if let Some(until) = self.fleet.paused_until(&target.node) {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = changes.changed() => {}
            }
        }
        let gate = self.fleet.gate(&target.node);
        let _turn = gate.acquire().await;
        let version = self.topology.version();
        if !self.admits(&target) {
            return Err(self.connect_error(&target, superseded()));
        }
        match self.connect(&target).await {
            Ok(wire) => {
                self.fleet.succeeded(&target.node);
                Ok(Pooled::new(wire, place.opened(), target, version))
            }
            Err(error) => {
                self.stats.dial_failures.fetch_add(1, Relaxed);
                self.fleet.failed(&target.node);
                self.suspect(&target.node);
                Err(self.connect_error(&target, error))
            }
        }
    }

    async fn connect(&self, target: &Target) -> RedisResult<crate::wire::exclusive::Exclusive> {
        let deadline = Instant::now() + self.config.connect_timeout;
        let (wire, greeting) =
            handshake::connect(&self.config, &target.node, target.role, deadline).await?;
        let trusted = self.topology.snapshot().unproven.is_some();
        match judge(&greeting, target.role, trusted) {
            None => Ok(wire),
            Some(trouble) => Err((
                redis::ErrorKind::UnexpectedReturnType,
                "the node is not what it should be",
                trouble,
            )
                .into()),
        }
    }

    /// Whether trying again would only repeat the refusal.
    fn is_final(&self, error: &Error) -> bool {
        match error {
            Error::NoReplica { .. } => !self.topology.snapshot().in_motion(),
            Error::Connect { source, .. } => is_refusal(source),
            _ => false,
        }
    }

    fn nowhere_to_go(&self) -> Error {
        let snapshot = self.topology.snapshot();
        let said: Said = snapshot
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

    fn connect_error(&self, target: &Target, source: redis::RedisError) -> Error {
        Error::Connect {
            role: target.role,
            node: target.node.clone(),
            source,
        }
    }

    fn out_of_patience(&self, waited: Duration) -> Error {
        let said = match (self.dock.last_error(), &self.topology.snapshot().master) {
            (Some(error), _) => (error.to_string(), with_source(&error)),
            (None, Some(node)) => (node.to_string(), "the dial has not ended".to_owned()),
            (None, None) => ("the pool".to_owned(), "no master is known".to_owned()),
        };
        Error::NoMaster {
            master_name: self.config.master_name.clone(),
            waited,
            said: [said].into_iter().collect(),
        }
    }
}

/// What speaks against taking a node for what it should be, by its own greeting on this very
/// socket. `trusted` says that the deployment's nodes may not tell their role.
fn judge(greeting: &Greeting, role: Role, trusted: bool) -> Option<String> {
    use crate::sentinel::reply::RoleReply;
    match (greeting.role, role) {
        (Some(is), should) if is != should => Some(format!("it is a {is}, not a {should}")),
        (Some(_), _) => match &greeting.detail {
            // One that only lost its master has its data; whether it may be read from without a
            // link is for the topology to say, which knows whether the master is alive.
            Some(RoleReply::Replica { state, .. }) => state
                .trouble()
                .filter(|state| !matches!(*state, "connect" | "connecting"))
                .map(|state| format!("its link to its master is {state}")),
            _ => None,
        },
        (None, _) if trusted => None,
        (None, _) => Some(
            greeting
                .unproven
                .clone()
                .unwrap_or_else(|| "it does not tell its role".to_owned()),
        ),
    }
}

fn superseded() -> redis::RedisError {
    (
        redis::ErrorKind::Client,
        "the topology changed before the dial began",
    )
        .into()
}

/// An error with its causes in one line, for a text that is itself a cause.
fn with_source(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
