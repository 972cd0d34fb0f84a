//! Looks at the pool twice a second and whenever something happens, for all pages together.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use redis_rw_pool::{Health, Pool, ReadFrom, Status};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use super::{
    feed::Feed,
    pace::{Pace, Window},
    sentence::{self, Sentence},
    timeline::{self, Timeline},
};

const EVERY: Duration = Duration::from_millis(500);
/// Of several events that come together, the last is looked at.
const TOGETHER: Duration = Duration::from_millis(20);

#[derive(Serialize)]
struct Snapshot<'a> {
    /// Seconds since 1970.
    at: f64,
    writes: Sentence,
    reads: Sentence,
    health: Health,
    pace: Pace,
    timeline: &'a Timeline,
    status: Status,
}

/// Ends with the pool, and the feed with it.
pub(crate) async fn watch(pool: Pool, read_from: ReadFrom, feed: Arc<Feed>) {
    let mut events = pool.events();
    let mut timeline = Timeline::default();
    let mut window = Window::default();
    let started = (SystemTime::now(), Instant::now());
    let mut next = started.1;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { break };
                feed.event(json(&event));
                next = next.min(Instant::now() + TOGETHER);
            }
            () = sleep_until(next) => {
                next = Instant::now() + EVERY;
                // The clock of the machine may be set meanwhile, and the time line would go back.
                let at = started.0 + started.1.elapsed();
                let snapshot = look(&pool, read_from, at, &mut timeline, &mut window);
                feed.snapshot(json(&snapshot));
            }
        }
    }
    feed.end();
}

fn look<'a>(
    pool: &Pool,
    read_from: ReadFrom,
    at: SystemTime,
    timeline: &'a mut Timeline,
    window: &mut Window,
) -> Snapshot<'a> {
    let (status, health) = (pool.status(), pool.health());
    let at = at
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64();
    let writes = sentence::of_writes(&health.writes, &status.master, &status.fence);
    let reads = sentence::of_reads(&health.reads, &status.topology, read_from);
    let pace = window.add(Instant::now(), &status);
    timeline.record(at, &timeline::seen(&status, &writes, &reads), &pace);
    Snapshot {
        at,
        writes,
        reads,
        health,
        pace,
        timeline,
        status,
    }
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("BUG: keys are texts")
}
