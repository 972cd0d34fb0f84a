//! The pools that are compared, each lending a connection that takes the redis crate's commands.

use deadpool::managed::{Metrics, Object, RecycleResult};
use redis_rw_pool::{
    Config, Connection, Pool,
    redis::{
        Client, Cmd, Pipeline, RedisError, RedisFuture, Value,
        aio::{ConnectionLike, MultiplexedConnection},
    },
};
use testkit::Deployment;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{CONNECTIONS, SMALL};

pub(crate) trait Lend: Clone + Send + Sync + 'static {
    fn lend(&self) -> impl Future<Output = impl ConnectionLike + Send + Sync> + Send;
}

pub(crate) async fn ours(deployment: &Deployment) -> Pool {
    let mut config = Config::new(deployment.sentinel_addrs(), deployment.master_name());
    config.write.max_active = CONNECTIONS;
    config.read.max_active = CONNECTIONS;
    Pool::connect(config).await.unwrap()
}

#[derive(Clone)]
pub(crate) enum Ours {
    Write(Pool),
    Read(Pool),
}

impl Lend for Ours {
    async fn lend(&self) -> impl ConnectionLike + Send + Sync {
        let lent: Connection = match self {
            Self::Write(pool) => pool.write().await.unwrap(),
            Self::Read(pool) => pool.read().await.unwrap(),
        };
        lent
    }
}

#[derive(Clone)]
pub(crate) struct DeadpoolRedis(deadpool_redis::Pool);

impl DeadpoolRedis {
    pub(crate) fn new(port: u16) -> Self {
        let manager = deadpool_redis::Manager::new(url(port)).unwrap();
        let pool = deadpool_redis::Pool::builder(manager).max_size(CONNECTIONS);
        Self(pool.build().unwrap())
    }
}

impl Lend for DeadpoolRedis {
    async fn lend(&self) -> impl ConnectionLike + Send + Sync {
        self.0.get().await.unwrap()
    }
}

/// The redis crate's connection, trusted without a PING.
pub(crate) struct Multiplexed(Client);

impl deadpool::managed::Manager for Multiplexed {
    type Type = MultiplexedConnection;
    type Error = RedisError;

    async fn create(&self) -> Result<MultiplexedConnection, RedisError> {
        self.0.get_multiplexed_async_connection().await
    }

    async fn recycle(
        &self,
        _: &mut MultiplexedConnection,
        _: &Metrics,
    ) -> RecycleResult<RedisError> {
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct BareRedis(deadpool::managed::Pool<Multiplexed>);

impl BareRedis {
    pub(crate) fn new(port: u16) -> Self {
        let manager = Multiplexed(Client::open(url(port)).unwrap());
        let pool = deadpool::managed::Pool::builder(manager).max_size(CONNECTIONS);
        Self(pool.build().unwrap())
    }
}

impl Lend for BareRedis {
    async fn lend(&self) -> impl ConnectionLike + Send + Sync {
        Unwrapped(self.0.get().await.unwrap())
    }
}

/// Lets commands through to the connection inside deadpool's guard.
struct Unwrapped(Object<Multiplexed>);

impl ConnectionLike for Unwrapped {
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

pub(crate) struct Socket(u16);

impl deadpool::managed::Manager for Socket {
    type Type = TcpStream;
    type Error = std::io::Error;

    async fn create(&self) -> Result<TcpStream, std::io::Error> {
        let stream = TcpStream::connect(("127.0.0.1", self.0)).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn recycle(&self, _: &mut TcpStream, _: &Metrics) -> RecycleResult<std::io::Error> {
        Ok(())
    }
}

#[derive(Clone)]
pub(crate) struct Raw(deadpool::managed::Pool<Socket>);

impl Raw {
    pub(crate) fn new(port: u16) -> Self {
        let pool = deadpool::managed::Pool::builder(Socket(port)).max_size(CONNECTIONS);
        Self(pool.build().unwrap())
    }

    /// `GET small`; all that is known of the reply is its length.
    pub(crate) async fn get(&self) {
        const REPLY: usize = "$64\r\n".len() + SMALL + "\r\n".len();
        let mut stream = self.0.get().await.unwrap();
        let command = b"*2\r\n$3\r\nGET\r\n$5\r\nsmall\r\n";
        stream.write_all(command).await.unwrap();
        let mut reply = [0; REPLY];
        stream.read_exact(&mut reply).await.unwrap();
    }
}

fn url(port: u16) -> String {
    format!("redis://127.0.0.1:{port}/")
}
