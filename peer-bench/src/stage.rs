//! The servers, filled, on which everything is measured.

use std::{net::SocketAddr, sync::Arc};

use testkit::Deployment;

use crate::data::Data;

#[derive(Debug)]
pub(crate) struct Stage {
    deployment: Deployment,
    pub(crate) data: Arc<Data>,
}

impl Stage {
    /// One master and one Sentinel: whatever else runs would take from the two that are measured.
    pub(crate) fn start() -> Self {
        let deployment = Deployment::builder()
            .replicas(0)
            .sentinels(1)
            .fast(false)
            .start();
        let data = Data::new();
        data.fill(&deployment.nodes()[0]);
        Self {
            deployment,
            data: Arc::new(data),
        }
    }

    pub(crate) fn master(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.deployment.nodes()[0].port()).into()
    }

    pub(crate) fn master_name(&self) -> &str {
        self.deployment.master_name()
    }

    pub(crate) fn sentinels(&self) -> Vec<String> {
        self.deployment.sentinel_addrs()
    }
}
