//! Ours, with a checkout for each operation.

use anyhow::Result;
use redis::aio::ConnectionLike;
use redis_rw_pool::{Config, Pool, ReadFrom, Tls};

use crate::{
    candidate::{CONNECTIONS, Kind},
    cell::Cell,
    redis_commands::Lend,
    stage::Stage,
};

/// Workloads that only read go through `read()`, the others through `write()`: mixed ones too,
/// which would have twice the connections otherwise. All end at the master, as everyone's.
#[derive(Clone)]
pub(super) enum Exclusive {
    Read(Pool),
    Write(Pool),
}

impl Exclusive {
    pub(super) fn new(pool: Pool, cell: Cell) -> Self {
        if cell.workload.writes() {
            Self::Write(pool)
        } else {
            Self::Read(pool)
        }
    }
}

impl Lend for Exclusive {
    const NAME: &'static str = "ours-exclusive";
    const KIND: Kind = Kind::Exclusive;

    async fn connect(stage: &Stage, cell: Cell) -> Result<Vec<Self>> {
        let handle = Self::new(pool(stage).await?, cell);
        Ok(vec![handle; cell.tasks])
    }

    async fn lend(&mut self) -> Result<impl ConnectionLike + Send + Sync> {
        Ok(match self {
            Self::Read(pool) => pool.read().await?,
            Self::Write(pool) => pool.write().await?,
        })
    }
}

/// As it comes, with deadlines for checkouts and commands on; replicas would not be comparable.
pub(crate) async fn pool(stage: &Stage) -> Result<Pool> {
    let mut config = Config::new(stage.sentinels(), stage.master_name());
    if let Some(encryption) = stage.encryption() {
        config.tls = Some(Tls::builder().ca_pem(encryption.ca_pem()).build()?);
    }
    connect(config).await
}

pub(super) async fn connect(mut config: Config) -> Result<Pool> {
    config.read_from = ReadFrom::Master;
    config.read.max_active = CONNECTIONS;
    config.write.max_active = CONNECTIONS;
    Ok(Pool::connect(config).await?)
}
