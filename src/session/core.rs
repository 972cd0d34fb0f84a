//! What the clones of a session share.

use std::{
    mem,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    freshness::{
        Shared,
        asks::{Asks, Need},
        session_state::SessionState,
    },
    node::Role,
    position::{Position, timeline::Timeline, timelines::Timelines, token::Token},
    session::record::Record,
    status::freshness::count,
    util::jitter,
    wire::position_question::{Answers, Want},
};

#[derive(Debug)]
pub(super) struct Core {
    shared: Arc<Shared>,
    record: Mutex<Record>,
    /// As in the record, for reads, of which nothing is kept otherwise.
    is_monotonic: AtomicBool,
    /// How old what reads see may be.
    max_staleness: Option<Duration>,
    /// Random, for tokens in doubt. Most sessions need none.
    stranger: OnceLock<u64>,
}

impl Core {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            max_staleness: shared.config.staleness_of_reads(),
            shared,
            record: Mutex::default(),
            is_monotonic: AtomicBool::new(false),
            stranger: OnceLock::new(),
        }
    }

    pub(super) fn resume(&self, token: &Token) {
        // Where there is nothing else, a read finds out.
        let is_reached = !self.record.lock().is_empty() && self.shared.has_reached(token);
        self.update(|record, timelines| record.resumed(token.clone(), is_reached, timelines));
    }

    pub(super) fn set_monotonic(&self, monotonic: bool) {
        self.update(|record, _| record.monotonic(monotonic));
        self.is_monotonic.store(monotonic, Relaxed);
    }

    /// In doubt it is a token of a timeline that is nobody's, another one for each doubt: who reads after it
    /// asks the master first, in whatever process.
    pub(super) fn token(&self) -> Option<Token> {
        let doubts = {
            let record = self.record.lock();
            let Some(doubts) = record.doubts() else {
                return record.token(&self.shared.timelines()).cloned();
            };
            doubts
        };
        let own = self.stranger.get_or_init(jitter::seed);
        let mut state = own.wrapping_add(doubts);
        let timeline = Timeline::stranger(|| jitter::roll(&mut state));
        Some(self.shared.token_at(Position {
            timeline,
            offset: 0,
        }))
    }

    pub(super) fn state(&self) -> SessionState {
        let timelines = self.shared.timelines();
        self.record.lock().state(&timelines)
    }

    /// In addition, what every read of this pool needs.
    fn recent(&self, need: Need) -> Need {
        match (need, self.max_staleness) {
            (Need::Nothing, Some(age)) => Need::Within(age),
            (Need::After(token), Some(age)) => Need::AfterAndWithin(token, age),
            (need, _) => need,
        }
    }

    fn want_of_read(&self, record: &Record, role: Role) -> Want {
        let needs_anything = self.max_staleness.is_some() || record.needs_anything();
        // What the master has is not behind.
        let is_proven = role == Role::Replica && needs_anything;
        match (is_proven, record.is_monotonic()) {
            (false, false) => Want::NOTHING,
            (true, false) => Want::AHEAD,
            (false, true) => Want::BEHIND,
            (true, true) => Want::BOTH,
        }
    }

    fn update(&self, change: impl FnOnce(Record, &Timelines) -> Record) {
        let timelines = self.shared.timelines();
        let mut record = self.record.lock();
        *record = change(mem::take(&mut *record), &timelines);
    }
}

impl Asks for Core {
    fn want(&self, is_read: bool, role: Role) -> Want {
        if !is_read {
            return Want::BEHIND;
        }
        self.want_of_read(&self.record.lock(), role)
    }

    fn need(&self) -> Need {
        let record = self.record.lock();
        let simple = record.simple_need();
        let need = simple.unwrap_or_else(|| record.need(&self.shared.timelines()));
        self.recent(need)
    }

    fn want_and_need(&self, role: Role) -> (Want, Need) {
        let record = self.record.lock();
        let need = record.simple_need();
        let need = need.unwrap_or_else(|| record.need(&self.shared.timelines()));
        (self.want_of_read(&record, role), self.recent(need))
    }

    fn settled(&self, answers: &Answers, is_read: bool) {
        let behind = answers.behind.as_ref();
        if !is_read {
            let token = behind.and_then(|answer| self.shared.token_of(answer));
            if let Some(token) = &token
                && self.record.lock().advance(token)
            {
                return;
            }
            self.update(|record, timelines| record.wrote(token, timelines));
        } else if self.is_monotonic.load(Relaxed) {
            match behind.and_then(|answer| self.shared.seen_at(answer)) {
                Some(token) => self.update(|record, timelines| record.saw(token, timelines)),
                // What it has seen the master has, too.
                None => self.unknown(),
            }
        }
    }

    fn unknown(&self) {
        self.update(|record, _| record.outcome_unknown());
    }

    fn asked(&self, master: &Token, doubts: u64) {
        let before = self.state();
        self.update(|record, timelines| record.asked(master.clone(), doubts, timelines));
        if before != SessionState::Unknown && self.state() == SessionState::Unknown {
            count(&self.shared.stats.unknown);
        }
    }

    fn instead(&self, was: &Token, by: &Token, state: SessionState) -> (Token, bool) {
        let timelines = self.shared.timelines();
        let mut record = self.record.lock();
        let is_news = record.instead(was, by, state, &timelines);
        (record.and_own(by.clone(), &timelines), is_news)
    }

    fn told(&self, state: SessionState) {
        // Nearly every read tells of nothing.
        if state != SessionState::Consistent {
            self.update(|record, _| record.told(state));
        }
    }
}

#[cfg(test)]
mod tests;
