//! The commands of every candidate whose connections take the redis crate's own.

use std::ops::DerefMut;

use anyhow::{Result, ensure};
use redis::{AsyncCommands, Cmd, Pipeline, RedisFuture, Value, aio::ConnectionLike};

use crate::{
    candidate::{Client, Kind},
    cell::Cell,
    stage::Stage,
};

/// A [`Client`] that is complete once it can lend a connection for one operation.
pub(crate) trait Lend: Sized + Send + 'static {
    const NAME: &'static str;
    const KIND: Kind;

    fn connect(stage: &Stage, cell: Cell) -> impl Future<Output = Result<Vec<Self>>>;

    fn lend(&mut self) -> impl Future<Output = Result<impl ConnectionLike + Send + Sync>> + Send;
}

impl<L: Lend> Client for L {
    const NAME: &'static str = L::NAME;
    const KIND: Kind = L::KIND;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        L::connect(stage, cell).await
    }

    async fn get(&mut self, key: &str) -> Result<usize> {
        let value: Vec<u8> = self.lend().await?.get(key).await?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let reply: Value = self.lend().await?.set(key, value).await?;
        ensure!(reply == Value::Okay, "SET was answered with {reply:?}");
        Ok(())
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        Ok(total(self.lend().await?.mget(keys).await?))
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        Ok(total(self.lend().await?.lrange(list, 0, -1).await?))
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        let mut pipeline = Pipeline::with_capacity(keys.len());
        for key in keys {
            pipeline.get(key);
        }
        let mut conn = self.lend().await?;
        Ok(total(pipeline.query_async(&mut conn).await?))
    }
}

fn total(values: Vec<Vec<u8>>) -> usize {
    values.iter().map(Vec::len).sum()
}

/// Lets commands through to the connection behind a guard or a borrow.
pub(crate) struct Lent<G>(pub(crate) G);

impl<G> ConnectionLike for Lent<G>
where
    G: DerefMut<Target: ConnectionLike> + Send,
{
    fn req_packed_command<'a>(&'a mut self, cmd: &'a Cmd) -> RedisFuture<'a, Value> {
        self.0.req_packed_command(cmd)
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        self.0.req_packed_commands(pipeline, offset, count)
    }

    fn get_db(&self) -> i64 {
        self.0.get_db()
    }
}
