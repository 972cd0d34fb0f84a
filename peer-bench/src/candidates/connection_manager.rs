//! The redis crate's `ConnectionManager`: one connection that all tasks share.

use anyhow::Result;
use redis::{
    Client,
    aio::{ConnectionLike, ConnectionManager, ConnectionManagerConfig},
};

use crate::{
    candidate::Kind,
    cell::Cell,
    redis_commands::{Lend, Lent},
    redis_rs,
    stage::Stage,
};

/// With the buffers that it comes with. A longer `pipeline_buffer_size` and a higher
/// `write_backpressure_boundary`, which the documentation has for many tasks, made these workloads
/// no faster and some of them slower.
#[derive(Clone)]
pub(super) struct Manager(ConnectionManager);

impl Lend for Manager {
    const NAME: &'static str = "redis-rs-manager";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let config = ConnectionManagerConfig::new().set_response_timeout(None);
        let client = Client::open(redis_rs::info(stage)?)?;
        let manager = ConnectionManager::new_with_config(client, config).await?;
        Ok(vec![Self(manager); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(&mut self.0))
    }
}
