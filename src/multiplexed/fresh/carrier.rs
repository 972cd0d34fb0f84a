//! Takes a read to nodes over the connections that handles share.

use std::sync::Arc;

use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::PoolName,
    freshness::{
        pursuit::Pursuit,
        reading::{Carrier, Nodes, Route, Served},
    },
    multiplexed::{Multiplexed, SharingPool, retry::Tried},
    node::Node,
    retry::request::Askable,
    wire::position_question::Want,
};

pub(super) struct Handle<'a, R: Askable> {
    pub(super) handle: &'a mut Multiplexed,
    pub(super) request: R,
    /// The first attempt, which has been made already.
    pub(super) tried: Option<Tried<R::Reply>>,
}

impl<R: Askable> Carrier<R> for Handle<'_, R> {
    async fn send(&mut self, want: Want, route: Route<'_>) -> RedisResult<Served<R::Reply>> {
        let tried = self.tried.take();
        let sent = self.handle.retry_on(self.request, tried, want, route);
        sent.await.map(Served::from)
    }

    async fn send_to_master(&mut self, want: Want) -> RedisResult<Served<R::Reply>> {
        let pool = Arc::clone(&self.handle.pool);
        let served = Multiplexed::send_to_master(pool, self.request, want).await?;
        if let Some(course) = &self.handle.course {
            course.lock().note(&served.target.node, None);
        }
        Ok(served)
    }

    fn can_reach_master(&self) -> bool {
        true
    }

    fn other_suggests(&self, pursuit: &Pursuit) -> bool {
        let connections = self.handle.connections();
        let timelines = connections.role_pool().freshness.timelines();
        let now = Instant::now();
        let set = connections.newest();
        set.open.iter().any(|connection| {
            let hint = || connection.hint.get();
            connection.mux.is_open()
                && !pursuit.has_tried(&connection.target.node)
                && hint().suggests(pursuit.token(), &timelines, now)
        })
    }

    async fn first_that_has_it(&mut self, nodes: &Nodes, pursuit: &Pursuit) -> Option<Node> {
        nodes.first_that_has_it(pursuit).await
    }
}

impl Multiplexed {
    /// Sends a read to the master, over the connections to write to.
    pub(crate) async fn send_to_master<R: Askable>(
        pool: Arc<dyn SharingPool>,
        request: R,
        want: Want,
    ) -> RedisResult<Served<R::Reply>> {
        let mut master = Self::new(pool, PoolName::Write);
        let served = master.retry_on(request, None, want, Route::Any);
        Box::pin(served).await.map(Served::from)
    }
}

impl<R> From<crate::multiplexed::retry::Served<R>> for Served<R> {
    fn from(served: crate::multiplexed::retry::Served<R>) -> Self {
        let connection = served.connection;
        Self {
            target: connection.target.clone(),
            hint: Arc::clone(&connection.hint),
            placed: served.placed,
        }
    }
}
