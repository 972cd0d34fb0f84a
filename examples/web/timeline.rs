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

/// What is so now, of one lane.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) lane: String,
    pub(crate) state: &'static str,
    pub(crate) text: String,
}

/// Of a whole look at the pool.
pub(crate) fn seen(status: &Status, writes: &Sentence, reads: &Sentence) -> Vec<Seen> {
    let mut all = Vec::new();
    for (lane, said) in [("writes", writes), ("reads", reads)] {
        all.push(Seen {
            lane: lane.to_owned(),
            state: said.tone.as_str(),
            text: match said.tone {
                Tone::Good => String::new(),
                _ => said.detail.clone(),
            },
        });
    }
    all.extend(status.topology.master.iter().map(|node| Seen {
        lane: node.to_string(),
        state: if status.master.reachable {
            "master"
        } else {
            "lost"
        },
        text: status.master.error.clone().unwrap_or_default(),
    }));
    all.extend(status.topology.replicas.iter().map(|replica| {
        Seen {
            lane: replica.node.to_string(),
            state: if replica.is_readable() {
                "replica"
            } else {
                "excluded"
            },
            text: replica
                .excluded
                .as_ref()
                .map_or_else(String::new, ToString::to_string),
        }
    }));
    all
}

impl Timeline {
    pub(crate) fn record(&mut self, now: f64, seen: &[Seen], pace: &Pace) {
        self.forget(now);
        for Seen { lane, state, text } in seen {
            self.lane(now, lane, state, text);
        }
        self.load(now, pace);
    }

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
                if last.state == state {
                    // Such texts have times in them: the last one says most.
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
