//! Keeps the connections that the multiplexed handles of one role share: one, or a few, to every
//! node that the role may use.
//!
//! A task of its own dials what is missing and retires what is not wanted any more, and publishes
//! what is there as a snapshot. It rests until the first command asks for a connection; from then on
//! it keeps connections ready, so that a command after a failover finds one.

#[cfg(test)]
mod model;

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult};
use tokio::{
    sync::{Notify, watch},
    task::{self, JoinError, JoinSet},
    time::Instant,
};

use crate::{
    error::reply_class::ReplyClass,
    error::{
        Error,
        failure::{Cause, Failure, Fate, Peer},
    },
    node::{Node, Role},
    role_pool::{RolePool, connect},
    status::MultiplexedStatus,
    topology::{Target, Topology, admission::Admission},
    wire::{connection::WireConnection, mux::Mux},
};

/// A connection that is lost sooner than this is not dialled again at once: a server may take
/// connections only to close them.
const YOUNG: Duration = Duration::from_secs(1);

/// A shared connection and its target.
#[derive(Debug)]
pub(crate) struct SharedConnection {
    pub(crate) shared: Arc<Mux>,
    pub(crate) target: Target,
}

/// The connections there are, at one moment.
#[derive(Debug, Default)]
pub(crate) struct ConnectionSet {
    pub(crate) open: Vec<Arc<SharedConnection>>,
    /// What the last dial met, while there is no connection.
    trouble: Option<Error>,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct SharedConnections {
    role_pool: Arc<RolePool>,
    lines: watch::Sender<Arc<ConnectionSet>>,
    /// Somebody wants a connection.
    wanted: Notify,
    /// A connection has ended.
    ended: Notify,
    created: AtomicU64,
}

impl SharedConnections {
    pub(crate) fn new(role_pool: Arc<RolePool>) -> Self {
        Self {
            role_pool,
            lines: watch::Sender::default(),
            wanted: Notify::new(),
            ended: Notify::new(),
            created: AtomicU64::new(0),
        }
    }

    pub(crate) fn role_pool(&self) -> &Arc<RolePool> {
        &self.role_pool
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<ConnectionSet>> {
        self.lines.subscribe()
    }

    /// Waits until there are other connections than those that the caller has seen, which were of no
    /// use. `since` is when it began to wait.
    pub(crate) async fn wait(
        &self,
        lines: &mut watch::Receiver<Arc<ConnectionSet>>,
        since: Instant,
        acquire_timeout: Duration,
    ) -> RedisResult<()> {
        self.wanted.notify_one();
        loop {
            if let Some(error) = self.hopeless(&lines.borrow_and_update()) {
                return Err(error.into());
            }
            if lines.borrow().open.iter().any(|line| line.shared.is_open()) {
                return Ok(());
            }
            let changed = tokio::time::timeout_at(since + acquire_timeout, lines.changed()).await;
            if !matches!(changed, Ok(Ok(()))) {
                let trouble = lines.borrow().trouble.clone();
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

    /// Why waiting for a connection is in vain.
    fn hopeless(&self, lines: &ConnectionSet) -> Option<Error> {
        if lines.closed {
            return Some(self.role_pool.ending());
        }
        let trouble = lines.trouble.as_ref()?;
        self.role_pool.is_final(trouble).then(|| trouble.clone())
    }

    /// Acts on what a reply says about the node that sent it.
    pub(crate) fn report(&self, doubt: ReplyClass, line: &SharedConnection) {
        // Many replies may say the same at once, and it is one failure.
        if doubt.retires(line.target.role) && line.shared.retire() {
            self.role_pool.node_table.failed(&line.target.node);
            self.ended.notify_one();
        }
        self.role_pool.report(doubt, &line.target);
    }

    pub(crate) fn status(&self) -> MultiplexedStatus {
        let lines = self.lines.borrow().clone();
        let shared = || lines.open.iter().map(|line| &line.shared);
        MultiplexedStatus {
            connections: shared().filter(|shared| !shared.is_leaving()).count(),
            in_flight: shared().map(|shared| shared.in_flight()).sum(),
            waiting: shared().map(|shared| shared.waiting()).sum(),
            created: self.created.load(Relaxed),
        }
    }

    /// Nothing is sent any more; what was sent is still answered.
    pub(crate) fn close(&self) {
        let lines = self.lines.send_replace(Arc::new(ConnectionSet {
            closed: true,
            ..ConnectionSet::default()
        }));
        retire(&lines.open);
    }

    /// Publishes what there is now, unless the pool was closed meanwhile.
    fn publish(&self, open: &[Arc<SharedConnection>], trouble: Option<Error>) {
        let published = self.lines.send_if_modified(|lines| {
            if !lines.closed {
                *lines = Arc::new(ConnectionSet {
                    open: open.to_vec(),
                    trouble,
                    closed: false,
                });
            }
            !lines.closed
        });
        if !published {
            retire(open);
        }
    }

    /// Keeps connections ready, from when the first is wanted on.
    pub(crate) async fn run(self: Arc<Self>) {
        self.wanted.notified().await;
        Maintainer::new(self).run().await;
    }
}

fn retire(lines: &[Arc<SharedConnection>]) {
    for line in lines {
        line.shared.retire();
    }
}

type Dialled = (Target, Result<WireConnection, Error>);

/// What the task of a [`SharedConnections`] owns.
#[derive(Debug)]
struct Maintainer {
    connections: Arc<SharedConnections>,
    lines: Vec<Arc<SharedConnection>>,
    dials: JoinSet<Dialled>,
    /// The node of each dial.
    under_way: HashMap<task::Id, Node>,
    trouble: Option<Error>,
}

impl Maintainer {
    fn new(connections: Arc<SharedConnections>) -> Self {
        Self {
            connections,
            lines: Vec::new(),
            dials: JoinSet::new(),
            under_way: HashMap::new(),
            trouble: None,
        }
    }

    async fn run(mut self) {
        let connections = Arc::clone(&self.connections);
        let mut topology = connections.role_pool.topology.subscribe();
        loop {
            let snapshot = Arc::clone(&topology.borrow_and_update());
            self.settle(&snapshot);
            tokio::select! {
                changed = topology.changed() => if changed.is_err() { return },
                Some(dialled) = self.dials.join_next_with_id(), if !self.dials.is_empty() => {
                    self.dialled(dialled);
                }
                () = connections.ended.notified() => {}
            }
        }
    }

    /// Retires the connections that are not wanted any more, and dials those that are missing.
    fn settle(&mut self, topology: &Topology) {
        let role_pool = &self.connections.role_pool;
        let targets = topology.targets(role_pool.policy());
        self.lines.retain(|line| {
            let wanted = targets.contains(&line.target);
            if !wanted {
                line.shared.retire();
            }
            wanted && !line.shared.is_leaving()
        });
        for line in &self.lines {
            match role_pool.admission(&line.target) {
                Admission::Open => line.shared.reopen(),
                _ => line.shared.nudge(),
            }
        }
        for target in &targets {
            let lines = self.lines.iter();
            let have = lines.filter(|line| line.target == *target).count();
            let dials = self.under_way.values();
            let under_way = dials.filter(|node| **node == target.node).count();
            for _ in have + under_way..role_pool.config.multiplexed.connections {
                let node = target.node.clone();
                let (role_pool, target) = (Arc::clone(role_pool), target.clone());
                let dial = self
                    .dials
                    .spawn(self.connections.role_pool.runtime.count(async move {
                        let dialled = connect::attempt(&role_pool, &target).await;
                        (target, dialled)
                    }));
                self.under_way.insert(dial.id(), node);
            }
        }
        if !self.lines.is_empty() {
            self.trouble = None;
        } else if targets.is_empty() {
            self.trouble = Some(role_pool.nowhere_to_go());
        }
        self.connections.publish(&self.lines, self.trouble.clone());
    }

    fn dialled(&mut self, dialled: Result<(task::Id, Dialled), JoinError>) {
        let id = match &dialled {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        self.under_way.remove(&id);
        match dialled {
            Ok((_, (target, Ok(connection)))) => self.open(connection, target),
            Ok((_, (_, Err(error)))) => self.trouble = Some(error),
            // It panicked, which has been printed.
            Err(_) => {}
        }
    }

    fn open(&mut self, connection: WireConnection, target: Target) {
        let connections = Arc::clone(&self.connections);
        let limits = connections.role_pool.config.multiplexed;
        let current = admission(Arc::clone(&connections), target.clone());
        let (shared, driver) = Mux::open(connection, limits, current);
        connections.created.fetch_add(1, Relaxed);
        self.lines.push(Arc::new(SharedConnection {
            shared,
            target: target.clone(),
        }));
        let born = Instant::now();
        let runtime = Arc::clone(&connections.role_pool.runtime);
        runtime.spawn(async move {
            if let Err(cause) = driver.await {
                if born.elapsed() < YOUNG {
                    connections.role_pool.node_table.failed(&target.node);
                }
                match cause {
                    Cause::Timeout(within) => {
                        connections.role_pool.topology.silence(&target.node, within)
                    }
                    _ => connections.role_pool.topology.suspect(&target.node),
                }
            }
            connections.ended.notify_one();
        });
    }
}

/// What may be done on a connection to this target; one atomic load while the topology does not
/// change.
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
        // The maintainer may have looked before the driver had stopped, and must look again.
        if mem::replace(&mut fenced, admission == Admission::Fenced) && !fenced {
            connections.ended.notify_one();
        }
        admission
    }
}
