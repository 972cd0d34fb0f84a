//! A guard leaves its connection, which works, for one to another node.

use deadpool::managed::Object;
use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    exclusive::{
        connection::{Connection, lease::Wait},
        entry::Entry,
        manager,
    },
    node::Node,
    status::discard::Discard,
    wire::command::affinity::Affinity,
};

impl Connection {
    /// Whether there is an idle connection to a node that fits.
    pub(super) fn has_exchange(&self, fits: impl Fn(&Node) -> bool) -> bool {
        let pool = Object::pool(self.object());
        let fits = |idle: &Entry| fits(&idle.target.node);
        self.is_clean() && pool.is_some_and(|pool| manager::has_idle(&pool, fits))
    }

    /// Exchanges the connection for an idle one to a node that fits. Says whether there was one.
    pub(super) fn exchange(&mut self, fits: impl Fn(&Node) -> bool) -> bool {
        let Some(pool) = Object::pool(self.object()).filter(|_| self.is_clean()) else {
            return false;
        };
        let object = self.object.as_mut();
        let object = object.expect("BUG: a guard is used while it is being dropped");
        let exchanged = manager::exchange(&pool, object, |idle| fits(&idle.target.node));
        self.severed |= exchanged && self.used;
        exchanged
    }

    /// Closes the connection and takes a fresh one. The node table says to which node.
    pub(super) async fn leave(&mut self, until: Instant) -> RedisResult<()> {
        let wait = self.wait();
        let wait = Wait {
            until: wait.until.min(until),
            ..wait
        };
        let entry = self.entry_mut();
        if entry.is_open() {
            let reason = match entry.why_replaced() {
                reason @ (Discard::Broken | Discard::Cancelled) => reason,
                _ => Discard::Rebalance,
            };
            entry.close(reason);
        }
        self.replace_connection(Affinity::None, wait).await
    }

    /// Whether others may have the connection as it is.
    fn is_clean(&self) -> bool {
        let entry = self.entry();
        entry.is_open() && entry.dirt().is_none()
    }
}
