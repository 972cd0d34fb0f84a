//! A callback of the caller that panics costs what it was called for, and nothing else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use redis_rw_pool::{AddressMap, Config, Node, Pool, redis::AsyncCommands};
use testkit::fake::{self, FakeNode, FakeSentinel, NodeRole, SentinelView};

use crate::support::{
    LONG, alive_tasks, chain, eventually, local, sentinel_with_id, tasks_are_back_to,
};

/// A map that changes nothing and panics while it is told to.
#[derive(Clone, Default)]
struct Trap {
    set: Arc<AtomicBool>,
    sprung: Arc<AtomicUsize>,
}

impl Trap {
    fn map(&self, victim: impl Fn(&Node) -> bool + Send + Sync + 'static) -> AddressMap {
        let trap = self.clone();
        AddressMap::new(move |node| {
            if trap.set.load(SeqCst) && victim(node) {
                trap.sprung.fetch_add(1, SeqCst);
                // A panic that prints nothing.
                std::panic::resume_unwind(Box::new("the map panics"));
            }
            node.clone()
        })
    }

    fn sprung(&self) -> usize {
        self.sprung.load(SeqCst)
    }

    async fn springs(&self, times: usize) {
        let wanted = self.sprung() + times;
        eventually("the map panics", LONG, || async { self.sprung() >= wanted }).await;
    }
}

fn deployment() -> (FakeNode, FakeNode, FakeSentinel) {
    let master = fake::node(NodeRole::Master);
    let replica = fake::node(NodeRole::replica_of(master.port()));
    let view = SentinelView::of_master(master.port()).with_replica(replica.port());
    (master, replica, fake::sentinel(view))
}

fn config(sentinel: &FakeSentinel) -> Config {
    let mut config = Config::new([sentinel.addr()], "mymaster");
    // So long does a call try that gets nowhere.
    config.connect_timeout = Duration::from_secs(2);
    config.failover_timeout = Duration::from_secs(2);
    config.refresh_interval = Duration::from_millis(200);
    config.write.max_active = 2;
    config.read.max_active = 2;
    config
}

async fn everything_works(pool: &Pool, master: &FakeNode, replica: &FakeNode) {
    eventually("all four ways to the nodes work", LONG, || async {
        let (mut writer, mut reader) = (pool.writer(), pool.reader());
        let (Ok(mut write), Ok(mut read)) = (pool.write().await, pool.read().await) else {
            return false;
        };
        (write.node(), read.node()) == (local(master.port()), local(replica.port()))
            && write.set::<_, _, ()>("k", "v").await.is_ok()
            && read.get::<_, Option<String>>("k").await.is_ok()
            && writer.set::<_, _, ()>("k", "v").await.is_ok()
            && reader.get::<_, Option<String>>("k").await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn an_address_map_that_panics_costs_dials_and_nothing_else() {
    let (master, replica, sentinel) = deployment();
    let trap = Trap::default();
    let mut config = config(&sentinel);
    config.address_map = Some(trap.map(|_| true));
    let pool = Pool::connect(config).await.unwrap();
    everything_works(&pool, &master, &replica).await;
    let base = alive_tasks();

    for round in 0..2 {
        trap.set.store(true, SeqCst);
        for node in [&master, &replica] {
            node.close_connections();
        }
        // Background tasks meet it too: those that look at the nodes, and those that dial.
        trap.springs(2).await;
        let (mut writer, mut reader) = (pool.writer(), pool.reader());
        let (write, read, set, get) = tokio::join!(
            pool.write(),
            pool.read(),
            writer.set::<_, _, ()>("k", "v"),
            reader.get::<_, Option<String>>("k"),
        );
        let errors = [
            chain(&write.unwrap_err()),
            chain(&read.unwrap_err()),
            chain(&set.unwrap_err()),
            chain(&get.unwrap_err()),
        ];
        for text in errors {
            assert!(text.contains("the address map panicked"), "{round}: {text}");
        }

        trap.set.store(false, SeqCst);
        everything_works(&pool, &master, &replica).await;
        let status = pool.status();
        for side in [&status.write, &status.read] {
            assert_eq!(side.waiting, 0, "{round}: {side:?}");
            assert_eq!(side.active, side.idle, "{round}: {side:?}");
        }
        // All places are there to be taken.
        let lent = [
            pool.write().await,
            pool.write().await,
            pool.read().await,
            pool.read().await,
        ];
        assert!(lent.iter().all(Result::is_ok), "{round}: {lent:?}");
    }
    tasks_are_back_to(base).await;
}

#[tokio::test]
async fn a_panic_while_a_node_is_probed_does_not_hide_the_next_failover() {
    let (old, new, sentinel) = deployment();
    let trap = Trap::default();
    let mut config = config(&sentinel);
    config.address_map = Some(trap.map(|_| true));
    let pool = Pool::connect(config).await.unwrap();
    everything_works(&pool, &old, &new).await;
    trap.set.store(true, SeqCst);
    for node in [&old, &new] {
        node.close_connections();
    }
    trap.springs(3).await;
    trap.set.store(false, SeqCst);

    new.set_role(NodeRole::Master);
    old.set_role(NodeRole::replica_of(new.port()));
    let mut view = SentinelView::of_master(new.port()).with_replica(old.port());
    view.epoch = 1;
    sentinel.set(view);
    everything_works(&pool, &new, &old).await;
}

#[tokio::test]
async fn a_panic_over_the_address_of_a_learned_sentinel_costs_that_sentinel_alone() {
    let (old, new, seed) = deployment();
    let other = sentinel_with_id(seed.view());
    let learned = other.port();
    let trap = Trap::default();
    trap.set.store(true, SeqCst);
    let mut config = config(&seed);
    config.address_map = Some(trap.map(move |node| node.port() == learned));
    let pool = Pool::connect(config).await.unwrap();
    everything_works(&pool, &old, &new).await;
    seed.update(|view| *view = view.clone().with_sentinel(learned));
    trap.springs(1).await;

    // The task that follows the topology has survived it.
    new.set_role(NodeRole::Master);
    old.set_role(NodeRole::replica_of(new.port()));
    seed.update(|view| {
        let mut next = SentinelView::of_master(new.port())
            .with_replica(old.port())
            .with_sentinel(learned);
        (next.epoch, next.id) = (1, view.id.clone());
        *view = next;
    });
    everything_works(&pool, &new, &old).await;
    assert_eq!(pool.status().sentinel.known, 1);

    trap.set.store(false, SeqCst);
    eventually("it is learned when the map works", LONG, || async {
        pool.status().sentinel.known == 2
    })
    .await;
}
