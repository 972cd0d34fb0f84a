//! Asks a node itself what it is: Sentinels nominate, the node proves.

use std::net::IpAddr;

use redis::RedisError;
use tokio::time::Instant;

use crate::{
    config::Config,
    error::is_refusal,
    node::{Node, Role},
    topology::reducer::Proof,
    wire::{
        handshake::{self, Greeting},
        role::RoleReply,
    },
};

#[derive(Debug)]
pub(crate) struct Probed {
    pub(crate) node: Node,
    pub(crate) proof: Proof,
    /// Where the node understood us and said no: bad credentials, no permission.
    pub(crate) refusal: Option<RedisError>,
    /// Whether it was asked until it said this.
    pub(crate) awaited: bool,
}

pub(crate) async fn probe(config: &Config, node: Node) -> Probed {
    let deadline = Instant::now() + config.connect_timeout;
    // Asking as a replica's client would makes the handshake include ROLE.
    match handshake::connect(config, &node, Role::Replica, deadline).await {
        Ok((_, greeting)) => Probed {
            proof: judge(&greeting, deadline).await,
            node,
            refusal: None,
            awaited: false,
        },
        Err(error) => Probed {
            node,
            proof: Proof::Failed(error.to_string()),
            refusal: is_refusal(&error).then_some(error),
            awaited: false,
        },
    }
}

async fn judge(greeting: &Greeting, deadline: Instant) -> Proof {
    match (greeting.role, &greeting.detail) {
        (_, Some(RoleReply::Replica { master, state, .. })) => Proof::Replica {
            addresses: resolve(master, deadline).await,
            link: state.trouble().map(str::to_owned),
            master: master.clone(),
        },
        (_, Some(RoleReply::Sentinel)) => Proof::Failed("it is a Sentinel".to_owned()),
        (Some(Role::Master), _) | (_, Some(RoleReply::Master { .. })) => Proof::Master,
        (Some(Role::Replica), None) => Proof::SomeReplica,
        (None, None) => Proof::Unprovable(greeting.silence()),
    }
}

/// The addresses of a master that a replica knows by name; nothing where it has an address.
async fn resolve(master: &Node, deadline: Instant) -> Vec<IpAddr> {
    if master.host().parse::<IpAddr>().is_ok() {
        return Vec::new();
    }
    let lookup = tokio::net::lookup_host((master.host(), master.port()));
    match tokio::time::timeout_at(deadline, lookup).await {
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).collect(),
        _ => Vec::new(),
    }
}
