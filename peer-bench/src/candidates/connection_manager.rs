//! The redis crate's `ConnectionManager`: one connection that all tasks share.

use anyhow::Result;
use redis::{
    Client,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

use crate::{
    candidate::Kind,
    cell::{Cell, TASKS},
    redis_commands::{Lend, Lent},
    redis_rs,
    stage::Stage,
};

/// 8 KiB by default; the documentation has larger ones for bigger batches and fewer system calls.
const WRITE_BOUNDARY: usize = 64 * 1024;

#[derive(Clone)]
pub(super) struct Manager(ConnectionManager);

impl Lend for Manager {
    const NAME: &'static str = "redis-rs-manager";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let config = ConnectionManagerConfig::new()
            .set_response_timeout(None)
            // 50 by default; to be raised for high concurrency, says the documentation.
            .set_pipeline_buffer_size(TASKS[TASKS.len() - 1])
            .set_write_backpressure_boundary(WRITE_BOUNDARY);
        let client = Client::open(redis_rs::info(stage)?)?;
        let manager = ConnectionManager::new_with_config(client, config).await?;
        Ok(vec![Self(manager); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(&mut self.0))
    }
}
