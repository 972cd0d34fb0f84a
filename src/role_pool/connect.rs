//! One attempt to connect to a node, which must prove its role on that same connection.

use std::{sync::Arc, time::Duration};

use redis::{RedisError, RedisResult};
use tokio::{sync::watch, time::Instant};

use crate::{
    error::{Error, reason},
    node::Role,
    role_pool::RolePool,
    status::dials::DialStats,
    topology::{Target, Topology},
    wire::{
        connection::WireConnection,
        handshake::{self, Greeting},
        role::RoleReply,
    },
};

/// Connects to a target of this pool, when its turn comes.
///
/// After a failure the node is not dialled for a while, and is probed. `stats` counts it.
pub(crate) async fn attempt(
    role_pool: &RolePool,
    target: &Target,
    stats: &DialStats,
) -> Result<WireConnection, Error> {
    dial(role_pool, target, stats).await?.map_err(|error| {
        let Target { node, role, .. } = target;
        if role_pool.node_table.failed(node) {
            let pool = role_pool.name;
            tracing::warn!(%pool, %role, %node, error = reason(&error), "a dial failed");
        }
        if error.is_timeout() {
            let within = role_pool.config.connect_timeout;
            role_pool.topology.exclude_silent(node, within);
        } else {
            role_pool.topology.suspect(node);
        }
        connect_error(target, error)
    })
}

/// As [`attempt`], for a connection in the place of one that works. After a failure nothing is held
/// against the node: it serves, and what it refuses may be our new certificates.
pub(crate) async fn attempt_replacement(
    role_pool: &RolePool,
    target: &Target,
    stats: &DialStats,
) -> Result<WireConnection, Error> {
    dial(role_pool, target, stats)
        .await?
        .map_err(|error| connect_error(target, error))
}

struct Dialled {
    result: RedisResult<WireConnection>,
    /// Without the wait for its turn.
    took: Duration,
}

/// The outer error says that the target was not wanted any more.
async fn dial(
    role_pool: &RolePool,
    target: &Target,
    stats: &DialStats,
) -> Result<RedisResult<WireConnection>, Error> {
    let mut changes = role_pool.topology.subscribe();
    let dialled = tokio::select! {
        // A dial to a node that has been replaced may hang for long. Its caller must not.
        () = departure(role_pool, &mut changes, target) => None,
        dialled = connect_in_turn(role_pool, target) => dialled,
    };
    let Some(dialled) = dialled.filter(|_| is_wanted(role_pool, target)) else {
        return Err(connect_error(target, superseded()));
    };
    match &dialled.result {
        Ok(_) => {
            role_pool.node_table.succeeded(&target.node);
            stats.succeeded(dialled.took);
        }
        Err(error) => stats.failed(&target.node, error),
    }
    Ok(dialled.result)
}

fn is_wanted(role_pool: &RolePool, target: &Target) -> bool {
    !role_pool.is_closed() && role_pool.admits(target)
}

/// Ends when the pool may not go to this target any more.
async fn departure(
    role_pool: &RolePool,
    changes: &mut watch::Receiver<Arc<Topology>>,
    target: &Target,
) {
    while is_wanted(role_pool, target) && changes.changed().await.is_ok() {}
}

/// `None` if the target is not wanted any more when its turn comes.
async fn connect_in_turn(role_pool: &RolePool, target: &Target) -> Option<Dialled> {
    let gate = role_pool.node_table.gate(&target.node);
    let _turn = gate.acquire().await;
    let mut changes = role_pool.topology.subscribe();
    let mut new_editions = role_pool.config.new_editions();
    // The dials before this one may have failed. The pause that follows holds for every dial;
    // otherwise all that wait here would begin at once.
    while let Some(until) = role_pool.node_table.paused_until(&target.node)
        && until > Instant::now()
    {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = changes.changed() => break,
            // They may be what the node has been waiting for.
            () = new_editions.next() => break,
        }
    }
    if !is_wanted(role_pool, target) {
        return None;
    }
    let began = Instant::now();
    let result = connect(role_pool, target).await;
    let took = began.elapsed();
    Some(Dialled { result, took })
}

async fn connect(role_pool: &RolePool, target: &Target) -> RedisResult<WireConnection> {
    let deadline = Instant::now() + role_pool.config.connect_timeout;
    let (mut wire, greeting) =
        handshake::connect(&role_pool.config, &target.node, target.role, deadline).await?;
    let snapshot = role_pool.topology.snapshot();
    let trusted = snapshot.unproven.is_some();
    let orphaned = snapshot.is_orphaned(&target.node);
    match judge(&greeting, target.role, trusted, orphaned) {
        None => {
            wire.live_on(&role_pool.runtime);
            Ok(wire)
        }
        Some(trouble) => Err((
            redis::ErrorKind::UnexpectedReturnType,
            "the node is not what it should be",
            trouble,
        )
            .into()),
    }
}

/// Why the node is not what it should be, by its greeting on this same connection; `None` if it is.
/// `trusted`: [`Topology::unproven`](crate::Topology::unproven) is set, because nodes of this
/// deployment may hide their role or because the Sentinels disagree. A node that tells no role is
/// then accepted. `orphaned`: this replica may be read although it has lost its master.
fn judge(greeting: &Greeting, role: Role, trusted: bool, orphaned: bool) -> Option<String> {
    match (greeting.role, role) {
        (Some(is), should) if is != should => Some(format!("it is a {is}, not a {should}")),
        (Some(_), _) => match &greeting.detail {
            Some(RoleReply::Replica { state, .. }) if !orphaned => state
                .trouble()
                .map(|state| format!("its link to its master is {state}")),
            _ => None,
        },
        (None, _) if trusted => None,
        (None, _) => Some(greeting.why_unproven()),
    }
}

fn connect_error(target: &Target, source: RedisError) -> Error {
    Error::Connect {
        role: target.role,
        node: target.node.clone(),
        source,
    }
}

fn superseded() -> RedisError {
    (
        redis::ErrorKind::Client,
        "the topology changed before the dial had ended",
    )
        .into()
}
