//! Where the master was in the last moments.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use crate::{
    node::Role,
    position::{Position, report::Report, timelines::Timelines, token::Token, verdict::Verdict},
};

/// As many moments are remembered: sixteen times the shortest age that somebody reads with.
const MAX: usize = 64;

/// The master is asked again within a part of the shortest age in use, so that a replica that lags by less
/// than the rest of it passes.
const PARTS: u32 = 4;
const SHORTEST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_secs(1);

/// How long the master is asked after the last read that wanted to know.
const IDLE: Duration = Duration::from_secs(10);

/// Positions of the master, each with the moment at which it was asked for. So the master had got there
/// then or later.
#[derive(Debug, Clone, Default)]
pub(crate) struct Samples {
    /// The oldest first.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    sent_at: Instant,
    position: Position,
}

impl Samples {
    /// The master answered this to a question that was sent then. Positions of an earlier timeline stay:
    /// what must be seen of them the verdict knows.
    pub(crate) fn note(&mut self, sent_at: Instant, position: Position) {
        // An answer that comes late says nothing new.
        if self.newest().is_some_and(|newest| sent_at <= newest) {
            return;
        }
        if self.samples.len() == MAX {
            self.samples.pop_front();
        }
        self.samples.push_back(Sample { sent_at, position });
    }

    /// What has everything that was acknowledged longer ago than this: the oldest position that was asked
    /// for since then. `None` if the master was not asked since, or did not answer.
    pub(crate) fn required(&self, now: Instant, age: Duration) -> Option<Position> {
        let is_young = |sample: &&Sample| now.saturating_duration_since(sample.sent_at) <= age;
        let mut samples = self.samples.iter();
        samples.find(is_young).map(|sample| sample.position)
    }

    /// How old the data of a replica was at most that was at this position then: the age of the newest sample
    /// that it had. `None` if it had none of them.
    pub(crate) fn age_of(
        &self,
        position: Position,
        then: Instant,
        timelines: &Timelines,
    ) -> Option<Duration> {
        let report = Report {
            role: Role::Replica,
            position,
            origin: None,
        };
        let mut had = self.samples.iter().rev().filter(|sample| {
            let token = Token::new(sample.position, 0);
            sample.sent_at <= then && timelines.verdict(&report, &token) == Verdict::Fresh
        });
        had.next()
            .map(|sample| then.saturating_duration_since(sample.sent_at))
    }

    /// When the last question was sent that was answered.
    pub(crate) fn newest(&self) -> Option<Instant> {
        self.samples.back().map(|sample| sample.sent_at)
    }
}

/// When the master is to be asked again; `None` while nobody wants to know. `asked` is when it was asked
/// last, answered or not, and `shortest` the shortest age in use.
pub(crate) fn next_at(
    asked: Option<Instant>,
    shortest: Duration,
    last_used: Instant,
    now: Instant,
) -> Option<Instant> {
    if now.saturating_duration_since(last_used) >= IDLE {
        return None;
    }
    let interval = (shortest / PARTS).clamp(SHORTEST, LONGEST);
    Some(asked.map_or(now, |asked| (asked + interval).max(now)))
}

#[cfg(test)]
mod tests;
