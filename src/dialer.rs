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

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use redis::RedisResult;
use tokio::{sync::watch, time::Instant};

use self::dock::{Arrival, Dock};
use crate::{
    discard::Discard,
    error::{Blocker, Error, Said, is_refusal},
    home::Home,
    node::Role,
    place::Place,
    pooled::Pooled,
    topology::{Target, Topology},
    wire::{
        exclusive::Exclusive,
        handshake::{self, Greeting},
        role::RoleReply,
    },
};

/// A dial that has not answered by now gets company, on another node if there is one.
const HEDGE: Duration = Duration::from_millis(150);

/// One pool's source of connections.
#[derive(Debug)]
pub(crate) struct Dialer {
    home: Arc<Home>,
    dock: Dock,
}

impl Dialer {
    pub(crate) fn new(home: Arc<Home>) -> Arc<Self> {
        let dock = Dock::default();
        Arc::new(Self { home, dock })
    }

    pub(crate) fn home(&self) -> &Arc<Home> {
        &self.home
    }

    pub(crate) fn docked(&self) -> usize {
        self.dock.docked()
    }

    /// What stands in the way of new connections, if anything does.
    pub(crate) fn blocker(&self) -> Blocker {
        match (self.dock.pending(), self.dock.last_error()) {
            (0, _) => Blocker::None,
            (_, Some(error)) => Blocker::Dialing(with_source(&error)),
            (dials, None) => Blocker::Connecting(dials),
        }
    }

    /// A new connection, or one that was dialled before and never used.
    ///
    /// The caller must hold a permit of the pool: each call may lead to one more connection. It has
    /// a deadline of its own, [`patience`](Self::patience) from when it got the permit. Says also
    /// whether the connection has been lying at the dock, as any idle one.
    pub(crate) async fn obtain(self: &Arc<Self>) -> Result<(Box<Pooled>, bool), Error> {
        loop {
            let (mut place, dial) = match self.dock.enter() {
                Arrival::Closed => return Err(Error::Closed),
                Arrival::Here(pooled) => match self.still_good(pooled) {
                    Some(pooled) => return Ok((pooled, true)),
                    None => continue,
                },
                Arrival::InLine(place, dial) => (place, dial),
            };
            self.home.set_awaited(true);
            if dial {
                self.spawn_dial();
            }
            if let Ok(result) = tokio::time::timeout(HEDGE, place.arrival()).await {
                return fresh(result);
            }
            if self.home.takes_turns() {
                self.dial_ahead(1);
            }
            // The caller's deadline ends this, see `Side::dialled`.
            loop {
                if self.dock.lacks_dial() {
                    self.spawn_dial();
                }
                if let Ok(result) = tokio::time::timeout(HEDGE, place.arrival()).await {
                    return fresh(result);
                }
            }
        }
    }

    /// Dials ahead of demand: up to `count` connections, as long as there is room.
    pub(crate) fn dial_ahead(self: &Arc<Self>, count: usize) {
        let max_active = self.home.limits().max_active;
        let room = |pending| self.home.open() + pending < max_active;
        for _ in 0..count {
            if !self.dock.reserve(room) {
                return;
            }
            self.spawn_dial();
        }
    }

    /// Brings the connections of all readable replicas to the same number, so that each serves the
    /// same share of the reads.
    pub(crate) fn balance(self: &Arc<Self>) {
        if self.home.takes_turns() && self.home.wants_balance(self.dock.pending()) {
            self.dial_ahead(1);
        }
    }

    /// Puts a connection back in the queue behind those at the dock and takes the first of them.
    /// Only a pool that takes turns does this; it makes the dock the end of its queue.
    pub(crate) fn exchange(&self, pooled: &mut Box<Pooled>) {
        if self.home.takes_turns() {
            self.dock.exchange(pooled);
        }
    }

    /// Closes the docked connections that the rule speaks against.
    pub(crate) fn prune(&self, rule: impl FnMut(&Pooled) -> Option<Discard>) {
        for (mut pooled, reason) in self.dock.prune(rule) {
            pooled.close(reason);
        }
    }

    /// Gives idle connections, as long as there are any, to those who wait for a dial.
    pub(crate) fn feed(&self, mut idle: impl FnMut() -> Option<Box<Pooled>>) {
        loop {
            let awaited = self.dock.announce();
            self.home.set_awaited(awaited);
            if !awaited {
                return;
            }
            let pooled = idle();
            let more = pooled.is_some();
            self.dock.bring(pooled);
            if !more {
                return;
            }
        }
    }

    /// Connections being dialled.
    pub(crate) fn pending(&self) -> usize {
        self.dock.pending()
    }

    pub(crate) fn close(&self) {
        self.home.close();
        for mut pooled in self.dock.close() {
            pooled.close(Discard::PoolClosed);
        }
    }

    pub(crate) fn still_good(&self, mut pooled: Box<Pooled>) -> Option<Box<Pooled>> {
        match pooled.discard_reason(self.home.clock.now()) {
            None => Some(pooled),
            Some(reason) => {
                pooled.close(reason);
                None
            }
        }
    }

    fn spawn_dial(self: &Arc<Self>) {
        let under_way = UnderWay(Some(Arc::clone(self)));
        let dialer = Arc::clone(self);
        tokio::spawn(async move {
            let connected = dialer.dial().await;
            under_way.over();
            if connected {
                dialer.balance();
            }
        });
    }

    /// Dials until there is a connection, nobody waits for one any more, or it is hopeless. Says
    /// whether there is a connection.
    async fn dial(self: &Arc<Self>) -> bool {
        loop {
            match self.attempt().await {
                Ok(pooled) => {
                    self.home.stats.created.fetch_add(1, Relaxed);
                    self.dock.arrive(pooled);
                    return true;
                }
                Err(error) if self.is_final(&error) => {
                    self.dock.refused(&error);
                    return false;
                }
                Err(error) => {
                    if !self.dock.failed(error) {
                        return false;
                    }
                }
            }
        }
    }

    async fn attempt(self: &Arc<Self>) -> Result<Box<Pooled>, Error> {
        let mut changes = self.home.topology.subscribe();
        let snapshot = Arc::clone(&changes.borrow_and_update());
        let targets = snapshot.targets(self.home.policy());
        let Some((target, place)) = Place::take(&self.home, targets) else {
            if snapshot.in_motion() {
                // A replica is about to be readable; the pace is that of the looks at it.
                let _ = tokio::time::timeout(HEDGE, changes.changed()).await;
            }
            return Err(self.nowhere_to_go());
        };
        let dialled = tokio::select! {
            // A dial to a node that has been replaced may hang for long, and its caller need not.
            () = self.departure(&mut changes, &target) => None,
            dialled = self.connect_in_turn(&target) => dialled,
        };
        // Looked up before the target is checked, so that a switch in between is noticed later.
        let version = self.home.topology.version();
        let Some(dialled) = dialled.filter(|_| self.is_wanted(&target)) else {
            return Err(connect_error(&target, superseded()));
        };
        match dialled {
            Ok(wire) => {
                self.home.fleet.succeeded(&target.node);
                Ok(Pooled::new(wire, place.opened(), target, version))
            }
            Err(error) => {
                self.home.stats.dial_failures.fetch_add(1, Relaxed);
                self.home.fleet.failed(&target.node);
                self.home.topology.suspect(&target.node);
                Err(connect_error(&target, error))
            }
        }
    }

    fn is_wanted(&self, target: &Target) -> bool {
        !self.home.is_closed() && self.home.admits(target)
    }

    /// Ends when the pool may not go to this target any more.
    async fn departure(&self, changes: &mut watch::Receiver<Arc<Topology>>, target: &Target) {
        while self.is_wanted(target) && changes.changed().await.is_ok() {}
    }

    /// Nothing where the target is not wanted any more when its turn comes.
    async fn connect_in_turn(&self, target: &Target) -> Option<RedisResult<Exclusive>> {
        let gate = self.home.fleet.gate(&target.node);
        let _turn = gate.acquire().await;
        let mut changes = self.home.topology.subscribe();
        // Those ahead may have failed meanwhile: the pause after that is for all, or everybody who
        // waits would try at once.
        while let Some(until) = self.home.fleet.paused_until(&target.node)
            && until > Instant::now()
        {
            tokio::select! {
                () = tokio::time::sleep_until(until) => {}
                _ = changes.changed() => break,
            }
        }
        if !self.is_wanted(target) {
            return None;
        }
        Some(self.connect(target).await)
    }

    async fn connect(&self, target: &Target) -> RedisResult<Exclusive> {
        let deadline = Instant::now() + self.home.config.connect_timeout;
        let (wire, greeting) =
            handshake::connect(&self.home.config, &target.node, target.role, deadline).await?;
        let snapshot = self.home.topology.snapshot();
        let trusted = snapshot.unproven.is_some();
        let orphaned = snapshot.is_orphaned(&target.node);
        match judge(&greeting, target.role, trusted, orphaned) {
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
            // Told not to wait for a master to exist.
            _ if self.home.config.failover_timeout.is_zero() => true,
            Error::NoReplica { .. } => !self.home.topology.snapshot().in_motion(),
            Error::Connect { source, .. } => is_refusal(source),
            _ => false,
        }
    }

    fn nowhere_to_go(&self) -> Error {
        let snapshot = self.home.topology.snapshot();
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

    /// How long a caller who has a permit may take to get a connection.
    pub(crate) fn patience(&self) -> Duration {
        let config = &self.home.config;
        config.failover_timeout.max(config.connect_timeout)
    }

    /// Why a caller got no connection in all that time.
    pub(crate) fn out_of_patience(&self, waited: Duration) -> Error {
        let said = match (
            self.dock.last_error(),
            &self.home.topology.snapshot().master,
        ) {
            (Some(error), _) if self.home.takes_turns() => return error,
            (Some(Error::Connect { node, source, .. }), _) => {
                (node.to_string(), with_source(&source))
            }
            (Some(error), _) => ("the pool".to_owned(), with_source(&error)),
            (None, Some(node)) => (node.to_string(), "the dial has not ended".to_owned()),
            (None, None) => ("the pool".to_owned(), "no master is known".to_owned()),
        };
        Error::NoMaster {
            master_name: self.home.config.master_name.clone(),
            waited,
            said: [said].into_iter().collect(),
        }
    }
}

/// What came for a caller in line; nothing comes any more only when the pool is closed.
fn fresh<E>(arrival: Result<Result<Box<Pooled>, Error>, E>) -> Result<(Box<Pooled>, bool), Error> {
    let pooled = arrival.unwrap_or(Err(Error::Closed))?;
    Ok((pooled, false))
}

/// A dial that counts as under way until it says that it is over. One that is dropped before, because
/// the runtime of the caller who began it ends, must not count for ever.
#[derive(Debug)]
struct UnderWay(Option<Arc<Dialer>>);

impl UnderWay {
    fn over(mut self) {
        self.0 = None;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if let Some(dialer) = &self.0 {
            dialer.dock.abandoned();
        }
    }
}

/// What speaks against taking a node for what it should be, by its own greeting on this very
/// socket. `trusted` says that the deployment's nodes may not tell their role, `orphaned` that this
/// one may be read although it has lost its master.
fn judge(greeting: &Greeting, role: Role, trusted: bool, orphaned: bool) -> Option<String> {
    match (greeting.role, role) {
        (Some(is), should) if is != should => Some(format!("it is a {is}, not a {should}")),
        (Some(_), _) => match &greeting.detail {
            Some(RoleReply::Replica { state, .. }) if !orphaned => state
                .trouble()
                .map(|state| format!("its link to its master is {state}")),
            _ => None,
        },
        (None, _) if trusted => None,
        (None, _) => Some(greeting.silence()),
    }
}

fn connect_error(target: &Target, source: redis::RedisError) -> Error {
    Error::Connect {
        role: target.role,
        node: target.node.clone(),
        source,
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
fn with_source(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let more = cause.to_string();
        // An I/O error of the redis crate says itself what its cause says again.
        if !text.ends_with(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = cause.source();
    }
    text
}
