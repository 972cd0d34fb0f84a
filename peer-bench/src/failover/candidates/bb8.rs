//! bb8 with the Sentinel client of the redis crate, which the crate itself makes a manager for it.
//!
//! Settings are the defaults of both, a PING at every checkout included, with as many connections as
//! ours.

use std::sync::Arc;

use anyhow::Result;
use bb8::Pool;
use redis::sentinel::{AsyncLockedSentinelClient, SentinelClient, SentinelServerType};

use super::redis_rs::{self, not_lent};
use crate::failover::client::{Answer, Candidate, Client, Place};

pub(super) const CANDIDATE: Candidate = Candidate {
    name: "bb8",
    connect: |place| Box::pin(connect(place)),
};

struct Pools {
    master: Pool<AsyncLockedSentinelClient>,
    replicas: Pool<AsyncLockedSentinelClient>,
}

async fn connect(place: Place) -> Result<Arc<dyn Client>> {
    Ok(Arc::new(Pools {
        master: pool(&place, SentinelServerType::Master).await?,
        replicas: pool(&place, SentinelServerType::Replica).await?,
    }))
}

async fn pool(
    place: &Place,
    server_type: SentinelServerType,
) -> Result<Pool<AsyncLockedSentinelClient>> {
    let name = place.master_name.clone();
    let client = SentinelClient::build(place.sentinel_urls(), name, None, server_type)?;
    let connections = u32::try_from(super::CONNECTIONS).expect("BUG: sixteen fits");
    let builder = Pool::builder().max_size(connections);
    Ok(builder
        .build(AsyncLockedSentinelClient::new(client))
        .await?)
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
