//! The lease: a guard is for a role and not for one socket. Before a command is written the guard
//! waits for the end of a fence, and replaces a connection that takes no more commands.

use std::{sync::Arc, time::Duration};

use deadpool::managed::Object;
use redis::RedisResult;
use tokio::time::Instant;

use crate::{
    error::{Error, failure::Cause},
    exclusive::connection::Connection,
    topology::admission::Admission,
    util::far::FAR,
    wire::command::affinity::Affinity,
};

/// How long a command may wait for what it needs.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wait {
    pub(super) until: Instant,
    pub(super) whole: Duration,
}

impl Connection {
    pub(super) fn wait(&self) -> Wait {
        let (now, acquire_timeout) = (Instant::now(), self.entry().role_pool().acquire_timeout());
        let left = self.until.map(|until| until.saturating_duration_since(now));
        let whole = left.map_or(acquire_timeout, |left| left.min(acquire_timeout));
        Wait {
            until: now + whole.min(FAR),
            whole,
        }
    }

    /// Waits while the master is being replaced, and takes a fresh connection where this one takes no
    /// more commands. Nothing of the command has been written yet.
    pub(super) async fn wait_until_usable(
        &mut self,
        affinity: Affinity,
        wait: Wait,
    ) -> RedisResult<()> {
        let role_pool = Arc::clone(self.entry().role_pool());
        let mut changes = role_pool.topology.subscribe();
        loop {
            if role_pool.runtime.has_ended() {
                return Err(Error::RuntimeEnded.into());
            }
            changes.mark_unchanged();
            if self.entry().is_fit() || self.is_pinned() {
                return Ok(());
            }
            match self.entry_mut().admission() {
                Admission::Open => return Ok(()),
                Admission::Revoked => self.replace_connection(affinity, wait).await?,
                Admission::Fenced => {
                    let changed = tokio::time::timeout_at(wait.until, changes.changed());
                    tokio::select! {
                        lifted = changed => if !matches!(lifted, Ok(Ok(()))) {
                            let sign = role_pool.topology.snapshot().fence.clone();
                            let cause = Cause::Fenced(sign.unwrap_or_default(), wait.whole);
                            return Err(self.failure(cause));
                        },
                        () = role_pool.closing() => return Err(role_pool.ending().into()),
                    }
                }
            }
        }
    }

    /// Whether the caller has set up something on a connection of the read pool. Such a connection is
    /// used until it breaks, even if its node is no longer fit to read from.
    fn is_pinned(&self) -> bool {
        let entry = self.entry();
        entry.role_pool().is_read_pool() && entry.is_open() && !entry.is_replaceable()
    }

    /// Takes a fresh connection in place of this one. The permit of deadpool stays with the guard, so
    /// that a pool of one cannot wait for itself. A caller may drop this future: then the guard has no
    /// connection, and the next command takes one.
    pub(super) async fn replace_connection(
        &mut self,
        affinity: Affinity,
        wait: Wait,
    ) -> RedisResult<()> {
        if !self.entry().is_replaceable() {
            return Err(self.failure(self.why_not_replaceable()));
        }
        if affinity == Affinity::Connection {
            self.start_over();
            return Err(self.failure(Cause::Severed));
        }
        let entry = self.entry_mut();
        if entry.is_open() {
            // Closed before another is made, so that the limit holds at every moment.
            let reason = entry.why_replaced();
            entry.close(reason);
        }
        let (role_pool, before) = (Arc::clone(entry.role_pool()), entry.target.node.clone());
        let retired_at = entry.retired_at();
        let Some(pool) = Object::pool(self.object()) else {
            return Err(role_pool.ending().into());
        };
        let dialer = Arc::clone(pool.manager().dialer());
        drop(pool);
        loop {
            let mut fresh = match tokio::time::timeout_at(wait.until, dialer.obtain()).await {
                Ok(obtained) => obtained?.0,
                Err(_) => return Err(dialer.timed_out(wait.whole).into()),
            };
            // A reply that retires a connection retires every connection that was made to the same
            // node before it.
            if fresh.target.node == before && retired_at.is_some_and(|at| fresh.is_older_than(at)) {
                fresh.close(role_pool.departed());
                continue;
            }
            let moved = fresh.target.node != before;
            *self.entry_mut() = *fresh;
            self.severed |= self.used;
            return if moved && affinity == Affinity::Node {
                Err(self.failure(Cause::Elsewhere(before)))
            } else {
                Ok(())
            };
        }
    }

    fn why_not_replaceable(&self) -> Cause {
        let entry = self.entry();
        let master = entry.role_pool().topology.snapshot().master.clone();
        if entry.role_pool().is_read_pool() || master.as_ref() == Some(&entry.target.node) {
            Cause::Unusable
        } else {
            Cause::Superseded(master)
        }
    }
}
