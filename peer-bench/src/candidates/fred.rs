//! fred on one connection that all tasks share.

use anyhow::{Result, ensure};
use bytes::Bytes;
use fred::{
    clients::Client as FredClient,
    interfaces::{ClientLike, KeysInterface, ListInterface},
    types::{
        Builder,
        config::{Config, ServerConfig, TcpConfig, TlsConnector},
    },
};

use crate::{
    candidate::{Client, Kind},
    cell::Cell,
    stage::Stage,
};

/// No deadlines and an unbounded queue are its defaults; so is RESP2, with which LRANGE costs it
/// little more than half of what it costs with RESP3. Values come as `Bytes`, which it cuts from the
/// read buffer without copying.
#[derive(Clone)]
pub(super) struct Fred(FredClient);

impl Client for Fred {
    const NAME: &'static str = "fred";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let master = stage.master();
        let config = Config {
            server: ServerConfig::new_centralized(master.ip().to_string(), master.port()),
            tls: match stage.encryption() {
                Some(encryption) => Some(TlsConnector::from(encryption.client()?).into()),
                None => None,
            },
            ..Config::default()
        };
        let client = Builder::from_config(config)
            .with_connection_config(|config| {
                config.tcp = TcpConfig {
                    nodelay: Some(true),
                    ..TcpConfig::default()
                };
            })
            .with_performance_config(|config| {
                // 200 by default: a flush after each so many commands. All that are waiting may
                // go in one instead.
                config.max_feed_count = 10_000;
            })
            .build()?;
        client.init().await?;
        Ok(vec![Self(client); cell.tasks])
    }

    async fn get(&mut self, key: &str) -> Result<usize> {
        let value: Bytes = self.0.get(key).await?;
        Ok(value.len())
    }

    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        let reply: Bytes = self.0.set(key, value, None, None, false).await?;
        ensure!(reply == "OK", "SET was answered with {reply:?}");
        Ok(())
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        Ok(total(self.0.mget(keys).await?))
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        Ok(total(self.0.lrange(list, 0, -1).await?))
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        let pipeline = self.0.pipeline();
        for key in keys {
            // Only queued here; what comes back says no more than that.
            let () = pipeline.get(key.as_str()).await?;
        }
        Ok(total(pipeline.all().await?))
    }
}

fn total(values: Vec<Bytes>) -> usize {
    values.iter().map(Bytes::len).sum()
}
