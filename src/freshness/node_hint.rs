//! What was last seen of a node, for all connections to it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    freshness::asker::Asker,
    position::{hint::Hint, report::Report},
    wire::position_question::Answer,
};

/// One for each node. Both pools share it.
#[derive(Debug)]
pub(crate) struct NodeHint {
    known: Mutex<Known>,
    /// For questions apart from reads and writes.
    pub(crate) asker: Arc<Asker<Answer>>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    hint: Hint,
    /// When the node last said where it is.
    seen_at: Option<Instant>,
}

impl Default for NodeHint {
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            asker: Asker::new(),
        }
    }
}

impl NodeHint {
    pub(crate) fn get(&self) -> Hint {
        self.known.lock().hint
    }

    /// When the node last said where it is.
    pub(crate) fn seen_at(&self) -> Option<Instant> {
        self.known.lock().seen_at
    }

    /// The node has said now where it is.
    pub(crate) fn seen(&self, report: Report, now: Instant) {
        let mut known = self.known.lock();
        known.hint = known.hint.seen(report);
        known.seen_at = Some(now);
    }

    /// Whether a read, or a question, found that the node had what it should.
    pub(crate) fn judged(&self, had_it: bool, now: Instant) {
        let mut known = self.known.lock();
        known.hint = if had_it {
            known.hint.met(now)
        } else {
            known.hint.missed(now)
        };
    }
}
