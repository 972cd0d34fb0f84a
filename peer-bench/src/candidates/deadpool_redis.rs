//! deadpool-redis as it is shipped: every checkout sends UNWATCH and PING and waits for the reply.

use anyhow::Result;
use deadpool_redis::{Manager, Pool};
use redis::aio::ConnectionLike;

use crate::{
    candidate::{CONNECTIONS, Kind},
    cell::Cell,
    redis_commands::Lend,
    redis_rs,
    stage::Stage,
};

#[derive(Clone)]
pub(super) struct DeadpoolRedis(Pool);

impl Lend for DeadpoolRedis {
    const NAME: &'static str = "deadpool-redis";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let manager = Manager::new_with_config(redis_rs::info(stage)?, redis_rs::config())?;
        let pool = Pool::builder(manager).max_size(CONNECTIONS).build()?;
        Ok(vec![Self(pool); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(self.0.get().await?)
    }
}
