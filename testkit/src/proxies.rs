//! Proxies in front of a whole deployment.

use crate::deployment::Deployment;
use crate::proxy::Proxy;
use crate::server::Server;

/// A [`Proxy`] in front of every node and every Sentinel of a [`Deployment`]: the servers go on
/// seeing each other directly, and a client that dials [`dial`](Self::dial) sees them through the
/// proxies.
#[derive(Debug)]
pub struct Proxies {
    nodes: Vec<Proxy>,
    sentinels: Vec<Proxy>,
}

impl Proxies {
    /// Starts them.
    #[must_use]
    pub fn before(deployment: &Deployment) -> Self {
        Self {
            nodes: before(deployment.nodes()),
            sentinels: before(deployment.sentinels()),
        }
    }

    /// Those in front of the data nodes, in the order of [`Deployment::nodes`].
    #[must_use]
    pub fn nodes(&self) -> &[Proxy] {
        &self.nodes
    }

    /// Those in front of the Sentinels, in the order of [`Deployment::sentinels`].
    #[must_use]
    pub fn sentinels(&self) -> &[Proxy] {
        &self.sentinels
    }

    /// The one in front of this node or Sentinel.
    #[must_use]
    pub fn of(&self, server: &Server) -> &Proxy {
        let mut all = self.nodes.iter().chain(&self.sentinels);
        all.find(|proxy| proxy.upstream() == server.port())
            .unwrap_or_else(|| panic!("no proxy leads to {}", server.name()))
    }

    /// The addresses to configure a client with, instead of [`Deployment::sentinel_addrs`].
    #[must_use]
    pub fn sentinel_addrs(&self) -> Vec<String> {
        self.sentinels.iter().map(Proxy::addr).collect()
    }

    /// Which port to dial instead of each that is announced: pairs for a client's address map.
    #[must_use]
    pub fn dial(&self) -> Vec<(u16, u16)> {
        let all = self.nodes.iter().chain(&self.sentinels);
        all.map(|proxy| (proxy.upstream(), proxy.port())).collect()
    }

    /// Heals all of them.
    pub fn heal(&self) {
        let all = self.nodes.iter().chain(&self.sentinels);
        all.for_each(Proxy::heal);
    }
}

fn before(servers: &[Server]) -> Vec<Proxy> {
    let ports = servers.iter().map(Server::port);
    ports.map(Proxy::to).collect()
}
