//! What a history comes to, for a human reader.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::{Call, Outcome};

/// Counts of calls, and the longest times without a success; adds up over several histories.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// How many calls ended so, by what they were for.
    pub outcomes: BTreeMap<(&'static str, Outcome), u64>,
    /// How often calls failed with this text; numbers in it are left out.
    pub errors: BTreeMap<String, u64>,
    /// The longest time between two successful writes.
    pub write_stall: Duration,
    /// The longest time between two successful reads of replicas.
    pub read_stall: Duration,
}

impl Summary {
    /// Adds the calls of one history.
    pub fn add(&mut self, calls: &[Call]) {
        for call in calls {
            let key = (call.action.name(), call.outcome);
            *self.outcomes.entry(key).or_default() += 1;
            if !call.error.is_empty() {
                let text: String = call
                    .error
                    .chars()
                    .map(|c| if c.is_ascii_digit() { '#' } else { c })
                    .collect();
                let text = text
                    .replace("##", "#")
                    .replace("##", "#")
                    .replace("##", "#");
                *self.errors.entry(text).or_default() += 1;
            }
        }
        self.write_stall = self.write_stall.max(longest_stall(calls, true));
        self.read_stall = self.read_stall.max(longest_stall(calls, false));
    }
}

/// The longest time between the ends of two successful calls; `calls` are in the order of their ends.
fn longest_stall(calls: &[Call], writes: bool) -> Duration {
    let ends: Vec<Duration> = calls
        .iter()
        .filter(|call| call.outcome == Outcome::Ok && call.action.is_write() == writes)
        .map(|call| call.end)
        .collect();
    ends.windows(2)
        .map(|pair| pair[1].saturating_sub(pair[0]))
        .max()
        .unwrap_or_default()
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((name, outcome), count) in &self.outcomes {
            writeln!(
                f,
                "  {name:5} {outcome:12} {count:8}",
                outcome = format!("{outcome:?}")
            )?;
        }
        let (writes, reads) = (self.write_stall, self.read_stall);
        writeln!(
            f,
            "  longest stall of writes {writes:.3?}, of reads {reads:.3?}"
        )?;
        for (text, count) in &self.errors {
            writeln!(f, "  {count:6} x {text}")?;
        }
        Ok(())
    }
}
