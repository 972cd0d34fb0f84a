//! The tests of `session::cancel_calls` that need no redis-server.

use std::time::Duration;

use redis::{AsyncCommands, RedisResult, Value};
use redis_rw_pool::{Config, Pool};
use testkit::fake::{self, FakeNode, FakeSentinel, NodeRole, SentinelView};

use super::super::cancel_calls::{Cut, at_every_point};
use crate::support::{LONG, PROBE, alive_tasks, eventually, local, tasks_are_back_to};

/// Two nodes that take turns as the master, and a Sentinel that says which.
struct Turns {
    nodes: [FakeNode; 2],
    sentinel: FakeSentinel,
    pool: Pool,
    epoch: u64,
}

impl Turns {
    async fn start() -> Self {
        let nodes = [NodeRole::Master, NodeRole::Master].map(fake::node);
        let sentinel = fake::sentinel(SentinelView::of_master(nodes[0].port()));
        let mut config = Config::new([sentinel.addr()], "mymaster");
        config.refresh_interval = Duration::from_millis(200);
        config.connect_timeout = Duration::from_secs(10);
        config.failover_timeout = LONG;
        // A guard that loses its place would wait for itself.
        config.write.max_active = 1;
        let pool = Pool::connect(config).await.unwrap();
        Self {
            nodes,
            sentinel,
            pool,
            epoch: 0,
        }
    }

    fn master(&self) -> &FakeNode {
        &self.nodes[usize::from(self.epoch % 2 == 1)]
    }

    async fn is_master(&self) {
        let master = Some(local(self.master().port()));
        eventually("the pool has followed", LONG, || async {
            let topology = self.pool.topology();
            topology.master == master && topology.fence.is_none()
        })
        .await;
    }

    async fn fence(&self) {
        let flags = "master,failover_in_progress";
        self.sentinel.update(|view| view.flags = flags.to_owned());
        self.pool.refresh().await.unwrap();
        eventually("the fence is up", LONG, || async {
            self.pool.topology().fence.is_some()
        })
        .await;
    }

    /// The failover ends, with the other master or the same.
    fn end(&mut self, another: bool) {
        self.epoch += u64::from(another);
        let (port, epoch) = (self.master().port(), self.epoch);
        self.sentinel.update(|view| {
            view.flags = "master".to_owned();
            (view.master.1, view.epoch) = (port, epoch);
        });
    }

    /// The pool has exactly its one connection, to the master, and it is free.
    async fn is_conserved(&self) {
        let conn = tokio::time::timeout(LONG, self.pool.write()).await;
        let mut conn = conn.expect("the place is free").unwrap();
        let () = conn.set("k", "v").await.unwrap();
        assert_eq!(conn.node().port(), self.master().port());
        drop(conn);
        eventually("every connection is accounted for", LONG, || async {
            let status = self.pool.status();
            let shared = status.writer.connections;
            let open = |node: &FakeNode| node.open_connections();
            (status.write.active, status.write.idle) == (1, 1)
                && status.write.created == 1 + status.write.discards.total()
                && (status.writer.in_flight, status.writer.waiting) == (0, 0)
                && self.nodes.iter().map(open).sum::<usize>() == 1 + shared + PROBE
                && open(self.master()) == 1 + shared + PROBE
        })
        .await;
    }
}

/// Waits until the call waits for the fence, as far as it gets at all.
async fn under_way(cut: Cut) {
    for _ in 0..10 * cut.polls.min(1) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_command_of_a_guard_may_be_dropped_while_it_waits_for_the_next_master() {
    for another in [false, true] {
        let mut turns = Turns::start().await;
        turns.is_conserved().await;
        let base = alive_tasks();
        at_every_point("a command under the fence", async |cut| {
            let mut conn = turns.pool.write().await.unwrap();
            turns.fence().await;
            let call = async {
                let set: RedisResult<Value> = conn.set("k", cut.polls).await;
                set
            };
            let end = async {
                under_way(cut).await;
                turns.end(another);
            };
            let (outcome, ()) = tokio::join!(cut.short(call), end);
            drop(conn);
            turns.is_master().await;
            turns.is_conserved().await;
            outcome.map(Result::unwrap).is_some()
        })
        .await;
        tasks_are_back_to(base).await;
    }
}

#[tokio::test]
async fn a_command_of_a_handle_may_be_dropped_while_it_waits_for_the_next_master() {
    for another in [false, true] {
        let mut turns = Turns::start().await;
        let () = turns.pool.writer().set("k", "v").await.unwrap();
        turns.is_conserved().await;
        let base = alive_tasks();
        at_every_point("a shared command under the fence", async |cut| {
            turns.fence().await;
            let mut writer = turns.pool.writer();
            let call = async {
                let set: RedisResult<Value> = writer.set("k", cut.polls).await;
                set
            };
            let end = async {
                under_way(cut).await;
                turns.end(another);
            };
            let (outcome, ()) = tokio::join!(cut.short(call), end);
            turns.is_master().await;
            let () = turns.pool.writer().set("k", "v").await.unwrap();
            turns.is_conserved().await;
            outcome.map(Result::unwrap).is_some()
        })
        .await;
        tasks_are_back_to(base).await;
    }
}

#[tokio::test]
async fn a_checkout_may_be_dropped_while_there_is_no_master() {
    let mut turns = Turns::start().await;
    turns.is_conserved().await;
    let base = alive_tasks();
    at_every_point("a checkout without a master", async |cut| {
        // The old one is a replica now, and nobody has taken its place.
        let old = usize::from(turns.epoch % 2 == 1);
        let role = NodeRole::replica_of(turns.nodes[1 - old].port());
        turns.nodes[old].set_role(role);
        turns.nodes[old].close_connections();
        turns.pool.refresh().await.unwrap();
        eventually("its connections are gone", LONG, || async {
            turns.pool.status().write.active == 0
        })
        .await;
        let pool = turns.pool.clone();
        let end = async {
            under_way(cut).await;
            turns.end(true);
        };
        let (outcome, ()) = tokio::join!(cut.short(pool.write()), end);
        let done = outcome.map(Result::unwrap).map(drop).is_some();
        turns.nodes[old].set_role(NodeRole::Master);
        turns.is_master().await;
        turns.is_conserved().await;
        done
    })
    .await;
    tasks_are_back_to(base).await;
}
