//! Ours, one connection that all tasks share, with a handle cloned for each operation: as a web
//! framework does that clones its state for each request.

use anyhow::Result;
use redis::aio::ConnectionLike;
use redis_rw_pool::Multiplexed;

use super::ours_multiplexed;
use crate::{candidate::Kind, cell::Cell, redis_commands::Lend, stage::Stage};

#[derive(Clone)]
pub(super) struct ClonePerOp(Multiplexed);

impl Lend for ClonePerOp {
    const NAME: &'static str = "ours-clone-per-op";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let handle = ours_multiplexed::handle(stage, cell).await?;
        Ok(vec![Self(handle); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(self.0.clone())
    }
}
