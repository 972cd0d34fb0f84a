//! Acknowledged writes by time: what the picture of a round shows.

use std::time::Duration;

use serde::Serialize;

use crate::failover::{call::History, landmarks::Landmarks, stopwatch::millis};

pub(crate) const BIN: Duration = Duration::from_millis(50);
/// How much is shown of the time before the fault.
pub(crate) const BEFORE: Duration = Duration::from_millis(500);

/// One number for each [`BIN`] from [`BEFORE`] the fault on.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Track {
    pub(crate) kept: Vec<u32>,
    pub(crate) lost: Vec<u32>,
}

impl Track {
    pub(crate) fn of(history: &History, landmarks: &Landmarks) -> Self {
        let start = landmarks.fault.saturating_sub(BEFORE);
        let bin = |at: Duration| at.checked_sub(start).map(bin_of);
        let bins = bin(landmarks.end).unwrap_or(0);
        let mut track = Self {
            kept: vec![0; bins],
            lost: vec![0; bins],
        };
        for end in history.writes.iter().filter_map(|call| call.acknowledged()) {
            let Some(bin) = bin(end.at).filter(|&bin| bin < bins) else {
                continue;
            };
            if end.lost {
                track.lost[bin] += 1;
            } else {
                track.kept[bin] += 1;
            }
        }
        track
    }
}

fn bin_of(time: Duration) -> usize {
    let bin = time.as_nanos() / BIN.as_nanos();
    usize::try_from(bin).unwrap_or(usize::MAX)
}

/// Where a bin begins, in seconds after the fault.
pub(crate) fn seconds(bin: usize) -> f64 {
    (bin as f64 * millis(BIN) - millis(BEFORE)) / 1e3
}
