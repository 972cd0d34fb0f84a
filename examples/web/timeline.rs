//! The last ten minutes: what could be done, and what each node was.

use std::collections::VecDeque;

use redis_rw_pool::Status;
use serde::Serialize;

use super::{
    pace::Pace,
    sentence::{Sentence, Tone},
};

const SECONDS: f64 = 600.0;
/// More than a page can show of one lane. What flaps for ten minutes loses its oldest spans.
const SPANS: usize = 300;
/// The seconds that one bar of the load stands for.
const STEP: f64 = 5.0;

/// All times are seconds since 1970.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Timeline {
    /// Writes and reads, and then the nodes in the order in which they were seen first.
    lanes: Vec<Lane>,
    /// Commands a second.
    load: VecDeque<Load>,
}

#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    spans: VecDeque<Span>,
}

/// For a while it was the same.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Span {
    from: f64,
    to: f64,
    state: String,
    text: String,
}

/// The average of some seconds.
#[derive(Debug, Serialize)]
struct Load {
    from: f64,
    writes: f64,
    reads: f64,
    #[serde(skip)]
    looks: f64,
}

impl Timeline {
    pub(crate) fn record(
        &mut self,
        now: f64,
        status: &Status,
        writes: &Sentence,
        reads: &Sentence,
        pace: &Pace,
    ) {
        self.forget(now);
        for (name, said) in [("writes", writes), ("reads", reads)] {
            let (state, text) = match said.tone {
                Tone::Good => ("good", ""),
                Tone::Part => ("part", &*said.detail),
                Tone::Wait => ("wait", &*said.detail),
                Tone::Bad => ("bad", &*said.detail),
            };
            self.lane(now, name, state, text);
        }
        if let Some(master) = &status.topology.master {
            let state = if status.master.reachable {
                "master"
            } else {
                "lost"
            };
            let why = status.master.error.as_deref().unwrap_or_default();
            self.lane(now, &master.to_string(), state, why);
        }
        for replica in &status.topology.replicas {
            let why = replica.excluded.as_ref();
            let state = why.map_or("replica", |_| "excluded");
            let why = why.map(ToString::to_string).unwrap_or_default();
            self.lane(now, &replica.node.to_string(), state, &why);
        }
        self.load(now, pace);
    }

    /// In `now`, this is so.
    fn lane(&mut self, now: f64, name: &str, state: &str, text: &str) {
        let known = self.lanes.iter().position(|lane| lane.name == name);
        let place = known.unwrap_or_else(|| {
            self.lanes.push(Lane {
                name: name.to_owned(),
                spans: VecDeque::new(),
            });
            self.lanes.len() - 1
        });
        let spans = &mut self.lanes[place].spans;
        if let Some(last) = spans.back_mut() {
            // Between two looks it may have been away, for less time than anybody sees.
            if now - last.to < 2.0 {
                last.to = now;
                if last.state == state && (last.text == text || state == "excluded") {
                    last.text = text.to_owned();
                    return;
                }
            }
        }
        spans.push_back(Span {
            from: now,
            to: now,
            state: state.to_owned(),
            text: text.to_owned(),
        });
        if spans.len() > SPANS {
            spans.pop_front();
        }
    }

    fn load(&mut self, now: f64, pace: &Pace) {
        let from = (now / STEP).floor() * STEP;
        match self.load.back_mut().filter(|last| last.from >= from) {
            Some(last) => {
                last.looks += 1.0;
                last.writes += (pace.writes - last.writes) / last.looks;
                last.reads += (pace.reads - last.reads) / last.looks;
            }
            None => self.load.push_back(Load {
                from,
                writes: pace.writes,
                reads: pace.reads,
                looks: 1.0,
            }),
        }
    }

    fn forget(&mut self, now: f64) {
        let oldest = now - SECONDS;
        for lane in &mut self.lanes {
            while lane.spans.front().is_some_and(|span| span.to < oldest) {
                lane.spans.pop_front();
            }
        }
        self.lanes.retain(|lane| !lane.spans.is_empty());
        while self
            .load
            .front()
            .is_some_and(|load| load.from < oldest - STEP)
        {
            self.load.pop_front();
        }
    }
}
