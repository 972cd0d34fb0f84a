//! A master that answers a `GETDEL` when it is told to, with the key. A `GET` would be sent again where
//! its connection is lost.

use std::sync::Arc;

use redis::{RedisResult, cmd};
use redis_rw_pool::{Config, Multiplexed, MultiplexedStatus, Pool};
use testkit::fake::{Action, Conn, FakeSentinel, FakeServer};
use tokio::task::JoinHandle;

use super::{SOON, bulk, eventually, node_with, sentinel_of, watched_by};

/// The node, a pool on it and its writer.
pub(crate) struct SilentMaster {
    pub(crate) node: FakeServer,
    pub(crate) pool: Pool,
    pub(crate) writer: Multiplexed,
    _sentinel: FakeSentinel,
}

impl SilentMaster {
    pub(crate) async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::with(change, |_, words| {
            (words[0] == "GETDEL").then_some(Action::Silence)
        })
        .await
    }

    /// As [`start`](Self::start), with a node that does what `special` says.
    pub(crate) async fn with(
        change: impl FnOnce(&mut Config),
        special: impl Fn(&Conn, &[String]) -> Option<Action> + Send + Sync + 'static,
    ) -> Self {
        let node = node_with(special);
        let sentinel = sentinel_of(node.port());
        let mut config = watched_by(&sentinel);
        change(&mut config);
        let pool = Pool::connect(config).await.unwrap();
        let writer = pool.writer();
        Self {
            node,
            pool,
            writer,
            _sentinel: sentinel,
        }
    }

    pub(crate) fn status(&self) -> MultiplexedStatus {
        self.pool.status().writer
    }

    /// A caller of its own, who asks for the value of `key`.
    pub(crate) fn get(&self, key: &str) -> JoinHandle<RedisResult<String>> {
        let (mut writer, get) = (self.writer.clone(), cmd("GETDEL").arg(key).to_owned());
        tokio::spawn(async move { get.query_async(&mut writer).await })
    }

    /// As [`get`](Self::get), returning when that caller stands in line.
    pub(crate) async fn get_in_line(&self, key: &str) -> JoinHandle<RedisResult<String>> {
        let before = self.status().waiting;
        let caller = self.get(key);
        self.waiting_is(before + 1).await;
        caller
    }

    /// The keys of all `GETDEL`s that arrived, in their order.
    pub(crate) fn arrived(&self) -> Vec<String> {
        let commands = self.node.commands().into_iter();
        let gets = commands.filter(|words| words[0] == "GETDEL");
        gets.map(|words| words[1].clone()).collect()
    }

    pub(crate) async fn arrived_are(&self, keys: &[&str]) {
        let what = format!("{keys:?} arrived and nothing else");
        eventually(&what, SOON, || async { self.arrived() == keys }).await;
    }

    pub(crate) async fn waiting_is(&self, count: usize) {
        let what = format!("{count} callers wait");
        eventually(&what, SOON, || async { self.status().waiting == count }).await;
    }

    /// The shared connections that carried a `GETDEL`, in the order in which they were made.
    pub(crate) fn lines(&self) -> Vec<Arc<Conn>> {
        let carries = |conn: &Arc<Conn>| conn.commands().iter().any(|words| words[0] == "GETDEL");
        let mut lines = self.node.connections();
        lines.retain(carries);
        lines
    }

    /// Answers a `GETDEL` for this key over the first of them.
    pub(crate) fn answer(&self, key: &str) {
        self.push(&bulk(key));
    }

    pub(crate) fn push(&self, bytes: &[u8]) {
        self.lines()[0].push(bytes).unwrap();
    }

    /// Nothing is on its way, and nobody waits.
    pub(crate) async fn at_rest(&self) {
        eventually("nothing is left over", SOON, || async {
            let status = self.status();
            (status.in_flight, status.waiting) == (0, 0)
        })
        .await;
    }
}
