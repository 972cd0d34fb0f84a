//! How the refresh task tells others where it stands.

use parking_lot::Mutex;
use redis::RedisError;
use tokio::{sync::watch, time::Instant};

use crate::{
    error::Said,
    node::Node,
    refresh::{
        decide::{
            election::Proof,
            fence::{Fence, Raised, Tally},
        },
        sentinels::Standing,
    },
    status::{FenceStatus, SentinelStatus},
};

/// What the last look means for somebody who waits for a master to be found.
#[derive(Debug, Clone, Default)]
pub(crate) enum Verdict {
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

/// What a look has come to so far.
#[derive(Debug)]
pub(super) struct Update {
    pub(super) verdict: Verdict,
    /// The verdict if nobody says anything more.
    pub(super) outlook: Verdict,
    pub(super) standing: Standing,
    pub(super) answered: bool,
    pub(super) said: Said,
    /// The look that is over: enough Sentinels answered, and every node that had to be asked was.
    pub(super) completed: Option<u64>,
}

#[derive(Debug, Default)]
struct State {
    status: SentinelStatus,
    last_answer: Option<Instant>,
    verdict: Verdict,
    outlook: Verdict,
    fence: Option<Raised>,
    tally: Tally,
}

/// Written by the refresh task, read by everybody.
#[derive(Debug)]
pub(crate) struct Report {
    state: Mutex<State>,
    /// Changes whenever there is something new to read; the value is the last completed look.
    progress: watch::Sender<u64>,
}

impl Report {
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
            sign: state.fence.as_ref().map(|raised| raised.sign.clone()),
            up_for,
            raised: state.tally.raised,
            false_signs: state.tally.false_signs,
            held: state.tally.held + up_for.unwrap_or_default(),
        }
    }

    pub(crate) fn verdict(&self) -> Verdict {
        self.state.lock().verdict.clone()
    }

    /// The verdict for somebody who can wait no longer.
    pub(crate) fn outlook(&self) -> Verdict {
        self.state.lock().outlook.clone()
    }

    pub(crate) fn progress(&self) -> watch::Receiver<u64> {
        self.progress.subscribe()
    }

    pub(super) fn look_began(&self, look: u64) {
        self.state.lock().status.looks = look;
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
            let standing = update.standing;
            state.status.known = standing.known;
            state.status.reachable = standing.reachable;
            state.status.listening = standing.listening;
            state.status.unheard = standing.unheard;
            state.status.refused = standing.refused;
            state.status.said = update.said;
            if update.answered {
                state.last_answer = Some(Instant::now());
            }
        }
        self.progress.send_modify(|completed| {
            *completed = update.completed.unwrap_or(0).max(*completed);
        });
    }
}

/// What a node's word says against it, for a human reader.
pub(super) fn complaint(proof: &Proof) -> Option<String> {
    match proof {
        Proof::Master | Proof::SomeReplica | Proof::Replica { link: None, .. } => None,
        Proof::Replica {
            link: Some(state), ..
        } => Some(format!("its link to its master is {state}")),
        Proof::Unprovable(reason) | Proof::Failed(reason) => Some(reason.clone()),
    }
}
