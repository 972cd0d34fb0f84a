//! Ours, one connection that all tasks share.

use anyhow::Result;
use redis::aio::ConnectionLike;
use redis_rw_pool::Multiplexed;

use super::ours_exclusive;
use crate::{
    candidate::Kind,
    cell::Cell,
    redis_commands::{Lend, Lent},
    stage::Stage,
};

#[derive(Clone)]
pub(super) struct Shared(Multiplexed);

impl Lend for Shared {
    const NAME: &'static str = "ours-multiplexed";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let handle = handle(stage, cell).await?;
        Ok(vec![Self(handle); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(&mut self.0))
    }
}

pub(super) async fn handle(stage: &Stage, cell: Cell) -> Result<Multiplexed> {
    let pool = ours_exclusive::pool(stage).await?;
    Ok(if cell.workload.writes() {
        pool.writer()
    } else {
        pool.reader()
    })
}
