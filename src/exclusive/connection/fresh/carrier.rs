//! Takes a read to nodes over the connection of a guard, and over others of the same pool in its place.

use std::sync::Arc;

use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    exclusive::connection::Connection,
    freshness::{
        Shared,
        pursuit::Pursuit,
        reading::{Carrier, Nodes, Route, Served},
    },
    multiplexed::{Multiplexed, SharingPool},
    node::{Node, Role},
    retry::request::{Askable, positioned::Positioned},
    role_pool::RolePool,
    status::freshness::count,
    wire::{
        command::affinity::Affinity,
        position_question::{self, Want},
    },
};

pub(super) struct Guard<'a, R> {
    pub(super) connection: &'a mut Connection,
    pub(super) request: R,
    pub(super) pool: Arc<dyn SharingPool>,
    pub(super) until: Instant,
    /// What the read proves is needed over this guard, so no other connection serves it.
    pub(super) stays: bool,
    /// It was sent before, to a node that was behind.
    pub(super) was_sent: bool,
}

impl<R: Askable> Carrier<R> for Guard<'_, R> {
    async fn send(&mut self, want: Want, route: Route<'_>) -> RedisResult<Served<R::Reply>> {
        match route {
            Route::Any => {}
            Route::For(pursuit) => self.exchange_for(pursuit),
            Route::Node(node) => self.go_to(node).await?,
        }
        let request = self.request;
        self.count_attempt();
        let placed = self.connection.send(Positioned { request, want }).await?;
        let target = self.connection.target().clone();
        Ok(Served {
            hint: self.role_pool().freshness.node(&target.node),
            target,
            placed,
        })
    }

    async fn send_to_master(&mut self, want: Want) -> RedisResult<Served<R::Reply>> {
        if !self.stays && self.request.is_portable() {
            let pool = Arc::clone(&self.pool);
            self.count_attempt();
            let served = Multiplexed::send_to_master(pool, self.request, want).await?;
            if self.connection.watched
                && let Some(ask) = &self.connection.ask
            {
                *ask.elsewhere.lock() = Some(served.target.node.clone());
            }
            return Ok(served);
        }
        let master = self.role_pool().topology.snapshot().master.clone();
        let node = master.unwrap_or_else(|| self.connection.node());
        self.send(want, Route::Node(&node)).await
    }

    fn can_reach_master(&self) -> bool {
        let is_portable = !self.stays && self.request.is_portable();
        let leads_there = || {
            let mut targets = self.role_pool().allowed().into_iter();
            targets.any(|target| target.role == Role::Master)
        };
        self.is_movable() && (is_portable || leads_there())
    }

    fn other_suggests(&self, pursuit: &Pursuit) -> bool {
        let shared = &self.role_pool().freshness;
        let suggests = |node: &Node| suggests(shared, node, pursuit);
        self.is_movable() && self.connection.has_exchange(suggests)
    }

    async fn first_that_has_it(&mut self, nodes: &Nodes, pursuit: &Pursuit) -> Option<Node> {
        // Where there are no shared connections yet, there are some from the next round on.
        if self.is_movable() && !nodes.line.nodes().is_empty() {
            return nodes.first_that_has_it(pursuit).await;
        }
        let own = self.connection.node();
        self.has_it(pursuit).await.then_some(own)
    }
}

impl<R: Askable> Guard<'_, R> {
    fn count_attempt(&mut self) {
        let again = u32::from(std::mem::replace(&mut self.was_sent, true));
        self.connection.again = self.connection.again.saturating_add(again);
    }

    fn role_pool(&self) -> &Arc<RolePool> {
        self.connection.entry().role_pool()
    }

    /// Whether the read may go over another connection, to another node.
    fn is_movable(&self) -> bool {
        self.connection.is_replaceable() && self.request.affinity() == Affinity::None
    }

    /// Goes on over an idle connection to a node that suggests itself, unless this one's does.
    fn exchange_for(&mut self, pursuit: &Pursuit) {
        let shared = Arc::clone(&self.role_pool().freshness);
        let suggests = |node: &Node| suggests(&shared, node, pursuit);
        if self.is_movable() && !suggests(&self.connection.target().node) {
            self.connection.exchange(suggests);
        }
    }

    /// Goes on over a connection to this node, which has what the read must see: an idle one, or a fresh
    /// one.
    async fn go_to(&mut self, node: &Node) -> RedisResult<()> {
        let is_there = self.connection.target().node == *node;
        if is_there || !self.is_movable() || self.connection.exchange(|other| other == node) {
            return Ok(());
        }
        let role_pool = Arc::clone(self.role_pool());
        let targets = role_pool.allowed();
        if !targets.iter().any(|target| target.node == *node) {
            return Ok(());
        }
        for target in targets.iter().filter(|target| target.node != *node) {
            role_pool.node_table.shun(&target.node);
        }
        self.connection.leave(self.until).await
    }

    /// Asks over the guard's own connection whether its node has it.
    async fn has_it(&mut self, pursuit: &Pursuit) -> bool {
        if !self.connection.is_fit() {
            // The read itself finds out what is wrong.
            return true;
        }
        let shared = Arc::clone(&self.role_pool().freshness);
        let target = self.connection.target().clone();
        let wire = self.connection.entry_mut().wire();
        let question = position_question::command();
        // It has as long as any command: cut short, it would cost the caller the connection.
        let Ok(reply) = wire.command(&question).await else {
            return false;
        };
        count(&shared.stats.questions);
        let answer = position_question::answer(reply);
        shared.note(&shared.node(&target.node), &answer, &target);
        pursuit.is_worth_reading(&answer, &shared.timelines())
    }
}

/// Whether a node is likely to have what the read must see, and was not tried in this round.
fn suggests(shared: &Shared, node: &Node, pursuit: &Pursuit) -> bool {
    let hint = shared.node(node).get();
    !pursuit.has_tried(node) && hint.suggests(pursuit.token(), &shared.timelines(), Instant::now())
}
