//! A deadpool of the redis crate's connections that trusts them without a PING: what a pool costs
//! that does nothing beyond lending.

use anyhow::Result;
use deadpool::managed::{Metrics, Pool, RecycleResult};
use redis::{
    Client, RedisError,
    aio::{ConnectionLike, MultiplexedConnection},
};

use crate::{
    candidate::{CONNECTIONS, Kind},
    cell::Cell,
    redis_commands::{Lend, Lent},
    redis_rs,
    stage::Stage,
};

#[derive(Clone)]
pub(super) struct RedisRsPool(Pool<Connections>);

impl Lend for RedisRsPool {
    const NAME: &'static str = "redis-rs-pool-no-ping";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let connections = Connections(Client::open(redis_rs::info(stage)?)?);
        let pool = Pool::builder(connections).max_size(CONNECTIONS).build()?;
        Ok(vec![Self(pool); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(self.0.get().await?))
    }
}

struct Connections(Client);

impl deadpool::managed::Manager for Connections {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        redis_rs::connect(&self.0).await
    }

    async fn recycle(
        &self,
        _: &mut MultiplexedConnection,
        _: &Metrics,
    ) -> RecycleResult<RedisError> {
        Ok(())
    }
}
