//! The rules W1 to W5 and W7 over what was recorded; W6 looks at what is left afterwards, and W8 to W10 are
//! beside this file.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Duration;

use super::chronicle::{Deposed, Event, Handover, deposed, handovers};
use super::fresh::fresh;
use super::{Action, Call, Outcome, State};

/// What must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// W1: a node that is known not to be the master acknowledges no write.
    Fenced,
    /// W2: an acknowledged write is there at the end, unless its master died with it.
    Kept,
    /// W3: what was sent once is done at most once, and what was not executed never.
    AtMostOnce,
    /// W4: every reply belongs to its own request.
    OwnReply,
    /// W5: no write goes to a replica.
    Routed,
    /// W6: when all is quiet nothing is lent, waited for or left over.
    Conserved,
    /// W7: every call ends in time, and service resumes after every outage.
    Live,
    /// W8: a read that was let through as fresh has seen the write of its token.
    StaleRead,
    /// W9: no write is called lost that the last master has.
    FalseLost,
    /// W10: nobody is told in the end that all is well whose write is gone.
    FalseConsistent,
}

impl Rule {
    /// Whether it is one of W8 to W10.
    #[must_use]
    pub fn is_about_freshness(self) -> bool {
        matches!(
            self,
            Self::StaleRead | Self::FalseLost | Self::FalseConsistent
        )
    }
}

/// A rule was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub rule: Rule,
    /// When.
    pub at: Duration,
    /// How.
    pub text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.rule as usize + 1;
        let at = self.at.as_secs_f64();
        write!(f, "W{number} ({:?}) at {at:.3}: {}", self.rule, self.text)
    }
}

/// How much time things may take.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    /// How long word of a failover may take from one corner of this process to another, while it
    /// gets to run.
    pub patience: Duration,
    /// The longest time from the writing of a command to its reply.
    pub reply_timeout: Duration,
    /// The longest time from the first word of a new master to the first write that it
    /// acknowledges, where the network is well; `None` where it is not.
    pub resume: Option<Duration>,
    /// How much later than promised a call may end, on a busy machine.
    pub slack: Duration,
    /// What is allowed where the Sentinels' events do not reach the pool; `None` where they do.
    pub unheard: Option<Unheard>,
}

/// What is allowed to a pool that no events reach. It learns of a planned failover from the
/// promotion, which closes the replica's client connections, and of others also by asking.
#[derive(Debug, Clone, Copy)]
pub struct Unheard {
    /// The longest time from the first word of a failover to the last write that the old master
    /// acknowledges.
    pub until_seen: Duration,
    /// A planned failover may lose what was acknowledged so shortly before or after the promotion,
    /// and nothing else.
    pub may_be_lost: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            patience: Duration::from_millis(250),
            reply_timeout: Duration::from_secs(3),
            resume: None,
            slack: Duration::from_secs(2),
            unheard: None,
        }
    }
}

/// Everything in which these calls and events break the rules, given what the last master holds.
#[must_use]
pub fn verdict(
    calls: &[Call],
    events: &[(Duration, Event)],
    end: &State,
    rules: &Rules,
) -> Vec<Violation> {
    let handovers = handovers(events, rules.patience, rules.unheard.is_some());
    let mut violations = Vec::new();
    let word = rules
        .unheard
        .map_or(rules.patience, |unheard| unheard.until_seen);
    violations.extend(fenced(calls, &deposed(events, word), rules));
    violations.extend(kept(calls, &handovers, end, rules));
    violations.extend(at_most_once(calls, end));
    violations.extend(own_reply(calls));
    violations.extend(routed(events, &handovers));
    violations.extend(live(calls, rules));
    violations.extend(resumed(calls, &handovers, rules));
    violations.extend(fresh(calls, events, end));
    violations.sort_by_key(|violation| (violation.rule, violation.at));
    violations
}

fn broken(rule: Rule, at: Duration, text: String) -> Violation {
    Violation { rule, at, text }
}

fn writes(calls: &[Call], outcome: Outcome) -> impl Iterator<Item = &Call> {
    calls
        .iter()
        .filter(move |call| call.action.is_write() && call.outcome == outcome)
}

fn fenced(calls: &[Call], deposed: &[Deposed], rules: &Rules) -> Vec<Violation> {
    let against = |call: &Call| {
        deposed.iter().find(|deposed| {
            let word = deposed.heard;
            // One that began before may have been written before, and then has its time for a reply.
            let written_after = call.start > word || call.end > word + rules.reply_timeout;
            let meanwhile = call.end + rules.patience < deposed.until;
            Some(deposed.node) == call.node && written_after && meanwhile
        })
    };
    writes(calls, Outcome::Ok)
        .filter_map(|call| {
            let Deposed {
                node, from, text, ..
            } = against(call)?;
            let from = from.as_secs_f64();
            let text = format!("{node} was being replaced since {from:.3} ({text}): {call}");
            Some(broken(Rule::Fenced, call.end, text))
        })
        .collect()
}

/// How many acknowledged writes are not there at the end, whoever is to blame; increments aside.
#[must_use]
pub fn lost(calls: &[Call], end: &State) -> usize {
    writes(calls, Outcome::Ok)
        .filter(|call| !end.has(&call.action))
        .count()
}

fn kept(calls: &[Call], handovers: &[Handover], end: &State, rules: &Rules) -> Vec<Violation> {
    let excused = |call: &Call| {
        handovers.iter().any(|handover| {
            call.node.is_none_or(|node| node == handover.old)
                && (handover.may_lose(call.start, call.end)
                    || rules.unheard.is_some_and(|unheard| {
                        handover.promoted_within(unheard.may_be_lost, call.end)
                    }))
        })
    };
    let mut violations = Vec::new();
    let mut counted = BTreeMap::<&str, (i64, Duration)>::new();
    for call in writes(calls, Outcome::Ok).filter(|call| !excused(call)) {
        if let Action::Incr { key } = &call.action {
            let (count, last) = counted.entry(key).or_default();
            *count += 1;
            *last = call.end;
        }
        if !end.has(&call.action) {
            let text = format!("is gone: {call} ({})", told(handovers, call));
            violations.push(broken(Rule::Kept, call.end, text));
        }
    }
    for (key, (count, last)) in counted {
        let value = end.counter(key);
        if value < count {
            let text = format!("{key} is {value} after {count} acknowledged increments");
            violations.push(broken(Rule::Kept, last, text));
        }
    }
    violations
}

/// The change of masters that a lost write may have met, for a human reader.
fn told(handovers: &[Handover], call: &Call) -> String {
    let last = handovers
        .iter()
        .rfind(|handover| handover.in_step <= call.end);
    match last {
        None => "no master was replaced".to_owned(),
        Some(handover) => format!(
            "{} was replaced: in step at {:.3}, first sign at {:.3}, promotion at {:.3?}, excuse {:?}",
            handover.old,
            handover.in_step.as_secs_f64(),
            handover.sign.as_secs_f64(),
            handover.promoted.map(|at| at.as_secs_f64()),
            handover.excuse,
        ),
    }
}

fn at_most_once(calls: &[Call], end: &State) -> Vec<Violation> {
    let mut violations = Vec::new();
    for call in writes(calls, Outcome::NotExecuted) {
        if !matches!(call.action, Action::Incr { .. }) && end.has(&call.action) {
            let text = format!("was executed: {call}");
            violations.push(broken(Rule::AtMostOnce, call.end, text));
        }
    }
    let at = calls.last().map_or(Duration::ZERO, |call| call.end);
    for (key, elements) in &end.lists {
        let mut seen = HashSet::new();
        for element in elements.iter().filter(|element| !seen.insert(*element)) {
            let text = format!("{element} is more than once in {key}");
            violations.push(broken(Rule::AtMostOnce, at, text));
        }
    }
    let mut attempts = HashMap::<&str, i64>::new();
    for call in calls {
        if let Action::Incr { key } = &call.action {
            let executed = call.outcome != Outcome::NotExecuted;
            *attempts.entry(key).or_default() += i64::from(executed);
        }
    }
    for (key, attempts) in attempts {
        let value = end.counter(key);
        if value > attempts {
            let text = format!("{key} is {value} after at most {attempts} increments");
            violations.push(broken(Rule::AtMostOnce, at, text));
        }
    }
    violations
}

fn own_reply(calls: &[Call]) -> Vec<Violation> {
    let mut begun = HashMap::<&str, Vec<Duration>>::new();
    for call in calls {
        if let Action::Incr { key } = &call.action {
            begun.entry(key).or_default().push(call.start);
        }
    }
    for starts in begun.values_mut() {
        starts.sort();
    }
    let is_own = |action: &Action, reply: &str, end: Duration| match action {
        Action::Set { value, .. } => reply == value,
        Action::Get { key } => reply
            .strip_prefix(key.as_str())
            .is_some_and(|rest| rest.starts_with('|')),
        Action::Echo { text } => reply == text,
        // Never more than were begun by then; a failover may have taken some back.
        Action::Incr { key } => reply.parse::<usize>().is_ok_and(|count| {
            let begun = begun[key.as_str()].partition_point(|start| *start <= end);
            (1..=begun).contains(&count)
        }),
        Action::Push { .. } => reply.parse::<usize>().is_ok_and(|length| length > 0),
    };
    let answered = calls.iter().filter(|call| call.outcome == Outcome::Ok);
    answered
        .filter(|call| match &call.reply {
            Some(reply) => !is_own(&call.action, reply, call.end),
            None => matches!(call.action, Action::Echo { .. }),
        })
        .map(|call| broken(Rule::OwnReply, call.end, format!("not its own: {call}")))
        .collect()
}

fn routed(events: &[(Duration, Event)], handovers: &[Handover]) -> Vec<Violation> {
    // A master that died or froze and comes back a replica refuses what was on its way to it.
    let excused = |node: u16| {
        handovers
            .iter()
            .any(|handover| handover.old == node && handover.excuse.is_some())
    };
    events
        .iter()
        .filter_map(|(at, event)| match event {
            Event::Refused { node, writes } if *writes > 0 && !excused(*node) => {
                let text = format!("{node} refused {writes} writes as a replica");
                Some(broken(Rule::Routed, *at, text))
            }
            _ => None,
        })
        .collect()
}

/// How long after the first word of a new master it acknowledged the first write.
fn resumption(calls: &[Call], handover: &Handover) -> Duration {
    let last = calls.last().map_or(handover.named, |call| call.end);
    let by_the_new = writes(calls, Outcome::Ok)
        .filter(|call| call.node == Some(handover.new) && call.end >= handover.sign);
    let first = by_the_new.map(|call| call.end).min();
    first.unwrap_or(last).saturating_sub(handover.named)
}

/// As the rule demands it of [`Rules::resume`], the longest of all changes of masters.
#[must_use]
pub fn longest_resumption(
    calls: &[Call],
    events: &[(Duration, Event)],
    rules: &Rules,
) -> Option<Duration> {
    handovers(events, rules.patience, rules.unheard.is_some())
        .iter()
        .map(|handover| resumption(calls, handover))
        .max()
}

fn resumed(calls: &[Call], handovers: &[Handover], rules: &Rules) -> Vec<Violation> {
    let late = |handover: &&Handover| {
        rules
            .resume
            .is_some_and(|limit| resumption(calls, handover) > limit)
    };
    handovers
        .iter()
        .filter(late)
        .map(|handover| {
            let (new, took) = (handover.new, resumption(calls, handover));
            let text = format!("{new} is master and acknowledged nothing for {took:?}");
            broken(Rule::Live, handover.named, text)
        })
        .collect()
}

fn live(calls: &[Call], rules: &Rules) -> Vec<Violation> {
    let late = |call: &&Call| {
        call.limit
            .is_some_and(|limit| call.end.saturating_sub(call.start) > limit + rules.slack)
    };
    calls
        .iter()
        .filter(late)
        .map(|call| {
            let text = format!("took longer than {:?}: {call}", call.limit);
            broken(Rule::Live, call.end, text)
        })
        .collect()
}
