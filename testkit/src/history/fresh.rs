//! W8 to W10: what reads that must have seen a write may return, and what their callers may be told.
//!
//! Every key is written once, so a read either returns the write of its key or is older than that.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use super::chronicle::Event;
use super::rules::{Rule, Violation};
use super::{Action, Call, Outcome, State};

/// What a read was to have seen, and what its caller was told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fresh {
    /// The write of its key: the read was made with the token of that write.
    After {
        /// `1.<replication id>.<offset>.<epoch>`
        token: String,
        /// What became of the write, as the client says.
        told: Told,
    },
    /// Everything that was acknowledged longer ago than this when the read began.
    Within(Duration),
    /// Nothing.
    Nothing,
}

/// What the client says of the write that a read was to see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// The read has seen it.
    Consistent,
    /// A failover has lost it.
    WriteLost,
    /// Nobody knows what became of it; the read has seen all that is left.
    Unknown,
    /// Nothing was told. The read has seen the write, unless that was lost.
    Nothing,
}

/// Where histories of data began and ended, as the masters said.
#[derive(Debug, Default)]
struct Lineage<'a> {
    parents: HashMap<&'a str, (&'a str, u64)>,
    last: Option<&'a str>,
    /// From when on no master is replaced any more.
    settled: Option<Duration>,
}

impl<'a> Lineage<'a> {
    fn of(events: &'a [(Duration, Event)]) -> Self {
        let mut lineage = Self::default();
        for (at, event) in events {
            match event {
                Event::Began {
                    history,
                    from: Some((parent, cut)),
                } => {
                    lineage.parents.insert(history, (parent, *cut));
                }
                Event::Settled { history } => {
                    (lineage.last, lineage.settled) = (Some(history.as_str()), Some(*at));
                }
                _ => {}
            }
        }
        lineage
    }

    /// Whether the last master does not have what a token stands for; `None` where that is not known.
    fn has_lost(&self, token: &str) -> Option<bool> {
        let mut parts = token.split('.').skip(1);
        let (wanted, offset) = (parts.next()?, parts.next()?.parse::<u64>().ok()?);
        let mut limit = u64::MAX;
        let mut history = self.last?;
        // As many failovers no test has.
        for _ in 0..1000 {
            if history == wanted {
                return Some(offset >= limit);
            }
            let (parent, cut) = self.parents.get(history)?;
            limit = limit.min(*cut);
            history = parent;
        }
        None
    }
}

/// How many reads there were, and what they met.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FreshCounts {
    /// Reads with a token that were told that all is well.
    pub proven: usize,
    /// Reads with a token of which nothing is told.
    pub untold: usize,
    /// Reads with an age.
    pub within: usize,
    /// Reads that were told that their write is lost.
    pub lost: usize,
    /// Of these, whose write is there all the same: it was executed just ahead of others that are lost.
    pub lost_though_there: usize,
    /// Of these, where it is not known which master came from which.
    pub lost_unjudged: usize,
    /// Reads that were told that nobody knows.
    pub unknown: usize,
    /// Reads that asked for nothing.
    pub plain: usize,
    /// Of these, that had not seen a write that was acknowledged before.
    pub stale: usize,
    /// Reads that failed.
    pub failed: usize,
}

impl FreshCounts {
    /// What these calls come to, given what the last master holds.
    #[must_use]
    pub fn of(calls: &[Call], events: &[(Duration, Event)], end: &State) -> Self {
        let lineage = Lineage::of(events);
        let mut counts = Self::default();
        for (call, fresh) in calls
            .iter()
            .filter_map(|call| Some((call, call.fresh.as_ref()?)))
        {
            match fresh {
                Fresh::After { token, told } => match told {
                    Told::Consistent => counts.proven += 1,
                    Told::Nothing => counts.untold += 1,
                    Told::Unknown => counts.unknown += 1,
                    Told::WriteLost => {
                        counts.lost += 1;
                        counts.lost_though_there += usize::from(survives(call, end));
                        counts.lost_unjudged += usize::from(lineage.has_lost(token).is_none());
                    }
                },
                Fresh::Within(_) => counts.within += 1,
                Fresh::Nothing => counts.plain += 1,
            }
        }
        let acknowledged = acknowledged(calls);
        let is_stale = |call: &&Call| {
            call.fresh == Some(Fresh::Nothing)
                && call.outcome == Outcome::Ok
                && call.reply.is_none()
                && written(&acknowledged, call).is_some()
                && survives(call, end)
        };
        counts.stale = calls.iter().filter(is_stale).count();
        let has_failed =
            |call: &&Call| matches!(call.action, Action::Get { .. }) && call.outcome != Outcome::Ok;
        counts.failed = calls.iter().filter(has_failed).count();
        counts
    }

    /// Adds those of another history.
    pub fn add(&mut self, other: &Self) {
        let Self {
            proven,
            untold,
            within,
            lost,
            lost_though_there,
            lost_unjudged,
            unknown,
            plain,
            stale,
            failed,
        } = other;
        self.proven += proven;
        self.untold += untold;
        self.within += within;
        self.lost += lost;
        self.lost_though_there += lost_though_there;
        self.lost_unjudged += lost_unjudged;
        self.unknown += unknown;
        self.plain += plain;
        self.stale += stale;
        self.failed += failed;
    }

    /// Reads that had to have seen something and were answered.
    #[must_use]
    pub fn fresh(&self) -> usize {
        self.proven + self.untold + self.within + self.lost + self.unknown
    }
}

impl fmt::Display for FreshCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} proven, {} untold, {} within an age, {} lost ({} there all the same, {} not judged), \
             {} unknown, {} failed; of {} plain reads {} were stale",
            self.proven,
            self.untold,
            self.within,
            self.lost,
            self.lost_though_there,
            self.lost_unjudged,
            self.unknown,
            self.failed,
            self.plain,
            self.stale
        )
    }
}

/// When the write of each key was acknowledged.
fn acknowledged(calls: &[Call]) -> BTreeMap<&str, Duration> {
    let writes = calls.iter().filter(|call| call.outcome == Outcome::Ok);
    writes
        .filter_map(|call| match &call.action {
            Action::Set { key, .. } => Some((key.as_str(), call.end)),
            _ => None,
        })
        .collect()
}

/// The key of a read, and when its write was acknowledged, if that was before the read.
fn written<'a>(
    acknowledged: &BTreeMap<&str, Duration>,
    read: &'a Call,
) -> Option<(&'a str, Duration)> {
    let Action::Get { key } = &read.action else {
        return None;
    };
    let at = *acknowledged.get(key.as_str())?;
    (at <= read.start).then_some((key, at))
}

fn survives(read: &Call, end: &State) -> bool {
    match &read.action {
        Action::Get { key } => end.keys.contains_key(key),
        _ => false,
    }
}

/// Everything in which reads were older than they may be, or in which their callers were told something
/// that is not so.
pub(super) fn fresh(calls: &[Call], events: &[(Duration, Event)], end: &State) -> Vec<Violation> {
    if calls.iter().all(|call| call.fresh.is_none()) {
        return Vec::new();
    }
    let (acknowledged, lineage) = (acknowledged(calls), Lineage::of(events));
    let judge = |call: &Call| {
        let (_, at) = written(&acknowledged, call)?;
        let (seen, survives) = (call.reply.is_some(), survives(call, end));
        match call.fresh.as_ref()? {
            Fresh::Nothing => None,
            Fresh::Within(age) => {
                let is_old = at + *age < call.start;
                (is_old && !seen && survives).then_some(Rule::StaleRead)
            }
            Fresh::After { told, .. } if !seen && (survives || *told == Told::Consistent) => {
                Some(Rule::StaleRead)
            }
            Fresh::After { token, told } => match told {
                Told::WriteLost if lineage.has_lost(token) == Some(false) => Some(Rule::FalseLost),
                Told::Consistent
                    if !survives && lineage.settled.is_some_and(|then| call.start >= then) =>
                {
                    Some(Rule::FalseConsistent)
                }
                _ => None,
            },
        }
    };
    calls
        .iter()
        .filter(|call| call.outcome == Outcome::Ok)
        .filter_map(|call| {
            let rule = judge(call)?;
            let at = acknowledged.get(match &call.action {
                Action::Get { key } => key.as_str(),
                _ => "",
            });
            let at = at.copied().unwrap_or_default().as_secs_f64();
            let text = format!("written until {at:.3}: {call} {:?}", call.fresh);
            Some(Violation {
                rule,
                at: call.end,
                text,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaa";
    const B: &str = "bbbb";
    const C: &str = "cccc";

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn call(
        action: Action,
        start: u64,
        end: u64,
        reply: Option<&str>,
        fresh: Option<Fresh>,
    ) -> Call {
        Call {
            caller: "caller".to_owned(),
            action,
            start: at(start),
            end: at(end),
            limit: None,
            outcome: Outcome::Ok,
            node: None,
            reply: reply.map(str::to_owned),
            fresh,
            error: String::new(),
        }
    }

    fn write() -> Call {
        call(Action::set("k", "k|1"), 10, 20, None, None)
    }

    fn read(start: u64, reply: Option<&str>, fresh: Fresh) -> Call {
        let key = "k".to_owned();
        call(Action::Get { key }, start, start + 1, reply, Some(fresh))
    }

    fn after(history: &str, offset: u64, told: Told) -> Fresh {
        let token = format!("1.{history}.{offset}.0");
        Fresh::After { token, told }
    }

    fn holding(value: Option<&str>) -> State {
        let mut state = State::default();
        if let Some(value) = value {
            state.keys.insert("k".to_owned(), value.to_owned());
        }
        state
    }

    fn began(history: &str, from: Option<(&str, u64)>) -> (Duration, Event) {
        let from = from.map(|(parent, cut)| (parent.to_owned(), cut));
        let history = history.to_owned();
        (at(30), Event::Began { history, from })
    }

    fn settled(history: &str) -> (Duration, Event) {
        let history = history.to_owned();
        (at(100), Event::Settled { history })
    }

    fn broken(read: Call, end: Option<&str>, events: &[(Duration, Event)]) -> Vec<Rule> {
        let calls = [write(), read];
        let violations = fresh(&calls, events, &holding(end));
        // They come to light among all the others, too.
        let all = super::super::verdict(
            &calls,
            events,
            &holding(end),
            &super::super::Rules::default(),
        );
        for violation in &violations {
            assert!(all.contains(violation), "{violation}");
        }
        violations
            .into_iter()
            .map(|violation| violation.rule)
            .collect()
    }

    #[test]
    fn a_read_that_was_let_through_has_seen_the_write_of_its_token() {
        let there = Some("k|1");
        for (told, reply, end, rules) in [
            (Told::Consistent, there, there, vec![]),
            (Told::Consistent, None, there, vec![Rule::StaleRead]),
            // Even if the write is lost: that was to be told.
            (Told::Consistent, None, None, vec![Rule::StaleRead]),
            // It was lost later.
            (Told::Consistent, there, None, vec![]),
            (Told::Unknown, None, None, vec![]),
            (Told::Unknown, None, there, vec![Rule::StaleRead]),
            (Told::Unknown, there, there, vec![]),
            (Told::Nothing, None, None, vec![]),
            (Told::Nothing, None, there, vec![Rule::StaleRead]),
            // What is left was to be seen.
            (Told::WriteLost, None, there, vec![Rule::StaleRead]),
            (Told::WriteLost, None, None, vec![]),
        ] {
            let read = read(30, reply, after(A, 100, told));
            assert_eq!(broken(read, end, &[]), rules, "{told:?} {reply:?} {end:?}");
        }
        // It began before the write was acknowledged.
        let early = read(19, None, after(A, 100, Told::Consistent));
        assert_eq!(broken(early, there, &[]), vec![]);
        let mut failed = read(30, None, after(A, 100, Told::Consistent));
        failed.outcome = Outcome::NotExecuted;
        assert_eq!(broken(failed, there, &[]), vec![]);
    }

    #[test]
    fn a_read_is_not_older_than_its_age() {
        let within = |age| Fresh::Within(at(age));
        let there = Some("k|1");
        // Acknowledged at 20.
        for (start, age, reply, end, rules) in [
            (50, 20, None, there, vec![Rule::StaleRead]),
            (50, 20, there, there, vec![]),
            (50, 30, None, there, vec![]),
            (50, 20, None, None, vec![]),
        ] {
            let read = read(start, reply, within(age));
            assert_eq!(broken(read, end, &[]), rules, "{start} {age}");
        }
        assert_eq!(broken(read(50, None, Fresh::Nothing), there, &[]), vec![]);
    }

    #[test]
    fn no_write_is_called_lost_that_the_last_master_has() {
        let line = [
            began(A, None),
            began(B, Some((A, 90))),
            began(C, Some((B, 200))),
            settled(C),
        ];
        for (history, offset, is_false) in [
            (A, 89, true),
            (A, 90, false),
            (B, 199, true),
            (B, 200, false),
            (C, 1_000_000, true),
            // Nobody can tell.
            ("dddd", 5, false),
        ] {
            let read = read(30, None, after(history, offset, Told::WriteLost));
            let rules = if is_false {
                vec![Rule::FalseLost]
            } else {
                vec![]
            };
            assert_eq!(broken(read, None, &line), rules, "{history} {offset}");
        }
        // Cut off between the write and the question behind it: the token is lost, the write is not.
        let there = Some("k|1");
        let seen = read(30, there, after(A, 90, Told::WriteLost));
        assert_eq!(broken(seen.clone(), there, &line), vec![]);
        let counts = FreshCounts::of(&[write(), seen], &line, &holding(there));
        assert_eq!((counts.lost, counts.lost_though_there), (1, 1));
        // An earlier cut counts.
        let twice = [began(B, Some((A, 90))), began(C, Some((B, 80))), settled(C)];
        let read = read(30, None, after(A, 85, Told::WriteLost));
        assert_eq!(broken(read, None, &twice), vec![]);
    }

    #[test]
    fn nobody_is_told_in_the_end_that_all_is_well_whose_write_is_gone() {
        let line = [began(B, Some((A, 90))), settled(B)];
        let there = Some("k|1");
        for (start, reply, told, end, rules) in [
            (
                100,
                there,
                Told::Consistent,
                None,
                vec![Rule::FalseConsistent],
            ),
            (99, there, Told::Consistent, None, vec![]),
            (100, there, Told::Consistent, there, vec![]),
            (100, None, Told::WriteLost, None, vec![]),
            (100, None, Told::Unknown, None, vec![]),
        ] {
            let read = read(start, reply, after(A, 90, told));
            assert_eq!(broken(read, end, &line), rules, "{start} {told:?}");
        }
    }

    #[test]
    fn reads_that_ask_for_nothing_are_counted_where_they_are_stale() {
        let there = Some("k|1");
        let calls = [
            write(),
            read(30, None, Fresh::Nothing),
            read(30, there, Fresh::Nothing),
            read(19, None, Fresh::Nothing),
            read(30, there, Fresh::Within(at(1))),
        ];
        let counts = FreshCounts::of(&calls, &[], &holding(there));
        assert_eq!((counts.plain, counts.stale, counts.fresh()), (3, 1, 1));
        let gone = FreshCounts::of(&calls, &[], &holding(None));
        assert_eq!(gone.stale, 0);
        let mut sum = counts.clone();
        sum.add(&counts);
        assert_eq!((sum.plain, sum.stale, sum.within), (6, 2, 2));
        assert!(
            sum.to_string().contains("of 6 plain reads 2 were stale"),
            "{sum}"
        );
    }
}
