//! Guards, returns and prunes against changes of the topology, in many orders that a scheduler may
//! choose.
//!
//! Pool, guards, wait queue and the topology's handle are the real ones. Nothing can be dialled here: a
//! connection arrives at the wait queue as if it had been. deadpool runs as one step between two awaits.
//!
//! It was seen to fail when a connection under a fence counts as vetted, when the version is raised
//! before its snapshot is in place, when no generation is compared, and when a prune that began
//! before the topology changed judges what came after. It does not find a guard that begins to
//! listen for the end of a fence only after it has checked: no other task can run between the two.

use std::{
    ops::Range,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
};

use redis::aio::ConnectionLike;
use shuttle::future::JoinHandle;

use super::*;
use crate::{
    config::Config,
    freshness::Shared,
    node::Node,
    role_pool::RolePool,
    topology::{Handle, Topology},
    util::{
        runtime::Runtime,
        schedule_model::{Socket, echo, explore, go, serve, step, text},
    },
};

const AMPLE: usize = 1000;

/// The wait queue wakes those in line under its lock.
fn no_step() {}

struct Model {
    handle: Arc<Handle>,
    role_pool: Arc<RolePool>,
    side: ExclusivePool,
    /// The number of the fence that is up for certain; 0 when none is.
    up: Arc<AtomicUsize>,
    /// The fence that was up when the command began that is on its way.
    begun_under: Arc<AtomicUsize>,
    servers: Vec<JoinHandle<Vec<String>>>,
}

fn topology(master: u16, fence: Option<&str>) -> Topology {
    Topology {
        master: Some(Node::new("127.0.0.1", master)),
        master_since: master.into(),
        fence: fence.map(str::to_owned),
        ..Topology::default()
    }
}

impl Model {
    fn new(max_active: usize) -> Self {
        let mut config = Config::new(["127.0.0.1"], "mymaster");
        config.write.max_active = max_active;
        let handle = Arc::new(Handle::new());
        handle.publish(topology(1, None));
        let runtime = Runtime::current();
        let config = Arc::new(config);
        let freshness = Shared::new(
            Arc::clone(&config),
            Arc::clone(&handle),
            Arc::clone(&runtime),
        );
        let role_pool = RolePool::new(
            PoolName::Write,
            config,
            Arc::clone(&handle),
            Arc::default(),
            runtime,
            Arc::default(),
            Arc::new(freshness),
        );
        let role_pool = Arc::new(role_pool);
        Self {
            side: ExclusivePool::new(Arc::clone(&role_pool)),
            handle,
            role_pool,
            up: Arc::default(),
            begun_under: Arc::default(),
            servers: Vec::new(),
        }
    }

    /// A dial to the current master has ended.
    fn bring(&mut self) {
        let target = self.handle.snapshot().targets(None).remove(0);
        let (up, begun_under) = (Arc::clone(&self.up), Arc::clone(&self.begun_under));
        let socket = Socket::witnessed(AMPLE, move || {
            let fence = begun_under.load(SeqCst);
            let lifted = up.load(SeqCst) != fence;
            assert!(fence == 0 || lifted, "written under the fence");
        });
        self.servers.push(go(no_step, serve(socket.wire())));
        self.side.dialer().bring(socket.connection(), target);
        step();
    }

    fn raise(&self, fence: usize) {
        self.handle.publish(topology(1, Some("a sign")));
        self.up.store(fence, SeqCst);
        step();
    }

    fn lift(&self, master: u16) {
        self.up.store(0, SeqCst);
        self.handle.publish(topology(master, None));
        step();
    }

    /// Does as the reaper does when the topology has changed.
    fn reap(&self) -> JoinHandle<()> {
        let (side, role_pool) = (self.side.clone(), Arc::clone(&self.role_pool));
        let mut changes = self.handle.subscribe();
        go(no_step, async move {
            while changes.changed().await.is_ok() {
                let targets = role_pool.allowed();
                side.prune(|entry| {
                    (!targets.contains(&entry.target)).then(|| role_pool.departed())
                });
                side.feed();
            }
        })
    }

    /// Sends these words over one connection, and gives it back.
    fn borrow(&self, words: Range<usize>) -> JoinHandle<()> {
        let side = self.side.clone();
        let (up, begun_under) = (Arc::clone(&self.up), Arc::clone(&self.begun_under));
        go(no_step, async move {
            let mut conn = side.checkout().await.unwrap();
            for word in words {
                begun_under.store(up.load(SeqCst), SeqCst);
                let reply = conn.req_packed_command(&echo(word)).await;
                assert_eq!(reply, Ok(text(word)));
            }
        })
    }

    /// All connections have been returned. Checks that exactly `max_active` can be lent, all to the
    /// current master. Returns what the servers were told.
    async fn end(self, max_active: usize) -> Vec<String> {
        let mut lent = Vec::new();
        for _ in 0..max_active {
            lent.push(self.side.checkout().await.unwrap());
        }
        let master = self.handle.snapshot().master.clone();
        assert!(lent.iter().all(|conn| Some(conn.node()) == master));
        let status = self.side.status();
        assert_eq!((status.active, status.idle), (max_active, 0), "{status:?}");
        let mut beyond = Box::pin(self.side.checkout());
        let polled = once(|cx| beyond.as_mut().poll(cx)).await;
        assert!(polled.is_pending(), "one more was lent: {polled:?}");
        drop((beyond, lent));
        self.side.close();
        assert_eq!(self.side.status().active, 0);
        let mut heard = Vec::new();
        for server in self.servers {
            heard.append(&mut server.await.unwrap());
        }
        heard
    }
}

#[test]
fn a_guard_writes_nothing_under_a_fence_and_goes_on_when_it_is_lifted() {
    explore(|| async {
        let mut model = Model::new(1);
        model.bring();
        let reaper = model.reap();
        let caller = model.borrow(0..3);
        for fence in [1, 2] {
            model.raise(fence);
            model.lift(1);
        }
        caller.await.unwrap();
        reaper.abort();
        assert_eq!(model.end(1).await, ["0", "1", "2"]);
    });
}

/// With one place in the pool, so that nobody but the guard itself can have made room.
#[test]
fn a_guard_goes_on_at_the_new_master_in_its_own_place() {
    explore(|| async {
        let mut model = Model::new(1);
        model.bring();
        let reaper = model.reap();
        let caller = model.borrow(0..2);
        model.raise(1);
        model.lift(2);
        model.bring();
        caller.await.unwrap();
        reaper.abort();
        let mut heard = model.end(1).await;
        heard.sort();
        assert_eq!(heard, ["0", "1"]);
    });
}

#[test]
fn no_connection_from_before_the_change_is_lent_after_it_and_none_costs_a_permit() {
    explore(|| async {
        let mut model = Model::new(2);
        model.bring();
        model.bring();
        let moved = Arc::new(AtomicUsize::new(0));
        let reaper = model.reap();
        let callers = [(); 3].map(|()| {
            let (side, moved) = (model.side.clone(), Arc::clone(&moved));
            go(no_step, async move {
                let before = moved.load(SeqCst) == 1;
                let conn = side.checkout().await.unwrap();
                assert!(!before || conn.node().port() == 2, "an old one was lent");
                step();
            })
        });
        model.lift(2);
        moved.store(1, SeqCst);
        step();
        model.bring();
        model.bring();
        for caller in callers {
            caller.await.unwrap();
        }
        reaper.abort();
        model.end(2).await;
    });
}
