//! Closes idle and aged connections in the background, keeps `min_idle` ready and warms a new master up.
//!
//! deadpool tests a connection only at its checkout. Without this task a pool without traffic would keep
//! every connection for ever. A pool that has none lets it rest.

mod news;
mod pace;

use std::{mem, sync::Arc, time::Duration};

use tokio::{sync::watch, time::Instant};

use crate::{
    config::PoolLimits,
    exclusive::{
        ExclusivePool,
        reaper::{news::News, pace::Pace},
    },
    status::discard::Discard,
    topology::{Target, Topology, admission::Admission},
};

/// A round reads memory only. Even so nobody needs more than a hundred a second.
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Goes on for as long as the pool is open.
pub(crate) async fn run(pool: ExclusivePool) {
    let topology = pool.role_pool().topology.subscribe();
    let reaper = Reaper {
        pool,
        demand: Demand::new(Instant::now()),
        owed: 0,
        cold: 0,
        pace: Pace::default(),
        news: News::default(),
    };
    reaper.run(topology).await;
}

struct Reaper {
    pool: ExclusivePool,
    demand: Demand,
    /// How many idle connections were closed because their node is not the master any more. The
    /// next master gets as many.
    owed: usize,
    /// How many of these have still to be dialled.
    cold: usize,
    pace: Pace,
    news: News,
}

impl Reaper {
    async fn run(mut self, mut topology: watch::Receiver<Arc<Topology>>) {
        let pause = pause(self.pool.role_pool().limits());
        let mut rests = false;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause), if !rests => {}
                () = self.pool.role_pool().stirred(), if rests => {}
                () = self.pace.next() => {}
                // Connections to a node that left are closed at once, and a node that joined gets its
                // share soon.
                changed = topology.changed() => if changed.is_err() { return },
            }
            // First: the round tells of everything that happened before the pool was empty.
            rests = self.is_pool_empty();
            self.round();
        }
    }

    /// Whether there will be nothing to do until a connection is about to be made, or the topology changes.
    fn is_pool_empty(&self) -> bool {
        let (role_pool, dialer) = (self.pool.role_pool(), self.pool.dialer());
        // In this order: a connection counts as open before its dial ends.
        role_pool.limits().min_idle == 0 && dialer.pending() == 0 && role_pool.open() == 0
    }

    fn round(&mut self) {
        let now = self.pool.role_pool().clock.tick();
        let targets = self.pool.role_pool().allowed();
        self.prune(&targets, now);
        self.pool.feed();
        self.prune_surplus(now);
        self.prune_astray();
        self.dial_ahead(!targets.is_empty(), now);
        let role_pool = self.pool.role_pool();
        for kind in self.news.gather(role_pool.name, &role_pool.stats, now) {
            role_pool.tell(kind);
        }
    }

    /// Closes what the keep-or-discard rule discards.
    fn prune(&mut self, targets: &[Target], now: Instant) {
        let role_pool = self.pool.role_pool();
        self.pool.prune(|entry| {
            // A connection that came after this round began may be of a newer topology.
            let gone = !targets.contains(&entry.target) && !role_pool.admits(&entry.target);
            self.owed += usize::from(gone);
            let admission = if gone {
                Admission::Revoked
            } else {
                Admission::Open
            };
            entry.reason_to_prune(admission, now)
        });
    }

    /// Closes idle connections that are too many, whatever the state of each.
    fn prune_surplus(&mut self, now: Instant) {
        let (pool, role_pool) = (&self.pool, self.pool.role_pool());
        let limits = role_pool.limits();
        let idle = pool.idle();
        if role_pool.is_read_pool()
            && let Some(window) = limits.idle_timeout
            && let Some(surplus) = self.demand.observe(idle, window, now)
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
    }

    /// Closes idle connections to nodes that are not preferred, while preferred ones are well, one by one.
    fn prune_astray(&self) {
        let (pool, role_pool) = (&self.pool, self.pool.role_pool());
        if !role_pool.is_read_pool() || !role_pool.finds_astray(pool.dialer().pending()) {
            return;
        }
        pool.prune(|entry| {
            role_pool
                .is_leaving(&entry.target.node)
                .then_some(Discard::Rebalance)
        });
    }

    fn dial_ahead(&mut self, has_target: bool, now: Instant) {
        let (pool, role_pool, dialer) = (&self.pool, self.pool.role_pool(), self.pool.dialer());
        let limits = role_pool.limits();
        // A dial under way is an idle connection soon.
        let ready = pool.idle() + dialer.pending();
        if role_pool.is_read_pool() {
            // It has other nodes, and `balance` evens their shares out.
            self.owed = 0;
        } else if has_target {
            let cold = warmth(mem::take(&mut self.owed), ready, limits);
            // Callers may have had some dialled meanwhile.
            let room = warmth(usize::MAX, ready, limits);
            self.cold = self.cold.max(cold).min(room);
        }
        let cold = if has_target { self.cold } else { 0 };
        let missing = limits.min_idle.saturating_sub(ready) + cold;
        let step = if role_pool.config.encrypts() {
            self.pace.step(missing, now)
        } else {
            missing
        };
        dialer.dial_ahead(step);
        if has_target {
            self.cold = self.cold.min(missing - step);
        }
        // An unused pool is left to shrink, and a connection beyond `max_idle` would be closed at once.
        let in_use = role_pool.open() > pool.idle();
        if (role_pool.take_used() || in_use) && ready < limits.effective_max_idle() {
            dialer.balance();
        }
    }
}

/// How many connections to dial to a new master. `owed` is how many were idle when the old one went:
/// without them the first callers after a failover would all wait for a dial. Connections in use move
/// to the new master by themselves.
fn warmth(owed: usize, ready: usize, limits: &PoolLimits) -> usize {
    let ready = ready.max(limits.min_idle);
    owed.min(limits.effective_max_idle()).saturating_sub(ready)
}

/// Closes up to `surplus` idle connections, of the nodes with the most, and leaves every node with the
/// same number.
fn shrink(pool: &ExclusivePool, surplus: usize) {
    let role_pool = pool.role_pool();
    let mut shares = role_pool.shares();
    let open: usize = shares.iter().map(|(_, slots)| slots).sum();
    let nodes = shares.len().max(1);
    let floor = role_pool.limits().min_idle.max(1);
    let keep = open.saturating_sub(surplus).max(floor).div_ceil(nodes);
    pool.prune(|entry| {
        let share = shares
            .iter_mut()
            .find(|(node, slots)| *node == entry.target.node && *slots > keep)?;
        share.1 -= 1;
        Some(Discard::Surplus)
    });
}

/// How many connections the read pool has beyond what it needed at its busiest moment.
///
/// Connections take turns there, so each is used now and then and none reaches `idle_timeout`. What
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

    /// Takes note of the number of idle connections. At the end of a window says how many are surplus.
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

/// A tenth of the shortest limit: limits hold nearly to the moment, and rounds cost nothing.
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
