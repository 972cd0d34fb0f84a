//! Tells the timeline what changes, from both sides: what the pool believes, and what the servers
//! themselves say.

use std::{collections::HashMap, sync::Arc, thread, time::Duration};

use redis_rw_pool::{Pool, Topology};
use testkit::{Deployment, Server};
use tokio::task::AbortHandle;

use crate::timeline::Timeline;

/// Stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Follower(AbortHandle);

impl Drop for Follower {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) fn follow_topology(pool: &Pool, timeline: &Timeline) -> Follower {
    let mut topology = pool.watch();
    let timeline = timeline.clone();
    let mut old = Arc::clone(&topology.borrow_and_update());
    let task = tokio::spawn(async move {
        while topology.changed().await.is_ok() {
            let new = Arc::clone(&topology.borrow_and_update());
            for change in changes(&old, &new) {
                timeline.say(&format!("pool: {change}"));
            }
            old = new;
        }
    });
    Follower(task.abort_handle())
}

fn changes(old: &Topology, new: &Topology) -> Vec<String> {
    let mut changes = Vec::new();
    if let Some(master) = &new.master
        && old.master != new.master
    {
        let epoch = new.epoch;
        changes.push(format!("the master is {master} now (epoch {epoch})"));
    }
    for replica in &new.replicas {
        let before = old
            .replicas
            .iter()
            .find(|before| before.node == replica.node);
        let before = before.map(|before| &before.excluded);
        if before == Some(&replica.excluded) {
            continue;
        }
        changes.push(match &replica.excluded {
            None => format!("reads may go to {}", replica.node),
            Some(reason) => format!("no reads to {}: {reason}", replica.node),
        });
    }
    changes
}

/// Asks every node for its role, on a thread of its own and not through the pool.
pub(crate) fn follow_roles(
    deployment: &Arc<Deployment>,
    timeline: &Timeline,
) -> thread::JoinHandle<()> {
    let deployment = Arc::downgrade(deployment);
    let timeline = timeline.clone();
    thread::spawn(move || {
        let mut roles = HashMap::new();
        while let Some(deployment) = deployment.upgrade() {
            for node in deployment.nodes() {
                let Some(role) = role(node) else { continue };
                let before = roles.insert(node.port(), role.clone());
                if before.is_some_and(|before| before != role) {
                    timeline.say(&format!("node {}: I am a {role} now", node.addr()));
                }
            }
            drop(deployment);
            thread::sleep(Duration::from_millis(10));
        }
    })
}

fn role(node: &Server) -> Option<String> {
    let reply = node.try_cmd(&["ROLE"]).ok()?;
    match reply.array().first()?.as_str() {
        "slave" => Some("replica".to_owned()),
        role => Some(role.to_owned()),
    }
}
