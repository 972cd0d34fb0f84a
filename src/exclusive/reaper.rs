//! Closes idle and aged connections in the background, keeps `min_idle` ready and warms a new master up.
//!
//! deadpool looks at a connection only when it is checked out, so without this task a pool without
//! traffic would keep everything for ever.

use std::{sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    config::PoolLimits,
    exclusive::ExclusivePool,
    status::discard::Discard,
    topology::{Topology, admission::Admission},
    util::abort_on_drop::AbortOnDrop,
};

/// A round looks at memory only; even so there is no need for more than this many in a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Starts the task. It lives until the returned guard is dropped.
pub(crate) fn spawn(pool: ExclusivePool, topology: watch::Receiver<Arc<Topology>>) -> AbortOnDrop {
    let runtime = Arc::clone(&pool.dialer().role_pool().runtime);
    AbortOnDrop::spawn_on(&runtime, run(pool, topology))
}

async fn run(pool: ExclusivePool, mut topology: watch::Receiver<Arc<Topology>>) {
    let pause = pause(pool.dialer().role_pool().limits());
    let mut demand = Demand::new(Instant::now());
    let mut owed = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            // A node that left is drained at once, one that joined gets its share soon.
            changed = topology.changed() => if changed.is_err() { return },
        }
        prune(&pool, &mut demand, &mut owed);
    }
}

fn prune(pool: &ExclusivePool, demand: &mut Demand, owed: &mut usize) {
    let dialer = pool.dialer();
    let role_pool = dialer.role_pool();
    let now = role_pool.clock.tick();
    let limits = role_pool.limits();
    let targets = role_pool.targets();
    pool.prune(|entry| {
        // One that came after this round began may be of a newer topology.
        let gone = !targets.contains(&entry.target) && !role_pool.admits(&entry.target);
        *owed += usize::from(gone);
        let admission = if gone {
            Admission::Revoked
        } else {
            Admission::Open
        };
        entry.reason_to_prune(admission, now)
    });
    pool.feed();
    let idle = pool.idle();
    if role_pool.is_read_pool()
        && let Some(window) = limits.idle_timeout
        && let Some(surplus) = demand.observe(idle, window, now)
    {
        shrink(pool, surplus);
    }
    // Returns at the same moment do not see each other, so one too many may have been kept.
    let mut excess = pool.idle().saturating_sub(limits.effective_max_idle());
    pool.prune(|_| {
        let surplus = excess > 0;
        excess = excess.saturating_sub(1);
        surplus.then_some(Discard::MaxIdle)
    });
    // Dials under way are idle connections soon.
    let ready = pool.idle() + dialer.pending();
    dialer.dial_ahead(limits.min_idle.saturating_sub(ready));
    if role_pool.is_read_pool() {
        *owed = 0;
    } else if !targets.is_empty() {
        dialer.dial_ahead(warmth(std::mem::take(owed), ready, limits));
    }
    // What nobody uses is left to grow old, and one more than may stay idle would only be closed.
    let in_use = role_pool.open() > pool.idle();
    if (role_pool.take_used() || in_use) && ready < limits.effective_max_idle() {
        dialer.balance();
    }
}

/// How many connections to dial to a new master: those that were idle when the old one went are
/// `owed`, or the first callers after a failover would all wait for a dial. Those in use go over by
/// themselves. A pool that reads has other nodes, and evens their shares out in its own time.
fn warmth(owed: usize, ready: usize, limits: &PoolLimits) -> usize {
    let ready = ready.max(limits.min_idle);
    owed.min(limits.effective_max_idle()).saturating_sub(ready)
}

/// Closes up to `surplus` idle connections, from the nodes that have most, and leaves every node
/// with the same number.
fn shrink(pool: &ExclusivePool, surplus: usize) {
    let role_pool = pool.dialer().role_pool();
    let mut shares = role_pool.shares();
    let open: usize = shares.iter().map(|(_, places)| places).sum();
    let nodes = shares.len().max(1);
    let floor = role_pool.limits().min_idle.max(1);
    let keep = open.saturating_sub(surplus).max(floor).div_ceil(nodes);
    pool.prune(|entry| {
        let share = shares
            .iter_mut()
            .find(|(node, places)| *node == entry.target.node && *places > keep)?;
        share.1 -= 1;
        Some(Discard::Surplus)
    });
}

/// How many of the connections that take turns are more than were ever needed at once.
///
/// Taking turns keeps every connection in use now and then, so none of them ever looks idle. What
/// counts is how many were idle at the busiest moment of the last `idle_timeout`.
#[derive(Debug)]
struct Demand {
    window_began: Instant,
    fewest_idle: usize,
}

impl Demand {
    fn new(now: Instant) -> Self {
        Self {
            window_began: now,
            fewest_idle: usize::MAX,
        }
    }

    /// Takes note of the idle connections; at the end of a window says how many are surplus.
    fn observe(&mut self, idle: usize, window: Duration, now: Instant) -> Option<usize> {
        self.fewest_idle = self.fewest_idle.min(idle);
        if now.saturating_duration_since(self.window_began) < window {
            return None;
        }
        let surplus = self.fewest_idle;
        *self = Self::new(now);
        (surplus > 0).then_some(surplus)
    }
}

/// Often enough to be a small part late, seldom enough to cost nothing.
fn pause(limits: &PoolLimits) -> Duration {
    [
        limits.idle_timeout,
        limits.max_lifetime,
        limits.test_idle_after.filter(|after| !after.is_zero()),
    ]
    .into_iter()
    .flatten()
    .min()
    .map_or(LONGEST_PAUSE, |shortest| shortest / 10)
    .clamp(SHORTEST_PAUSE, LONGEST_PAUSE)
}

#[cfg(test)]
mod tests;
