//! The servers, filled, on which everything is measured.

use std::{net::SocketAddr, sync::Arc};

use testkit::Deployment;

use crate::{data::Data, encryption::Encryption};

pub(crate) struct Stage {
    deployment: Deployment,
    encryption: Option<Encryption>,
    pub(crate) data: Arc<Data>,
}

impl Stage {
    /// One master and one Sentinel: whatever else runs would take from the two that are measured.
    /// With `tls` they speak it, and plain text on another port.
    pub(crate) fn start(tls: bool) -> Self {
        let mut builder = Deployment::builder().replicas(0).sentinels(1).fast(false);
        let encryption = tls.then(Encryption::new);
        if let Some(encryption) = &encryption {
            builder = builder.tls(encryption.servers());
        }
        let deployment = builder.start();
        let data = Data::new();
        data.fill(&deployment.nodes()[0]);
        Self {
            deployment,
            encryption,
            data: Arc::new(data),
        }
    }

    pub(crate) fn master(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.deployment.nodes()[0].port()).into()
    }

    /// The same server without TLS.
    pub(crate) fn plain_master(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.deployment.nodes()[0].plain_port()).into()
    }

    /// `None` in a run without TLS.
    pub(crate) fn encryption(&self) -> Option<&Encryption> {
        self.encryption.as_ref()
    }

    pub(crate) fn master_name(&self) -> &str {
        self.deployment.master_name()
    }

    pub(crate) fn sentinels(&self) -> Vec<String> {
        self.deployment.sentinel_addrs()
    }
}
