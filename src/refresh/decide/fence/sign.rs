//! A sign that the master is being replaced, given by one Sentinel.

use std::collections::BTreeMap;

use tokio::time::Instant;

use crate::{
    node::Node,
    refresh::decide::sentinel_report::SentinelReport,
    sentinel::{event::EventKind, id::SentinelId},
    status::SignKind,
};

/// The signs that are still open, one for each Sentinel.
pub(super) type Signs = BTreeMap<SentinelId, Sign>;

#[derive(Debug)]
pub(super) struct Sign {
    pub(super) kind: SignKind,
    pub(super) text: String,
    pub(super) since: Instant,
    /// The first refresh whose answer can confirm it or not.
    pub(super) round: u64,
    /// The steps of the failover that were published. Each of them asks for a newer answer, once: a
    /// flood of events must not put off the answer for ever.
    steps: Vec<EventKind>,
    /// Whether an answer of the same Sentinel has confirmed it.
    pub(super) confirmed: bool,
}

impl Sign {
    /// An event was published. `round` is the first refresh that begins after it.
    pub(super) fn published(
        sentinel: &SentinelId,
        kind: EventKind,
        round: u64,
        now: Instant,
    ) -> Self {
        Self {
            kind: SignKind::Event,
            text: format!("{sentinel} published {}", kind.channel()),
            since: now,
            round,
            steps: Vec::new(),
            confirmed: false,
        }
    }

    /// An answer has the flag of a failover.
    pub(super) fn answered(
        report: &SentinelReport<'_>,
        node: &Node,
        flag: &str,
        now: Instant,
    ) -> Self {
        Self {
            kind: SignKind::Answer,
            text: format!("{} states {flag} for {node}", report.sentinel),
            since: now,
            round: report.round,
            steps: Vec::new(),
            confirmed: true,
        }
    }

    /// A step of the failover was published.
    pub(super) fn add_step(&mut self, step: EventKind, round: u64) {
        if !self.steps.contains(&step) {
            self.steps.push(step);
            self.round = round;
        }
    }
}
