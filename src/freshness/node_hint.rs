//! What was last seen of a node, for all connections to it.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

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
    /// [`Hint::is_doubted`], for those who only want to know that all is well: nearly every read.
    is_doubted: AtomicBool,
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
            is_doubted: AtomicBool::new(false),
            asker: Asker::new(),
        }
    }
}

impl NodeHint {
    pub(crate) fn get(&self) -> Hint {
        self.known.lock().hint
    }

    /// Whether the node was behind, and has not had since what it should.
    #[inline]
    pub(crate) fn is_doubted(&self) -> bool {
        self.is_doubted.load(Relaxed)
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

    /// A read found that the node had what it should. Nearly every one does.
    #[inline]
    pub(crate) fn met(&self) {
        if self.is_doubted() {
            self.judged(true, Instant::now());
        }
    }

    /// Whether a read, or a question, found that the node had what it should.
    pub(crate) fn judged(&self, had_it: bool, now: Instant) {
        let mut known = self.known.lock();
        known.hint = if had_it {
            known.hint.met(now)
        } else {
            known.hint.missed(now)
        };
        self.is_doubted.store(known.hint.is_doubted(), Relaxed);
    }
}
