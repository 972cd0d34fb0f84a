//! How far the refresh task has come, for callers and for the status.

use std::{mem, time::Duration};

use parking_lot::Mutex;
use redis::RedisError;
use tokio::{sync::watch, time::Instant};

use crate::{
    config::{Config, ReadFrom},
    error::{Error, Reports},
    events::Bus,
    health::Health,
    node::{Node, Role},
    refresh::{
        decide::fence::{Fence, Raised, Tally},
        sentinels::SentinelCounts,
        vitals::{Turnout, Vitals},
    },
    status::{FenceStatus, MasterStatus, SentinelStatus},
    topology::{Handle, Topology},
};

/// Far from where adding it to an instant overflows.
const LONGEST_WAIT: Duration = Duration::from_secs(36_500 * 24 * 60 * 60);

/// What the last refresh means to a caller that waits for a master.
#[derive(Debug, Clone, Default)]
pub(crate) enum Readiness {
    /// A master was found, or may still be found.
    #[default]
    Open,
    NoSentinel {
        /// Whether all of them refused to let us in.
        refused: bool,
    },
    UnknownMaster,
    /// The node that should be the master does not let us in.
    Refused(Node, RedisError),
}

/// How far a refresh has come.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) readiness: Readiness,
    /// The readiness if no further answer comes.
    pub(super) outlook: Readiness,
    pub(super) counts: SentinelCounts,
    pub(super) answered: bool,
    /// None while nodes are being asked.
    pub(super) turnout: Option<Turnout>,
    pub(super) reports: Reports,
    /// The refresh that is complete: enough Sentinels answered, and every node that had to be asked
    /// answered, or failed to.
    pub(super) completed: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    status: SentinelStatus,
    last_answer: Option<Instant>,
    readiness: Readiness,
    outlook: Readiness,
    fence: Option<Raised>,
    tally: Tally,
    vitals: Vitals,
}

/// Written by the refresh task, read by everybody.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    state: Mutex<State>,
    /// Where the tasks of the pool tell what happens.
    pub(crate) events: Bus,
    /// Changes whenever there is something new to read; the value is the last completed refresh.
    progress: watch::Sender<u64>,
}

impl Progress {
    pub(crate) fn status(&self) -> SentinelStatus {
        let state = self.state.lock();
        SentinelStatus {
            last_answer: state.last_answer.map(|at| at.elapsed()),
            ..state.status.clone()
        }
    }

    pub(crate) fn fence_status(&self) -> FenceStatus {
        let state = self.state.lock();
        let up_for = state.fence.as_ref().map(|raised| raised.since.elapsed());
        FenceStatus {
            kind: state.fence.as_ref().map(|raised| raised.kind),
            sign: state.fence.as_ref().map(|raised| raised.sign.clone()),
            up_for,
            raised: state.tally.raised,
            false_signs: state.tally.false_signs,
            held: state.tally.held + up_for.unwrap_or_default(),
        }
    }

    /// The master, and how many times there was another one.
    pub(crate) fn master(&self) -> (MasterStatus, u64) {
        let state = self.state.lock();
        let vitals = &state.vitals;
        (vitals.master(Instant::now()), vitals.master_changes())
    }

    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(super) fn refresh_began(&self, round: u64) {
        self.state.lock().status.refreshes = round;
    }

    pub(super) fn event(&self) {
        self.state.lock().status.events += 1;
    }

    pub(super) fn stale_answer(&self) {
        self.state.lock().status.stale_answers += 1;
    }

    pub(super) fn fence(&self, fence: &Fence) {
        let mut state = self.state.lock();
        state.tally = fence.tally();
        if state.fence.as_ref() != fence.raised() {
            state.fence = fence.raised().cloned();
        }
    }

    /// What the pool can do now, where callers wait so long.
    pub(crate) fn health(&self, patience: Duration) -> Health {
        self.state.lock().vitals.health(patience, Instant::now())
    }

    pub(super) fn topology(&self, topology: &Topology, policy: ReadFrom) {
        let now = Instant::now();
        self.state.lock().vitals.observe(topology, policy, now);
    }

    /// Records what Sentinels say against a master that is written to all the same.
    pub(super) fn claim(&self, claim: Option<String>) {
        let before = mem::replace(&mut self.state.lock().status.claim, claim.clone());
        // Without the lock: a subscriber of the log may ask for the pool's status.
        if let (None, Some(claim)) = (before, claim) {
            tracing::warn!(
                claim,
                "the Sentinels cannot see the master; do they have its password?"
            );
        }
    }

    /// A refresh is complete, and all is as it was.
    pub(super) fn confirm(&self, round: u64) {
        self.state.lock().last_answer = Some(Instant::now());
        self.progress
            .send_modify(|completed| *completed = round.max(*completed));
    }

    pub(super) fn update(&self, update: Update) {
        {
            let mut state = self.state.lock();
            state.readiness = update.readiness;
            state.outlook = update.outlook;
            let counts = update.counts;
            if let Some(turnout) = update.turnout {
                state.vitals.hear(turnout, Instant::now());
            }
            state.status.known = counts.known;
            state.status.reachable = counts.reachable;
            state.status.listening = counts.listening;
            state.status.unheard = counts.unheard;
            state.status.refused = counts.refused;
            state.status.reports = update.reports;
            if update.answered {
                state.last_answer = Some(Instant::now());
            }
        }
        self.progress.send_modify(|completed| {
            *completed = update.completed.unwrap_or(0).max(*completed);
        });
    }

    /// Waits for the first topology, at most this long. An error says why there is none. It comes at
    /// once if waiting is useless.
    pub(crate) async fn first_topology(
        &self,
        config: &Config,
        topology: &Handle,
        within: Duration,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut progress = self.progress();
        let mut settled_by = began + within.min(LONGEST_WAIT);
        loop {
            if topology.snapshot().master.is_some() {
                if *progress.borrow_and_update() > 0 {
                    return Ok(());
                }
                // The master is there: a replica that hangs must not hold up the service for long.
                settled_by = settled_by.min(Instant::now() + config.sentinel_timeout);
            } else if let Some(error) = self.error(config).filter(|error| !error.is_transient()) {
                return Err(error);
            }
            let changed = tokio::time::timeout_at(settled_by, progress.changed());
            if changed.await.is_err() {
                if topology.snapshot().master.is_some() {
                    return Ok(());
                }
                let outlook = self.state.lock().outlook.clone();
                let error = self.explain(config, outlook);
                return Err(error.unwrap_or_else(|| self.no_master(config, began.elapsed())));
            }
        }
    }

    /// Why there is no master, after so long a wait.
    pub(crate) fn no_master(&self, config: &Config, waited: Duration) -> Error {
        self.error(config).unwrap_or_else(|| Error::NoMaster {
            master_name: config.master_name.clone(),
            waited,
            reports: self.status().reports,
        })
    }

    /// Why no master was found when Sentinels and nodes were asked last; `None` if one was, or if they
    /// are still being asked. If the error is transient, one may be found later.
    pub(crate) fn error(&self, config: &Config) -> Option<Error> {
        let readiness = self.state.lock().readiness.clone();
        self.explain(config, readiness)
    }

    fn explain(&self, config: &Config, readiness: Readiness) -> Option<Error> {
        let master_name = config.master_name.clone();
        let reports = self.status().reports;
        match readiness {
            Readiness::Open => None,
            Readiness::NoSentinel { refused } => Some(Error::NoSentinel {
                master_name,
                refused,
                reports,
            }),
            Readiness::UnknownMaster => Some(Error::UnknownMaster {
                master_name,
                reports,
            }),
            Readiness::Refused(node, source) => Some(Error::Connect {
                role: Role::Master,
                node,
                source,
            }),
        }
    }
}
