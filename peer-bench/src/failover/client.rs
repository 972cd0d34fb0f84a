//! Who is measured.

use std::{fmt, pin::Pin, sync::Arc};

use anyhow::Result;
use redis_rw_pool::Tls;

use crate::failover::call::Failure;

pub(crate) type Answer<'a> = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send + 'a>>;

/// One client library, as all callers of a process share it.
pub(crate) trait Client: Send + Sync {
    /// A SET of this key on the master.
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a>;

    /// A GET of this key, from a replica where the client offers that.
    fn read<'a>(&'a self, key: &'a str) -> Answer<'a>;
}

/// What a client is told of a deployment.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// `host:port`
    pub(crate) sentinels: Vec<String>,
    pub(crate) master_name: String,
    pub(crate) tls: Option<Tls>,
}

impl Place {
    pub(crate) fn sentinel_urls(&self) -> Vec<String> {
        let addresses = self.sentinels.iter();
        addresses.map(|addr| format!("redis://{addr}")).collect()
    }
}

pub(crate) type Connecting = Pin<Box<dyn Future<Output = Result<Arc<dyn Client>>> + Send>>;

#[derive(Clone, Copy)]
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) connect: fn(Place) -> Connecting,
}

impl Candidate {
    pub(crate) fn is_ours(&self) -> bool {
        self.name.starts_with("ours")
    }
}

impl fmt::Debug for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}
