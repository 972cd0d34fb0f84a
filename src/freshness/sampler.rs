//! Asks the master again and again where it is, while somebody reads with an age.

use std::{
    sync::{Arc, Weak},
    time::Duration,
};

use parking_lot::Mutex;
use tokio::time::{Instant, sleep_until};

use crate::{
    freshness::{Shared, line::Line},
    position::{
        Position,
        samples::{self, Samples},
        timelines::Timelines,
    },
};

/// The positions of the master in the last moments, and who wants to know them.
#[derive(Debug)]
pub(super) struct Sampler {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    samples: Samples,
    /// `None` while no task asks.
    used: Option<Used>,
}

#[derive(Debug, Clone, Copy)]
struct Used {
    /// The shortest age since the task was started.
    shortest: Duration,
    last: Instant,
}

impl Sampler {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
        }
    }

    /// Takes note of a read with this age. Returns whether a task must be started that asks the master.
    pub(super) fn is_to_run(&self, age: Duration, now: Instant) -> bool {
        let mut state = self.state.lock();
        let is_first = state.used.is_none();
        let shortest = state.used.map_or(age, |used| used.shortest.min(age));
        state.used = Some(Used {
            shortest,
            last: now,
        });
        is_first
    }

    pub(super) fn required(&self, now: Instant, age: Duration) -> Option<Position> {
        self.state.lock().samples.required(now, age)
    }

    pub(super) fn newest(&self) -> Option<Instant> {
        self.state.lock().samples.newest()
    }

    pub(super) fn age_of(
        &self,
        position: Position,
        then: Instant,
        timelines: &Timelines,
    ) -> Option<Duration> {
        let samples = self.state.lock().samples.clone();
        samples.age_of(position, then, timelines)
    }

    fn note(&self, sent_at: Instant, position: Position) {
        self.state.lock().samples.note(sent_at, position);
    }

    /// When to ask again. `None` ends the task; the next read with an age starts another one.
    fn next_at(&self, asked: Option<Instant>, now: Instant) -> Option<Instant> {
        let mut state = self.state.lock();
        let used = state.used?;
        let next = samples::next_at(asked, used.shortest, used.last, now);
        if next.is_none() {
            state.used = None;
        }
        next
    }

    fn stop(&self) {
        self.state.lock().used = None;
    }
}

/// Asks for as long as somebody wants to know. While it waits it keeps nothing alive.
pub(super) async fn run(shared: Weak<Shared>, line: Weak<dyn Line>) {
    let mut asked = None;
    loop {
        let Some(strong) = shared.upgrade() else {
            return;
        };
        let Some(next) = strong.sampler.next_at(asked, Instant::now()) else {
            return;
        };
        drop(strong);
        sleep_until(next).await;
        let (Some(shared), Some(line)) = (shared.upgrade(), line.upgrade()) else {
            break;
        };
        // Ahead of the question: the master was at least there when it answered.
        let sent_at = Instant::now();
        asked = Some(sent_at);
        ask(&shared, &line, sent_at).await;
    }
    // The pool may be going, or only this way to its connections.
    if let Some(shared) = shared.upgrade() {
        shared.sampler.stop();
    }
}

async fn ask(shared: &Arc<Shared>, line: &Arc<dyn Line>, sent_at: Instant) {
    let until = sent_at + shared.patience_for_the_master();
    if let Some(Ok(master)) = shared.ask_master(line, until).await {
        shared.sampler.note(sent_at, master.position());
    }
}
