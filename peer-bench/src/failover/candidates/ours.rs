//! Ours: exclusive connections and shared ones, and both ways to believe in a new master.

use std::sync::Arc;

use anyhow::Result;
use redis::{AsyncCommands, RedisError};
use redis_rw_pool::{Adopt, Config, Multiplexed, Pool};

use crate::failover::{
    call::{Failure, Outcome},
    client::{Answer, Candidate, Client, Place},
};

pub(super) const EXCLUSIVE: Candidate = Candidate {
    name: "ours-exclusive",
    connect: |place| Box::pin(exclusive(place, Adopt::Announced)),
};

pub(super) const EXCLUSIVE_PROMOTED: Candidate = Candidate {
    name: "ours-exclusive-promoted",
    connect: |place| Box::pin(exclusive(place, Adopt::Promoted)),
};

pub(super) const MULTIPLEXED: Candidate = Candidate {
    name: "ours-multiplexed",
    connect: |place| Box::pin(multiplexed(place, Adopt::Announced)),
};

pub(super) const MULTIPLEXED_PROMOTED: Candidate = Candidate {
    name: "ours-multiplexed-promoted",
    connect: |place| Box::pin(multiplexed(place, Adopt::Promoted)),
};

/// Everything else as it comes.
fn config(place: Place, adopt: Adopt) -> Config {
    let mut config = Config::new(place.sentinels, place.master_name);
    config.adopt = adopt;
    config.tls = place.tls;
    config
}

async fn exclusive(place: Place, adopt: Adopt) -> Result<Arc<dyn Client>> {
    let pool = Pool::connect(config(place, adopt)).await?;
    Ok(Arc::new(Exclusive(pool)))
}

async fn multiplexed(place: Place, adopt: Adopt) -> Result<Arc<dyn Client>> {
    let pool = Pool::connect(config(place, adopt)).await?;
    Ok(Arc::new(Shared {
        writer: pool.writer(),
        reader: pool.reader(),
    }))
}

/// A checkout for each call.
struct Exclusive(Pool);

impl Client for Exclusive {
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let mut master = self.0.write().await.map_err(not_lent)?;
            master.set(key, super::VALUE).await.map_err(failed)
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let mut replica = self.0.read().await.map_err(not_lent)?;
            let _: Option<String> = replica.get(key).await.map_err(failed)?;
            Ok(())
        })
    }
}

struct Shared {
    writer: Multiplexed,
    reader: Multiplexed,
}

impl Client for Shared {
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a> {
        let mut writer = self.writer.clone();
        Box::pin(async move { writer.set(key, super::VALUE).await.map_err(failed) })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a> {
        let mut reader = self.reader.clone();
        Box::pin(async move {
            let _: Option<String> = reader.get(key).await.map_err(failed)?;
            Ok(())
        })
    }
}

fn not_lent(error: redis_rw_pool::Error) -> Failure {
    Failure::new(Outcome::NotExecuted, error)
}

fn failed(error: RedisError) -> Failure {
    let outcome = match redis_rw_pool::outcome(&error) {
        redis_rw_pool::Outcome::NotExecuted => Outcome::NotExecuted,
        redis_rw_pool::Outcome::Unknown => Outcome::Unknown,
        redis_rw_pool::Outcome::Executed => Outcome::Other,
    };
    Failure::new(outcome, error)
}
