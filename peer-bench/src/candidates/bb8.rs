//! bb8 with connections of the redis crate.
//!
//! Not through bb8-redis, whose manager is this one without a way to configure the connection.
//! `test_on_check_out` is off, which is documented as the way to trade safety for speed: on, it
//! costs a round trip a checkout, as with deadpool-redis.

use anyhow::Result;
use bb8::{ManageConnection, Pool};
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
pub(super) struct Bb8(Pool<Connections>);

impl Lend for Bb8 {
    const NAME: &'static str = "bb8";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let connections = u32::try_from(CONNECTIONS).expect("BUG: sixteen fits");
        let pool = Pool::builder()
            .max_size(connections)
            .test_on_check_out(false)
            .build(Connections(Client::open(redis_rs::info(stage)?)?))
            .await?;
        Ok(vec![Self(pool); cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(Lent(self.0.get().await?))
    }
}

struct Connections(Client);

impl ManageConnection for Connections {
    type Connection = MultiplexedConnection;
    type Error = RedisError;

    async fn connect(&self) -> Result<MultiplexedConnection, RedisError> {
        redis_rs::connect(&self.0).await
    }

    async fn is_valid(&self, conn: &mut MultiplexedConnection) -> Result<(), RedisError> {
        redis::cmd("PING").query_async(conn).await
    }

    fn has_broken(&self, _: &mut MultiplexedConnection) -> bool {
        false
    }
}
