//! The dials of one subscriber.

use std::sync::Arc;

use tokio::{
    task::{JoinError, JoinSet},
    time::Instant,
};

use crate::{
    error::Error,
    role_pool::{RolePool, connect, tier::Tier},
    status::subscriber::SubscriberStats,
    topology::Target,
    util::jitter,
    wire::connection::WireConnection,
};

/// What came of a dial.
#[derive(Debug)]
pub(super) struct Dialled {
    pub(super) number: u64,
    /// There are nodes that are not preferred, and they are tried next where this one is in trouble.
    pub(super) has_detour: bool,
    pub(super) target: Target,
    pub(super) result: Result<WireConnection, Error>,
}

#[derive(Debug)]
pub(super) struct Dials {
    under_way: JoinSet<Dialled>,
    /// That of the last one.
    number: u64,
    turn: u64,
}

impl Dials {
    pub(super) fn new() -> Self {
        Self {
            under_way: JoinSet::new(),
            number: 0,
            turn: jitter::seed(),
        }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    /// `None` at once while none is under way.
    pub(super) async fn next(&mut self) -> Option<Result<Dialled, JoinError>> {
        self.under_way.join_next().await
    }

    /// To one of these that is not paused, if there is one, and to a preferred one before all others. Which
    /// one is left to chance, and not the same twice in a row.
    pub(super) fn start(
        &mut self,
        number: u64,
        among: &[Target],
        replaces: bool,
        role_pool: &Arc<RolePool>,
        stats: &Arc<SubscriberStats>,
    ) {
        let tier = role_pool.tier();
        let target = self.choose(among, &tier, role_pool);
        let has_detour = tier.is_narrow && !replaces;
        self.number = number;
        let (pool, stats) = (Arc::clone(role_pool), Arc::clone(stats));
        let dial = async move {
            let result = if replaces {
                connect::attempt_replacement(&pool, &target, &stats.dials).await
            } else {
                connect::attempt(&pool, &target, &stats.dials).await
            };
            Dialled {
                number,
                has_detour,
                target,
                result,
            }
        };
        self.under_way.spawn(role_pool.runtime.count(dial));
    }

    fn choose(&mut self, among: &[Target], tier: &Tier, role_pool: &RolePool) -> Target {
        let now = Instant::now();
        let is_ready = |target: &&Target| {
            let paused = role_pool.node_table.paused_until(&target.node);
            paused.is_none_or(|until| until <= now)
        };
        let is_preferred = |target: &&Target| is_ready(target) && tier.targets.contains(target);
        let mut choice: Vec<&Target> = among.iter().filter(is_preferred).collect();
        if choice.is_empty() {
            choice.extend(among.iter().filter(is_ready));
        }
        if choice.is_empty() {
            choice.extend(among);
        }
        self.turn = self.turn.wrapping_add(1);
        let place = usize::try_from(self.turn % choice.len() as u64).unwrap_or_default();
        choice[place].clone()
    }
}
