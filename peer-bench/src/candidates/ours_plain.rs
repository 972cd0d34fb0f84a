//! Ours without TLS, in a run over TLS and on its server: what encryption costs.

use anyhow::Result;
use redis::aio::ConnectionLike;
use redis_rw_pool::{Config, Multiplexed, Pool};

use super::ours_exclusive;
use crate::{
    candidate::Kind,
    cell::Cell,
    redis_commands::{Lend, Lent},
    stage::Stage,
};

/// The Sentinel knows the port for TLS only.
async fn pool(stage: &Stage) -> Result<Pool> {
    let config = Config::standalone(stage.plain_master().to_string());
    ours_exclusive::connect(config).await
}

#[derive(Clone)]
pub(super) struct Exclusive(ours_exclusive::Exclusive);

impl Lend for Exclusive {
    const NAME: &'static str = "ours-exclusive-plain";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let handle = ours_exclusive::Exclusive::new(pool(stage).await?, cell);
        Ok(vec![Self(handle); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        self.0.lend().await
    }
}

#[derive(Clone)]
pub(super) struct Shared(Multiplexed);

impl Lend for Shared {
    const NAME: &'static str = "ours-multiplexed-plain";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let pool = pool(stage).await?;
        let handle = if cell.workload.writes() {
            pool.writer()
        } else {
            pool.reader()
        };
        Ok(vec![Self(handle); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(&mut self.0))
    }
}
