//! What callers did, what became of it, and what happened to the servers meanwhile; and the rules
//! that must hold of it.
//!
//! A history is recorded while a test runs and judged when all is over: [`verdict`] is a pure
//! function of the calls, the events and what the last master holds. Times count from the moment at
//! which the history began.
//!
//! ```
//! use testkit::history::{Action, Event, History, Outcome, Rules, State, verdict};
//!
//! let history = History::default();
//! let call = history.begin("writer", Action::set("k", "k|1"));
//! call.end(Outcome::Ok, Some(6379), None);
//! history.note(Event::Sign { master: 6379, text: "+try-failover".into() });
//!
//! // Nobody may lose an acknowledged write while its master is well.
//! let end = State::default();
//! let violations = verdict(&history.calls(), &history.events(), &end, &Rules::default());
//! assert_eq!(violations.len(), 1);
//! ```

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

mod chronicle;
mod fresh;
mod quiet;
mod rules;
mod state;
mod step;
mod summary;
#[cfg(test)]
mod tests;

pub use chronicle::{Event, parse};
pub use fresh::{Fresh, FreshCounts, Told};
pub use quiet::Quiet;
pub use rules::{Rule, Rules, Unheard, Violation, longest_resumption, lost, verdict};
pub use state::State;
pub use step::Watch;
pub use summary::Summary;

/// What a caller asked for. Keys, elements and texts are unique, values begin with their key and a
/// bar, so that every reply says whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Sets a key that nobody else writes; a reply is the value read back in the same breath.
    Set {
        /// Unique.
        key: String,
        /// Begins with the key and a bar.
        value: String,
    },
    /// Adds one to a counter; the reply is its value.
    Incr {
        /// The counter.
        key: String,
    },
    /// Appends an element that nobody else appends.
    Push {
        /// The list.
        key: String,
        /// Unique.
        element: String,
    },
    /// Reads a key that was set; a reply is its value.
    Get {
        /// The key.
        key: String,
    },
    /// Has a text said back.
    Echo {
        /// Unique.
        text: String,
    },
}

impl Action {
    /// [`Action::Set`]
    #[must_use]
    pub fn set(key: impl Into<String>, value: impl Into<String>) -> Self {
        let (key, value) = (key.into(), value.into());
        Self::Set { key, value }
    }

    /// Whether it changes what the server holds.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(
            self,
            Self::Set { .. } | Self::Incr { .. } | Self::Push { .. }
        )
    }

    /// `set`, `incr`, `push`, `get` or `echo`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Set { .. } => "set",
            Self::Incr { .. } => "incr",
            Self::Push { .. } => "push",
            Self::Get { .. } => "get",
            Self::Echo { .. } => "echo",
        }
    }
}

/// What the caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It was done.
    Ok,
    /// It was certainly not done.
    NotExecuted,
    /// It may have been done, also where the caller did not wait for the answer.
    Unknown,
    /// The server did something and answered with an error.
    Failed,
}

/// One call from its beginning to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Who called.
    pub caller: String,
    /// What for.
    pub action: Action,
    /// When it began.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
    /// How long it was allowed to take; `None` where nothing was promised.
    pub limit: Option<Duration>,
    /// How it ended.
    pub outcome: Outcome,
    /// The port of the node that answered, where that is known.
    pub node: Option<u16>,
    /// What it answered, where the action says what that must be.
    pub reply: Option<String>,
    /// What a read was to have seen, and what its caller was told; `None` where that is not judged.
    pub fresh: Option<Fresh>,
    /// The text of the error, if any.
    pub error: String,
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (self.start.as_secs_f64(), self.end.as_secs_f64());
        write!(f, "{start:.3}-{end:.3} {} {:?}", self.caller, self.action)?;
        write!(f, " -> {:?}", self.outcome)?;
        if let Some(node) = self.node {
            write!(f, " by {node}")?;
        }
        if let Some(reply) = &self.reply {
            write!(f, " ({reply})")?;
        }
        if !self.error.is_empty() {
            write!(f, ": {}", self.error)?;
        }
        Ok(())
    }
}

/// Takes down calls and events; a clone writes to the same one.
#[derive(Debug, Clone)]
pub struct History {
    began: Instant,
    records: Arc<Mutex<Records>>,
}

#[derive(Debug, Default)]
struct Records {
    calls: Vec<Call>,
    events: Vec<(Duration, Event)>,
}

impl Default for History {
    fn default() -> Self {
        Self {
            began: Instant::now(),
            records: Arc::default(),
        }
    }
}

impl History {
    /// How long ago the history began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes down that something happened now.
    pub fn note(&self, event: Event) {
        self.note_at(self.now(), event);
    }

    /// Takes down that something happened then.
    pub fn note_at(&self, at: Duration, event: Event) {
        self.records.lock().events.push((at, event));
    }

    /// A call begins. Dropped without an end, as a cancelled future drops it, it is unknown.
    pub fn begin(&self, caller: impl Into<String>, action: Action) -> Begun {
        let start = self.now();
        Begun {
            history: self.clone(),
            call: Some(Call {
                caller: caller.into(),
                action,
                start,
                end: start,
                limit: None,
                outcome: Outcome::Unknown,
                node: None,
                reply: None,
                fresh: None,
                error: String::new(),
            }),
        }
    }

    /// The calls that have ended, in the order of their ends.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.records.lock().calls.clone()
    }

    /// How many calls that this holds of have ended.
    #[must_use]
    pub fn count(&self, which: impl Fn(&Call) -> bool) -> usize {
        let records = self.records.lock();
        records.calls.iter().filter(|call| which(call)).count()
    }

    /// What happened, in the order of time.
    #[must_use]
    pub fn events(&self) -> Vec<(Duration, Event)> {
        let mut events = self.records.lock().events.clone();
        events.sort_by_key(|(at, _)| *at);
        events
    }
}

/// A call that has begun.
#[derive(Debug)]
#[must_use = "a call that is dropped counts as cancelled"]
pub struct Begun {
    history: History,
    call: Option<Call>,
}

impl Begun {
    /// How long the call may take.
    pub fn within(mut self, limit: Duration) -> Self {
        if let Some(call) = &mut self.call {
            call.limit = Some(limit);
        }
        self
    }

    /// The call succeeded or failed, at this node and with this reply where they are known.
    pub fn end(mut self, outcome: Outcome, node: Option<u16>, reply: Option<String>) {
        self.finish(|call| {
            (call.outcome, call.node, call.reply) = (outcome, node, reply);
        });
    }

    /// The call was a read that was to have seen this, and succeeded with this reply.
    pub fn end_fresh(mut self, reply: Option<String>, fresh: Fresh) {
        self.finish(|call| {
            (call.outcome, call.reply, call.fresh) = (Outcome::Ok, reply, Some(fresh));
        });
    }

    /// The call failed with an error.
    pub fn fail(mut self, outcome: Outcome, error: impl fmt::Display) {
        self.finish(|call| {
            (call.outcome, call.error) = (outcome, error.to_string());
        });
    }

    fn finish(&mut self, with: impl FnOnce(&mut Call)) {
        let Some(mut call) = self.call.take() else {
            return;
        };
        with(&mut call);
        call.end = self.history.now();
        self.history.records.lock().calls.push(call);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.finish(|call| call.error = "cancelled".to_owned());
    }
}
