//! One attempt to connect to a node, which must prove on that very connection what it is.

use std::sync::{Arc, atomic::Ordering::Relaxed};

use redis::{RedisError, RedisResult};
use tokio::{sync::watch, time::Instant};

use crate::{
    error::Error,
    node::Role,
    role_pool::Home,
    topology::{Target, Topology},
    wire::{
        connection::Exclusive,
        handshake::{self, Greeting},
        role::RoleReply,
    },
};

/// Connects to a target of this pool, when its turn comes.
///
/// A failure makes the node rest for a while, and has it looked at.
pub(crate) async fn attempt(home: &Home, target: &Target) -> Result<Exclusive, Error> {
    let mut changes = home.topology.subscribe();
    let dialled = tokio::select! {
        // A dial to a node that has been replaced may hang for long, and its caller need not.
        () = departure(home, &mut changes, target) => None,
        dialled = connect_in_turn(home, target) => dialled,
    };
    let Some(dialled) = dialled.filter(|_| is_wanted(home, target)) else {
        return Err(connect_error(target, superseded()));
    };
    match dialled {
        Ok(wire) => {
            home.fleet.succeeded(&target.node);
            Ok(wire)
        }
        Err(error) => {
            home.stats.dial_failures.fetch_add(1, Relaxed);
            home.fleet.failed(&target.node);
            if error.is_timeout() {
                let within = home.config.connect_timeout;
                home.topology.silence(&target.node, within);
            } else {
                home.topology.suspect(&target.node);
            }
            Err(connect_error(target, error))
        }
    }
}

fn is_wanted(home: &Home, target: &Target) -> bool {
    !home.is_closed() && home.admits(target)
}

/// Ends when the pool may not go to this target any more.
async fn departure(home: &Home, changes: &mut watch::Receiver<Arc<Topology>>, target: &Target) {
    while is_wanted(home, target) && changes.changed().await.is_ok() {}
}

/// Nothing where the target is not wanted any more when its turn comes.
async fn connect_in_turn(home: &Home, target: &Target) -> Option<RedisResult<Exclusive>> {
    let gate = home.fleet.gate(&target.node);
    let _turn = gate.acquire().await;
    let mut changes = home.topology.subscribe();
    // Those ahead may have failed meanwhile: the pause after that is for all, or everybody who
    // waits would try at once.
    while let Some(until) = home.fleet.paused_until(&target.node)
        && until > Instant::now()
    {
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = changes.changed() => break,
        }
    }
    if !is_wanted(home, target) {
        return None;
    }
    Some(connect(home, target).await)
}

async fn connect(home: &Home, target: &Target) -> RedisResult<Exclusive> {
    let deadline = Instant::now() + home.config.connect_timeout;
    let (mut wire, greeting) =
        handshake::connect(&home.config, &target.node, target.role, deadline).await?;
    let snapshot = home.topology.snapshot();
    let trusted = snapshot.unproven.is_some();
    let orphaned = snapshot.is_orphaned(&target.node);
    match judge(&greeting, target.role, trusted, orphaned) {
        None => {
            wire.live_on(&home.runtime);
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

/// What speaks against taking a node for what it should be, by its own greeting on this very
/// socket. `trusted` says that the deployment's nodes may not tell their role, `orphaned` that this
/// one may be read although it has lost its master.
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
        (None, _) => Some(greeting.silence()),
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
        "the topology changed before the dial began",
    )
        .into()
}
