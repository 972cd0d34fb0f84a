//! rustis on one connection that all tasks share.

use anyhow::Result;
use rustis::{
    client::{BatchPreparedCommand, Client as RustisClient, IntoConfig},
    commands::{ListCommands, StringCommands},
    resp::{BulkString, RefBulkString},
};

use crate::{
    candidate::{Client, Kind},
    cell::Cell,
    stage::Stage,
};

/// As it comes: no Nagle, no deadlines, RESP3 because it speaks nothing else, and the number of
/// commands a write that its documentation calls the optimum.
#[derive(Clone)]
pub(super) struct Rustis(RustisClient);

impl Client for Rustis {
    const NAME: &'static str = "rustis";
    const KIND: Kind = Kind::Shared;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        #[allow(unused_mut, reason = "changed only where it speaks TLS")]
        let mut config = stage.master().to_string().into_config()?;
        #[cfg(feature = "rustis-tls")]
        if let Some(encryption) = stage.encryption() {
            let client = std::sync::Arc::new(encryption.client()?);
            config.tls_config = Some(rustis::client::TlsConfig::new(client));
        }
        let client = RustisClient::connect(config).await?;
        Ok(vec![Self(client); cell.tasks])
    }

    async fn get(&mut self, key: &str) -> Result<usize> {
        let value: BulkString = self.0.get(key).await?;
        Ok(value.len())
    }

    /// Whether the server said OK is for rustis to check: it returns nothing.
    async fn set(&mut self, key: &str, value: &[u8]) -> Result<()> {
        self.0.set(key, RefBulkString::new(value)).await?;
        Ok(())
    }

    async fn mget(&mut self, keys: &[String]) -> Result<usize> {
        Ok(total(self.0.mget(keys).await?))
    }

    async fn lrange(&mut self, list: &str) -> Result<usize> {
        Ok(total(self.0.lrange(list, 0, -1).await?))
    }

    async fn pipeline(&mut self, keys: &[String]) -> Result<usize> {
        let mut pipeline = self.0.create_pipeline();
        pipeline.reserve(keys.len());
        for key in keys {
            pipeline.get::<()>(key).queue();
        }
        Ok(total(pipeline.execute().await?))
    }
}

fn total(values: Vec<BulkString>) -> usize {
    values.iter().map(|value| value.len()).sum()
}
