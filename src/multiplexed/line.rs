//! Questions for a node's position, over the connections that handles share.

use std::sync::Arc;

use redis::{RedisError, RedisResult};
use tokio::time::{Instant, timeout_at};

use crate::{
    error::PoolName,
    freshness::{
        line::{Asking, Line},
        reading::Route,
    },
    multiplexed::{Multiplexed, SharingPool, connections::SharedConnection, retry::failure},
    node::Node,
    topology::Target,
    wire::{
        mux::{Limit, MuxError},
        position_question::{self, Answer, Want},
    },
};

impl<P: SharingPool + 'static> Line for P {
    fn ask(self: Arc<Self>, node: Option<Node>, until: Instant) -> Asking {
        Box::pin(async move {
            match node {
                None => ask_master(self, until).await,
                Some(node) => {
                    let set = self.shared_connections(PoolName::Read).newest();
                    let mut open = set.open.iter();
                    let connection = open.find(|connection| {
                        connection.target.node == node && connection.mux.is_open()
                    });
                    match connection {
                        Some(connection) => ask_over(connection, until).await,
                        None => Err(no_connection(&node)),
                    }
                }
            }
        })
    }

    fn nodes(&self) -> Vec<Target> {
        let connections = self.shared_connections(PoolName::Read);
        let set = connections.newest();
        if set.open.is_empty() {
            connections.want();
        }
        let mut targets: Vec<Target> = Vec::new();
        for connection in &set.open {
            let target = &connection.target;
            if connection.mux.is_open() && !targets.contains(target) {
                targets.push(target.clone());
            }
        }
        targets
    }
}

async fn ask_master(pool: Arc<dyn SharingPool>, until: Instant) -> RedisResult<(Answer, Target)> {
    let began = Instant::now();
    let question = position_question::command();
    let mut handle = Multiplexed::new(pool, PoolName::Write);
    let asked = handle.retry_on(&question, None, Want::NOTHING, Route::Any);
    match timeout_at(until, asked).await {
        Ok(served) => {
            let served = served?;
            let answer = position_question::answer(served.placed.reply);
            Ok((answer, served.connection.target.clone()))
        }
        Err(_) => {
            let role_pool = handle.role_pool();
            Err(role_pool.timed_out(None, began.elapsed()).into())
        }
    }
}

async fn ask_over(
    connection: &Arc<SharedConnection>,
    until: Instant,
) -> RedisResult<(Answer, Target)> {
    let left = until.saturating_duration_since(Instant::now());
    let limit = Limit { left, whole: left };
    let asked = connection
        .mux
        .command(&position_question::command(), Want::NOTHING, Some(limit))
        .await;
    match asked {
        Ok(placed) => {
            let answer = position_question::answer(placed.reply);
            Ok((answer, connection.target.clone()))
        }
        Err(MuxError::NotWritten) => Err(no_connection(&connection.target.node)),
        Err(MuxError::Failed(cause, fate)) => Err(failure(connection, cause, fate)),
    }
}

fn no_connection(node: &Node) -> RedisError {
    let text = format!("there is no connection to {node}");
    std::io::Error::new(std::io::ErrorKind::NotConnected, text).into()
}
