//! deadpool-redis with its Sentinel pools, one to the master and one to the replicas.
//!
//! As in the example of its README, with as many connections as ours. Deadlines are those of the
//! redis crate: half a second a command, one second a connection.

use std::sync::Arc;

use anyhow::Result;
use deadpool_redis::sentinel::{Config, Pool, PoolConfig, Runtime, SentinelServerType};

use super::redis_rs::{self, not_lent};
use crate::failover::client::{Answer, Candidate, Client, Place};

pub(super) const CANDIDATE: Candidate = Candidate {
    name: "deadpool-redis",
    connect: |place| Box::pin(connect(place)),
};

struct Pools {
    master: Pool,
    replicas: Pool,
}

async fn connect(place: Place) -> Result<Arc<dyn Client>> {
    let pool = |server_type| {
        let name = place.master_name.clone();
        let mut config = Config::from_urls(place.sentinel_urls(), name, server_type);
        config.pool = Some(PoolConfig::new(super::CONNECTIONS));
        config.create_pool(Some(Runtime::Tokio1))
    };
    Ok(Arc::new(Pools {
        master: pool(SentinelServerType::Master)?,
        replicas: pool(SentinelServerType::Replica)?,
    }))
}

impl Client for Pools {
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let mut master = self.master.get().await.map_err(not_lent)?;
            redis_rs::set(&mut master, key).await
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let mut replica = self.replicas.get().await.map_err(not_lent)?;
            redis_rs::get(&mut replica, key).await
        })
    }
}
