//! How busy the pool is now, from what it has counted so far.

use std::{collections::VecDeque, time::Duration};

use redis_rw_pool::{Histogram, Status};
use serde::Serialize;
use tokio::time::Instant;

/// Numbers of less time jump about.
const COMMANDS_OF: Duration = Duration::from_secs(1);
const WAITS_OF: Duration = Duration::from_secs(10);

/// What happens now.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Pace {
    /// Commands a second to the master over connections for writes, of the last second.
    pub(crate) writes: f64,
    /// Commands a second over connections for reads.
    pub(crate) reads: f64,
    /// The seconds within which 99 of 100 callers had a connection, in the last ten. None if nobody asked.
    write_wait: Option<f64>,
    read_wait: Option<f64>,
}

/// The last seconds.
#[derive(Debug, Default)]
pub(crate) struct Window(VecDeque<Counts>);

#[derive(Debug)]
struct Counts {
    at: Instant,
    writes: u64,
    reads: u64,
    write_wait: Histogram,
    read_wait: Histogram,
}

impl Window {
    pub(crate) fn add(&mut self, at: Instant, status: &Status) -> Pace {
        let now = Counts {
            at,
            writes: status.write.commands + status.writer.commands,
            reads: status.read.commands + status.reader.commands,
            write_wait: status.write.wait,
            read_wait: status.read.wait,
        };
        // One that is older than all that is asked for stays.
        while self
            .0
            .get(1)
            .is_some_and(|second| at - second.at >= WAITS_OF)
        {
            self.0.pop_front();
        }
        let before = |time| self.0.iter().rev().find(|counts| at - counts.at >= time);
        let pace = match (
            before(COMMANDS_OF).or_else(|| self.0.front()),
            self.0.front(),
        ) {
            (Some(second), Some(oldest)) => Pace {
                writes: rate(now.writes.saturating_sub(second.writes), at - second.at),
                reads: rate(now.reads.saturating_sub(second.reads), at - second.at),
                write_wait: most(&oldest.write_wait, &now.write_wait),
                read_wait: most(&oldest.read_wait, &now.read_wait),
            },
            _ => Pace::default(),
        };
        self.0.push_back(now);
        pace
    }
}

fn rate(count: u64, time: Duration) -> f64 {
    if time.is_zero() {
        0.0
    } else {
        count as f64 / time.as_secs_f64()
    }
}

/// The seconds that one of a hundred exceeds, as far as the buckets tell, of what came between the two.
fn most(before: &Histogram, now: &Histogram) -> Option<f64> {
    let count = now.count().saturating_sub(before.count());
    let came = now.buckets().zip(before.buckets());
    let mut came = came.map(|((bound, now), (_, before))| (bound, now.saturating_sub(before)));
    let (bound, _) = came.find(|(_, within)| *within > 0 && *within * 100 >= count * 99)?;
    Some(bound.map_or(60.0, |bound| bound.as_secs_f64()))
}
