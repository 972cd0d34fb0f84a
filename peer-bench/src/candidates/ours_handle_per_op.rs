//! Ours, one connection that all tasks share, with a handle made for each operation: as a web
//! handler does that holds the pool.

use anyhow::Result;
use redis::aio::ConnectionLike;
use redis_rw_pool::Pool;

use super::ours_exclusive;
use crate::{candidate::Kind, cell::Cell, redis_commands::Lend, stage::Stage};

#[derive(Clone)]
pub(super) enum HandlePerOp {
    Read(Pool),
    Write(Pool),
}

impl Lend for HandlePerOp {
    const NAME: &'static str = "ours-handle-per-op";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let pool = ours_exclusive::pool(stage).await?;
        let pool = if cell.workload.writes() {
            Self::Write(pool)
        } else {
            Self::Read(pool)
        };
        Ok(vec![pool; cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(match self {
            Self::Read(pool) => pool.reader(),
            Self::Write(pool) => pool.writer(),
        })
    }
}
