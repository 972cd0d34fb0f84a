//! How the refresh task tells others where it stands.

use parking_lot::Mutex;
use redis::RedisError;
use tokio::{sync::watch, time::Instant};

use crate::{
    config::Config,
    error::{Error, Reports},
    node::{Node, Role},
    refresh::{
        decide::{
            fence::{Fence, Raised, Tally},
            node_report::NodeReport,
        },
        sentinels::Admission,
    },
    status::{FenceStatus, SentinelStatus},
    topology::Handle,
};

/// What the last refresh means for somebody who waits for a master to be found.
#[derive(Debug, Clone, Default)]
pub(crate) enum Readiness {
    /// It may still be found.
    #[default]
    Open,
    NoSentinel {
        /// Whether every one of them turned us away.
        refused: bool,
    },
    UnknownMaster,
    /// The node that should be the master does not let us in.
    Refused(Node, RedisError),
}

/// What a refresh has come to so far.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) verdict: Readiness,
    /// The verdict if nobody says anything more.
    pub(super) outlook: Readiness,
    pub(super) admission: Admission,
    pub(super) answered: bool,
    pub(super) said: Reports,
    /// The refresh that is over: enough Sentinels answered, and every node that had to be asked was.
    pub(super) completed: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    status: SentinelStatus,
    last_answer: Option<Instant>,
    verdict: Readiness,
    outlook: Readiness,
    fence: Option<Raised>,
    tally: Tally,
}

/// Written by the refresh task, read by everybody.
#[derive(Debug)]
pub(crate) struct Progress {
    state: Mutex<State>,
    /// Changes whenever there is something new to read; the value is the last completed refresh.
    progress: watch::Sender<u64>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            progress: watch::Sender::new(0),
        }
    }

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

    /// Takes note of what Sentinels say against a master that is written to all the same.
    pub(super) fn claim(&self, claim: Option<String>) {
        let mut state = self.state.lock();
        if let Some(claim) = claim.as_ref().filter(|_| state.status.claim.is_none()) {
            tracing::warn!(
                claim,
                "the Sentinels cannot see the master; do they have its password?"
            );
        }
        state.status.claim = claim;
    }

    pub(super) fn update(&self, update: Update) {
        {
            let mut state = self.state.lock();
            state.verdict = update.verdict;
            state.outlook = update.outlook;
            let admission = update.admission;
            state.status.known = admission.known;
            state.status.reachable = admission.reachable;
            state.status.listening = admission.listening;
            state.status.unheard = admission.unheard;
            state.status.refused = admission.refused;
            state.status.said = update.said;
            if update.answered {
                state.last_answer = Some(Instant::now());
            }
        }
        self.progress.send_modify(|completed| {
            *completed = update.completed.unwrap_or(0).max(*completed);
        });
    }

    /// Waits for the first topology, or for the reason why there will be none.
    pub(crate) async fn first_topology(
        &self,
        config: &Config,
        topology: &Handle,
    ) -> Result<(), Error> {
        let began = Instant::now();
        let mut progress = self.progress();
        let mut settled_by = began + config.connect_timeout;
        loop {
            if topology.snapshot().master.is_some() {
                if *progress.borrow_and_update() > 0 {
                    return Ok(());
                }
                // A replica that hangs must not hold up a service whose master is there.
                settled_by = settled_by.min(Instant::now() + config.sentinel_timeout);
            } else if let Some(error) = self.error(config) {
                return Err(error);
            }
            let changed = tokio::time::timeout_at(settled_by, progress.changed());
            if changed.await.is_err() {
                if topology.snapshot().master.is_some() {
                    return Ok(());
                }
                let outlook = self.state.lock().outlook.clone();
                let error = self.explain(config, outlook);
                return Err(error.unwrap_or_else(|| Error::NoMaster {
                    master_name: config.master_name.clone(),
                    waited: began.elapsed(),
                    said: self.status().said,
                }));
            }
        }
    }

    /// What the last refresh means to somebody who waits for a master, if it is no good.
    pub(crate) fn error(&self, config: &Config) -> Option<Error> {
        let verdict = self.state.lock().verdict.clone();
        self.explain(config, verdict)
    }

    fn explain(&self, config: &Config, readiness: Readiness) -> Option<Error> {
        let master_name = config.master_name.clone();
        let said = self.status().said;
        match readiness {
            Readiness::Open => None,
            Readiness::NoSentinel { refused } => Some(Error::NoSentinel {
                master_name,
                refused,
                said,
            }),
            Readiness::UnknownMaster => Some(Error::UnknownMaster { master_name, said }),
            Readiness::Refused(node, source) => Some(Error::Connect {
                role: Role::Master,
                node,
                source,
            }),
        }
    }
}

/// What a node's word says against it, for a human reader.
pub(super) fn complaint(node_report: &NodeReport) -> Option<String> {
    match node_report {
        NodeReport::Master | NodeReport::SomeReplica | NodeReport::Replica { link: None, .. } => {
            None
        }
        NodeReport::Replica {
            link: Some(state), ..
        } => Some(format!("its link to its master is {state}")),
        NodeReport::Unprovable(reason) | NodeReport::Failed(reason) => Some(reason.clone()),
    }
}
