//! The fence against writes on shared connections, in many orders that a scheduler may choose.
//!
//! Handles, maintainer, drivers, mux states and the topology's handle are the real ones. Nothing can be
//! dialled here: the connections are there from the beginning.
//!
//! It was seen to fail when the version is raised before its snapshot is in place, when the maintainer
//! does not open again what was held, when it is not told that a fence has ended which the driver saw
//! late, when the driver sleeps after it has stopped, and when connections are retired under their lock.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;
use redis::{RedisError, Value, aio::ConnectionLike};
use shuttle::future::JoinHandle;

use super::*;
use crate::{
    config::Config,
    error::PoolName,
    freshness::Shared,
    multiplexed::{Multiplexed, SharingPool},
    topology::Handle,
    util::{
        runtime::Runtime,
        schedule_model::{Socket, echo, explore_by_chance, go, serve, step, text},
    },
};

/// Room for anything, and for a command and a half.
const AMPLE: usize = 1000;
const TIGHT: usize = 30;

struct Owner(Arc<SharedConnections>);

impl SharingPool for Owner {
    fn shared_connections(&self, _: PoolName) -> &SharedConnections {
        &self.0
    }

    fn watches_calls(&self) -> bool {
        false
    }
}

struct Model {
    handle: Arc<Handle>,
    connections: Arc<SharedConnections>,
    /// The number of the fence that is up for certain; 0 when none is.
    up: Arc<AtomicUsize>,
    /// Until it goes on by itself.
    maintainer: Option<Maintainer>,
    drivers: Vec<JoinHandle<()>>,
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
    fn new(rooms: &[usize]) -> Self {
        let mut config = Config::new(["127.0.0.1"], "mymaster");
        config.multiplexed.connections = 1;
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
        let connections = Arc::new(SharedConnections::new(Arc::new(role_pool)));
        let mut model = Self {
            handle,
            maintainer: Some(Maintainer::new(Arc::clone(&connections))),
            connections,
            up: Arc::default(),
            drivers: Vec::new(),
            servers: Vec::new(),
        };
        for room in rooms {
            model.open(*room);
        }
        model
    }

    /// A connection to the current master.
    fn open(&mut self, room: usize) {
        let target = self.handle.snapshot().targets(None).remove(0);
        let seen = Arc::new(Mutex::new(Admission::Open));
        let look = {
            let (seen, up) = (Arc::clone(&seen), Arc::clone(&self.up));
            let mut admission = admission(Arc::clone(&self.connections), target.clone());
            move || {
                let before = up.load(SeqCst);
                let admission = admission();
                let fenced = before != 0 && up.load(SeqCst) == before;
                assert!(!fenced || admission != Admission::Open, "overlooked");
                *seen.lock() = admission;
                // Before the driver takes its turn with it.
                step();
                admission
            }
        };
        let socket = Socket::witnessed(room, move || {
            assert_eq!(*seen.lock(), Admission::Open, "written all the same");
        });
        let server = serve(socket.wire());
        let limits = self.connections.role_pool.config.multiplexed;
        let (mux, driver) = Mux::open(socket.connection(), limits, look);
        let connections = Arc::clone(&self.connections);
        self.drivers.push(go(step, async move {
            assert_eq!(driver.await, Ok(()));
            connections.ended.notify_one();
        }));
        self.servers.push(go(step, server));
        let hint = self.connections.role_pool.freshness.node(&target.node);
        self.maintainer().open.push(Arc::new(SharedConnection {
            mux,
            target,
            hint,
            edition: Edition::default(),
            login: 0,
            peer_addr: None,
            why: OnceLock::new(),
        }));
    }

    fn maintainer(&mut self) -> &mut Maintainer {
        self.maintainer
            .as_mut()
            .expect("it does not go on by itself")
    }

    fn settle(&mut self) {
        let snapshot = self.handle.snapshot();
        self.maintainer().maintain(&snapshot);
        step();
    }

    fn keep(&mut self) {
        let maintainer = self.maintainer.take().expect("it does so once");
        drop(go(step, maintainer.run()));
    }

    fn call(&self, word: usize) -> JoinHandle<Result<Value, RedisError>> {
        let mut writer = Multiplexed::new(
            Arc::new(Owner(Arc::clone(&self.connections))),
            PoolName::Write,
        );
        go(
            step,
            async move { writer.req_packed_command(&echo(word)).await },
        )
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

    /// Gives what each server was told.
    async fn end(self) -> Vec<Vec<String>> {
        self.connections.close();
        let mut heard = Vec::new();
        for driver in self.drivers {
            driver.await.unwrap();
        }
        for server in self.servers {
            heard.push(server.await.unwrap());
        }
        heard
    }
}

#[test]
fn a_fence_that_is_lifted_holds_nobody_up_and_loses_nothing() {
    explore_by_chance(|| async {
        let mut model = Model::new(&[AMPLE]);
        model.keep();
        let calls = [0, 1].map(|word| model.call(word));
        for fence in [1, 2] {
            model.raise(fence);
            model.lift(1);
        }
        let late = model.call(2);
        for (word, call) in calls.into_iter().chain([late]).enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        let heard = model.end().await.concat();
        assert_eq!(heard.len(), 3);
    });
}

/// The connection then leaves, and a spare one takes over.
#[test]
fn a_fence_in_the_middle_of_a_command_loses_that_one_only() {
    explore_by_chance(|| async {
        let mut model = Model::new(&[TIGHT, AMPLE]);
        model.keep();
        let calls = [0, 1, 2].map(|word| model.call(word));
        model.raise(1);
        model.lift(1);
        let mut ended = Vec::new();
        for call in calls {
            ended.push(call.await.unwrap());
        }
        let heard = model.end().await.concat();
        for (word, end) in ended.iter().enumerate() {
            let told = heard.iter().filter(|heard| **heard == word.to_string());
            match (end, told.count()) {
                (Ok(reply), 1) => assert_eq!(*reply, text(word)),
                (Err(error), 0) => assert!(error.to_string().contains("unknown"), "{error}"),
                odd => panic!("{odd:?}"),
            }
        }
        assert!(ended.iter().filter(|end| end.is_err()).count() <= 1);
    });
}

#[test]
fn when_the_master_moves_each_command_is_executed_once_on_one_of_the_two() {
    explore_by_chance(|| async {
        let mut model = Model::new(&[AMPLE]);
        let calls = [0, 1].map(|word| model.call(word));
        model.settle();
        model.raise(1);
        model.settle();
        model.lift(2);
        model.open(AMPLE);
        let late = model.call(2);
        model.settle();
        for (word, call) in calls.into_iter().chain([late]).enumerate() {
            assert_eq!(call.await.unwrap(), Ok(text(word)));
        }
        let heard = model.end().await;
        assert!(heard[1].contains(&"2".to_owned()), "{heard:?}");
        let mut all = heard.concat();
        all.sort();
        assert_eq!(all, ["0", "1", "2"]);
    });
}
