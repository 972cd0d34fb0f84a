//! fred: one connection to the master that all share, and one to each replica.
//!
//! As in its Sentinel example, with the reconnection policy of its other examples (without one it
//! does not reconnect) and a deadline for commands (it has none by default).

use std::sync::Arc;

use anyhow::Result;
use fred::{
    clients::Client as FredClient,
    error::{Error, ErrorKind},
    interfaces::{ClientLike, KeysInterface},
    types::{
        Builder,
        config::{Config, ReconnectPolicy, Server, ServerConfig, TcpConfig},
    },
};

use crate::failover::{
    call::{Failure, Outcome},
    client::{Answer, Candidate, Client, Place},
};

pub(super) const CANDIDATE: Candidate = Candidate {
    name: "fred",
    connect: |place| Box::pin(connect(place)),
};

struct Fred(FredClient);

/// What all of fred's clients are made with.
pub(in crate::failover) fn builder(place: Place) -> Builder {
    let server = ServerConfig::Sentinel {
        hosts: place
            .sentinels
            .iter()
            .filter_map(|addr| {
                let (host, port) = addr.rsplit_once(':')?;
                Some(Server::new(host, port.parse().ok()?))
            })
            .collect(),
        service_name: place.master_name,
    };
    let config = Config {
        server,
        ..Config::default()
    };
    let mut builder = Builder::from_config(config);
    builder.set_policy(ReconnectPolicy::new_exponential(0, 100, 30_000, 2));
    builder
}

async fn connect(place: Place) -> Result<Arc<dyn Client>> {
    let client = builder(place)
        .with_connection_config(|config| {
            config.tcp = TcpConfig {
                nodelay: Some(true),
                ..TcpConfig::default()
            };
        })
        .with_performance_config(|config| {
            config.default_command_timeout = super::COMMAND_TIMEOUT;
        })
        .build()?;
    client.init().await?;
    Ok(Arc::new(Fred(client)))
}

impl Client for Fred {
    fn write<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let set = self.0.set(key, super::VALUE, None, None, false);
            set.await.map_err(failed)
        })
    }

    fn read<'a>(&'a self, key: &'a str) -> Answer<'a> {
        Box::pin(async move {
            let replicas = self.0.replicas();
            let _: Option<String> = replicas.get(key).await.map_err(failed)?;
            Ok(())
        })
    }
}

fn failed(error: Error) -> Failure {
    let text = error.to_string();
    let outcome = if super::is_refusal(&text) {
        Outcome::NotExecuted
    } else {
        match error.kind() {
            ErrorKind::IO | ErrorKind::Timeout | ErrorKind::Canceled => Outcome::Unknown,
            _ => Outcome::Other,
        }
    };
    Failure { outcome, text }
}
