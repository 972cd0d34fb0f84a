//! Where a read goes on that did not see what it must. Pure.

use std::time::Duration;

use redis::ServerError;
use tokio::time::Instant;

use crate::{
    config::{FreshnessLimits, OnLost, Otherwise, ReadFrom},
    error::code::{self, Execution},
    freshness::session_state::SessionState,
    node::{Node, Role},
    position::{report::Report, timelines::Timelines, token::Token, verdict::Verdict},
    wire::position_question::{Answer, NoAnswer},
};

/// A replica in the same zone has a write after a tenth of a millisecond, one in the next zone after a few.
const FIRST_PAUSE: Duration = Duration::from_micros(250);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);
/// When patience is over and nobody else may serve the read, it waits for something that takes longer.
const FIRST_LONG_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_LONG_PAUSE: Duration = Duration::from_millis(10);
/// Farther away than the other end of a continent no replica answers in time.
const LONGEST_ROUND: Duration = Duration::from_millis(100);

/// What a node's answer, asked ahead of a read, says about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Fresh,
    Behind,
    /// The node does not know how far its data goes, or cannot say so now.
    NoPosition,
    /// Our user may not ask.
    Refused,
    Lost,
    Unknown,
}

impl Outcome {
    /// `None` is no answer at all.
    pub(crate) fn of(answer: Option<&Answer>, token: &Token, timelines: &Timelines) -> Self {
        match answer.map(|answer| &**answer) {
            Some(Ok(report)) => timelines.verdict(report, token).into(),
            Some(Err(NoAnswer::Refused(reply))) if is_final(reply) => Self::Refused,
            Some(Err(_)) | None => Self::NoPosition,
        }
    }
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fresh => Self::Fresh,
            Verdict::Behind => Self::Behind,
            Verdict::Lost => Self::Lost,
            Verdict::Unknown => Self::Unknown,
        }
    }
}

/// Whether the server would refuse the question again: a missing permission, a command that was renamed.
pub(crate) fn is_final(reply: &ServerError) -> bool {
    code::execution(reply.code(), reply.details().unwrap_or_default()) == Execution::Never
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The reply goes to the caller.
    Take,
    /// What must be seen is something else now: judge the same answer again.
    Judge,
    /// Ask the master where it is, call [`Pursuit::asked`] and judge the same answer again. Without an
    /// answer, go on with [`Pursuit::unanswered`].
    AskMaster,
    /// Send the read to a node that was not tried in this round and suggests itself.
    TryAnother,
    /// Wait as long, then ask the nodes alone, and read from the first that has it. If none has, go on with
    /// [`Outcome::Behind`] of a replica.
    Pause(Duration),
    /// Send the read to the master, with a question ahead of it.
    Master,
    Fail(Reason),
    /// The best reply that there was goes to the caller.
    TakeStale,
}

/// Why a read fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    Stale,
    Lost,
    Refused,
}

/// What a step depends on besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    /// There is a node that was not tried in this round, and its hint suggests it.
    pub(crate) other_suggests: bool,
    /// There is a master, and it is not being replaced.
    pub(crate) has_master: bool,
    /// The read can be sent to it.
    pub(crate) reaches_master: bool,
    /// The master is known to have got as far as what must be seen.
    pub(crate) is_reached: bool,
    /// The answer is the master's. If it is behind, it was deposed: suspect it.
    pub(crate) on_master: bool,
}

/// What does not change during a read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms {
    pub(crate) limits: FreshnessLimits,
    pub(crate) read_from: ReadFrom,
    pub(crate) began: Instant,
    /// `command_timeout` after that.
    pub(crate) deadline: Instant,
}

/// One read that must see something.
#[derive(Debug)]
pub(crate) struct Pursuit {
    terms: Terms,
    token: Token,
    told: SessionState,
    asked_master: bool,
    /// In this round.
    tried: Vec<Node>,
    pauses: u32,
    long_pauses: u32,
}

impl Pursuit {
    pub(crate) fn new(token: Token, terms: Terms) -> Self {
        Self {
            terms,
            token,
            told: SessionState::Consistent,
            asked_master: false,
            tried: Vec::new(),
            pauses: 0,
            long_pauses: 0,
        }
    }

    /// What must be seen now. What is left of it, if it was lost.
    pub(crate) fn token(&self) -> &Token {
        &self.token
    }

    /// Something else must be seen.
    pub(crate) fn require(&mut self, token: Token) {
        self.token = token;
    }

    /// What became of the writes that were to be seen.
    pub(crate) fn told(&self) -> SessionState {
        self.told
    }

    /// How often it has waited.
    pub(crate) fn pauses(&self) -> u32 {
        self.pauses + self.long_pauses
    }

    /// Until when the nodes that are asked after a pause may answer. One that is frozen holds up the read
    /// for no longer.
    pub(crate) fn round_ends(&self, now: Instant) -> Instant {
        let end = if self.long_pauses == 0 {
            let patience = self.terms.began + self.terms.limits.patience;
            patience.max(now + LONGEST_PAUSE)
        } else {
            now + LONGEST_ROUND
        };
        end.min(self.terms.deadline)
    }

    /// Takes note of an attempt over a node.
    pub(crate) fn note_try(&mut self, node: &Node) {
        if !self.has_tried(node) {
            self.tried.push(node.clone());
        }
    }

    pub(crate) fn has_tried(&self, node: &Node) -> bool {
        self.tried.contains(node)
    }

    /// Whether a node that answers this to a question alone is to be read from. That what must be seen is
    /// lost or unknown is found out by the read.
    pub(crate) fn is_worth_reading(&self, answer: &Answer, timelines: &Timelines) -> bool {
        let outcome = Outcome::of(Some(answer), &self.token, timelines);
        !matches!(outcome, Outcome::Behind | Outcome::NoPosition)
    }

    pub(crate) fn step(
        &mut self,
        outcome: Outcome,
        timelines: &Timelines,
        facts: Facts,
        now: Instant,
    ) -> Step {
        match outcome {
            Outcome::Fresh => Step::Take,
            Outcome::Refused => Step::Fail(Reason::Refused),
            Outcome::Lost => match self.lose(timelines) {
                Some(step) => step,
                None => self.go_on(facts, now),
            },
            // Nobody can be asked; the next master may know.
            Outcome::Unknown if !self.asked_master && facts.has_master => Step::AskMaster,
            Outcome::Unknown | Outcome::Behind | Outcome::NoPosition => self.go_on(facts, now),
        }
    }

    /// The master was asked after the read had begun, and the timelines have learned from its answer.
    pub(crate) fn asked(&mut self, master: &Token, timelines: &Timelines) {
        self.asked_master = true;
        let answer = Report {
            role: Role::Master,
            position: master.position(),
            origin: None,
        };
        // Otherwise the same token can be judged now.
        if timelines.verdict(&answer, &self.token) == Verdict::Unknown {
            self.told = self.told.and(SessionState::Unknown);
            self.token = master.clone();
        }
    }

    /// The master was to be asked and did not answer.
    pub(crate) fn unanswered(&mut self, facts: Facts, now: Instant) -> Step {
        let has_master = false;
        self.go_on(
            Facts {
                has_master,
                ..facts
            },
            now,
        )
    }

    fn lose(&mut self, timelines: &Timelines) -> Option<Step> {
        let left = timelines.left_of(&self.token)?;
        self.told = SessionState::WriteLost;
        if self.terms.limits.lost == OnLost::Fail {
            return Some(Step::Fail(Reason::Lost));
        }
        self.token = left;
        Some(Step::Judge)
    }

    fn go_on(&mut self, facts: Facts, now: Instant) -> Step {
        let Terms {
            limits,
            read_from,
            began,
            deadline,
        } = self.terms;
        if facts.other_suggests && now < deadline {
            return Step::TryAnother;
        }
        let patience = (began + limits.patience).min(deadline);
        if now < patience {
            let pause = pause(FIRST_PAUSE, self.pauses, LONGEST_PAUSE);
            self.pauses += 1;
            return self.pause(pause.min(patience - now));
        }
        let leads_to_master = limits.otherwise == Otherwise::Master
            && facts.has_master
            && facts.reaches_master
            && !facts.on_master
            && read_from != ReadFrom::Replica;
        // It may be forged, and then nobody will ever have it. The read itself finds out at the master.
        if !leads_to_master && !facts.is_reached && facts.has_master && !self.asked_master {
            return Step::AskMaster;
        }
        match limits.otherwise {
            Otherwise::Master if leads_to_master => Step::Master,
            Otherwise::Fail => Step::Fail(Reason::Stale),
            Otherwise::Stale => Step::TakeStale,
            Otherwise::Master if now >= deadline => Step::Fail(Reason::Stale),
            Otherwise::Master => {
                let pause = pause(FIRST_LONG_PAUSE, self.long_pauses, LONGEST_LONG_PAUSE);
                self.long_pauses += 1;
                self.pause(pause.min(deadline - now))
            }
        }
    }

    /// After a pause all nodes get another chance.
    fn pause(&mut self, pause: Duration) -> Step {
        self.tried.clear();
        Step::Pause(pause)
    }
}

fn pause(first: Duration, doublings: u32, longest: Duration) -> Duration {
    (first * (1 << doublings.min(8))).min(longest)
}

#[cfg(test)]
mod tests;
