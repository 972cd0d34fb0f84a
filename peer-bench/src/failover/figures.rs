//! What one candidate reached in one round: pure functions of its calls and the landmarks.

use std::time::Duration;

use serde::Serialize;

use crate::failover::{
    call::{Call, End, History, Outcome},
    candidates::COMMAND_TIMEOUT,
    landmarks::Landmarks,
    stopwatch::{between, millis},
};

/// What a sign, or the end of a connection, may take to reach a client that does all it can, on a
/// machine with other things to do.
pub(crate) const GRACE: Duration = Duration::from_millis(10);
/// On top of the deadline, until the caller has to be answered.
pub(crate) const SLACK: Duration = Duration::from_millis(500);

/// Times are in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) attempted: usize,
    pub(crate) acknowledged: usize,
    /// Acknowledged, and not on the master afterwards.
    pub(crate) lost: usize,
    /// Acknowledged by the old master although it was being replaced when the call began, or after
    /// it had been stopped for good.
    pub(crate) stale: usize,
    /// Those of the stale ones that a frozen master acknowledged when it went on.
    pub(crate) thawed: usize,
    pub(crate) not_executed: usize,
    pub(crate) unknown: usize,
    pub(crate) other: usize,
    /// Those of the failed writes that were not under way when it happened.
    pub(crate) failed_later: usize,
    /// Writes that had not ended when the round was over.
    pub(crate) unfinished: usize,
    pub(crate) reads: usize,
    pub(crate) read_errors: usize,
    /// Reads and writes that took longer than a command may; see [`is_overdue`].
    pub(crate) overdue: usize,
    pub(crate) longest_call: f64,
    pub(crate) write_stall: f64,
    pub(crate) read_stall: f64,
    /// From the moment the new master took writes until it acknowledged one of this candidate.
    pub(crate) after_writable: Option<f64>,
    /// The same from the moment at which it was announced too: what the client adds.
    pub(crate) added: Option<f64>,
    /// The longest time that a call of this candidate had to wait for its turn to be sent.
    pub(crate) late: f64,
}

impl Figures {
    pub(crate) fn of(history: &History, landmarks: &Landmarks) -> Self {
        let writes = &history.writes;
        let count = |is: &dyn Fn(&Call) -> bool| writes.iter().filter(|call| is(call)).count();
        let ended = |outcome| count(&|call| call.end.is_some_and(|end| end.outcome == outcome));
        let all = || writes.iter().chain(&history.reads);
        let length = |call: &Call| {
            call.end
                .map_or(landmarks.end, |end| end.at)
                .saturating_sub(call.due)
        };
        let stale = |call: &Call| is_stale(call, landmarks);
        let first = first_on_the_new_master(writes, landmarks);
        let after = |since: Option<Duration>| Some(between(since?, first?));
        let longest = |time: &dyn Fn(&Call) -> Duration| all().map(time).max().map_or(0.0, millis);
        Self {
            attempted: writes.len(),
            acknowledged: ended(Outcome::Acknowledged),
            lost: count(&|call| call.end.is_some_and(|end| end.lost)),
            stale: count(&stale),
            thawed: count(&|call| stale(call) && thawed(call, landmarks)),
            not_executed: ended(Outcome::NotExecuted),
            unknown: ended(Outcome::Unknown),
            other: ended(Outcome::Other),
            failed_later: count(&|call| failed_later(call, landmarks)),
            unfinished: count(&|call| call.end.is_none()),
            reads: history.reads.iter().filter_map(Call::acknowledged).count(),
            read_errors: history
                .reads
                .iter()
                .filter(|call| call.end.is_some() && call.acknowledged().is_none())
                .count(),
            overdue: all().filter(|call| is_overdue(call, landmarks)).count(),
            longest_call: longest(&length),
            write_stall: millis(longest_gap(&history.writes, landmarks)),
            read_stall: millis(longest_gap(&history.reads, landmarks)),
            after_writable: after(landmarks.writable),
            added: after(landmarks.possible()),
            late: longest(&|call| call.begun.saturating_sub(call.due)),
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.not_executed + self.unknown + self.other
    }
}

/// Only the old master can have acknowledged what is lost, and what was acknowledged while no other
/// node took writes.
fn is_stale(call: &Call, landmarks: &Landmarks) -> bool {
    let (Some(end), Some(sign)) = (call.acknowledged(), landmarks.sign) else {
        return false;
    };
    let alone = landmarks.still_replica.is_some_and(|until| end.at <= until);
    let by_the_old_one = end.lost || alone;
    by_the_old_one && (call.begun > sign + GRACE || thawed(call, landmarks))
}

fn thawed(call: &Call, landmarks: &Landmarks) -> bool {
    let after = |end: End| landmarks.mended.is_some_and(|mended| end.at > mended);
    call.acknowledged().is_some_and(after)
}

/// A call may wait for a master as long as there is none; what it got from one then has its time from
/// that moment on. Whoever only hears of a failure has waited in vain.
fn is_overdue(call: &Call, landmarks: &Landmarks) -> bool {
    let waited_for = landmarks
        .possible()
        .filter(|_| call.acknowledged().is_some());
    let start = call.due.max(waited_for.unwrap_or(call.due));
    let end = call.end.map_or(landmarks.end, |end| end.at);
    end > start + COMMAND_TIMEOUT + SLACK
}

fn failed_later(call: &Call, landmarks: &Landmarks) -> bool {
    let failed = call.end.is_some() && call.acknowledged().is_none();
    // A busy machine takes its time to kill a process.
    let happened = landmarks.silent.unwrap_or(landmarks.fault);
    let under_way =
        call.begun <= happened + GRACE && call.end.is_some_and(|end| end.at >= landmarks.fault);
    failed && !under_way
}

/// What is lost it never had. From the moment of the probe's own write on: shortly before, a write
/// may come from the new master or, executed and replicated in time, from the old one.
fn first_on_the_new_master(writes: &[Call], landmarks: &Landmarks) -> Option<Duration> {
    let since = landmarks.writable?;
    let ends = writes.iter().filter_map(Call::acknowledged);
    ends.filter(|end| !end.lost && end.at > since)
        .map(|end| end.at)
        .min()
}

/// Between two calls that succeeded, as far as it reaches beyond the fault; up to the end when none
/// succeeds any more.
fn longest_gap(calls: &[Call], landmarks: &Landmarks) -> Duration {
    let mut ends: Vec<_> = calls
        .iter()
        .filter_map(Call::acknowledged)
        .map(|end| end.at)
        .filter(|&at| at < landmarks.end)
        .collect();
    ends.push(landmarks.end);
    ends.sort_unstable();
    let gaps = ends.windows(2).filter(|pair| pair[1] > landmarks.fault);
    let longest = gaps.map(|pair| pair[1] - pair[0]).max();
    // Nothing at all succeeded.
    longest.unwrap_or(landmarks.end)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn call(begun: u64, ended: u64, outcome: Outcome) -> Call {
        Call {
            due: ms(begun),
            begun: ms(begun),
            end: Some(End {
                at: ms(ended),
                outcome,
                lost: false,
            }),
        }
    }

    fn ok(begun: u64, ended: u64) -> Call {
        call(begun, ended, Outcome::Acknowledged)
    }

    fn lost(begun: u64, ended: u64) -> Call {
        let mut call = ok(begun, ended);
        if let Some(end) = &mut call.end {
            end.lost = true;
        }
        call
    }

    fn of(writes: Vec<Call>, landmarks: &Landmarks) -> Figures {
        let history = History {
            writes,
            ..History::default()
        };
        Figures::of(&history, landmarks)
    }

    /// At 1 000: the first sign at 1 005, promoted at 1 200, announced at 1 900.
    fn planned() -> Landmarks {
        Landmarks {
            fault: ms(1_000),
            sign: Some(ms(1_005)),
            still_replica: Some(ms(1_198)),
            writable: Some(ms(1_202)),
            announced: Some(ms(1_900)),
            end: ms(5_000),
            ..Landmarks::default()
        }
    }

    #[test]
    fn stale_is_what_only_the_old_master_can_have_acknowledged_after_the_sign() {
        for (call, is_stale, why) in [
            (ok(900, 901), false, "before all"),
            (lost(900, 901), false, "lost, and not by writing on"),
            (ok(1_001, 1_004), false, "before the sign"),
            (ok(1_010, 1_011), false, "the sign was only just given"),
            (ok(1_016, 1_017), true, "nobody else takes writes yet"),
            (ok(1_004, 1_100), false, "was under way"),
            (ok(1_016, 1_198), true, "nobody else, to the last moment"),
            (ok(1_016, 1_199), false, "perhaps by the new one"),
            (ok(1_016, 1_903), false, "waited, and went to the new one"),
            (lost(1_500, 1_501), true, "the new one does not have it"),
            (lost(4_000, 4_001), true, "much later"),
            (
                call(1_500, 1_501, Outcome::Unknown),
                false,
                "not acknowledged",
            ),
        ] {
            assert_eq!(
                of(vec![call], &planned()).stale,
                usize::from(is_stale),
                "{why}"
            );
        }
    }

    #[test]
    fn what_a_thawed_master_acknowledges_is_stale_whenever_it_was_sent() {
        let landmarks = Landmarks {
            mended: Some(ms(3_900)),
            ..planned()
        };
        let figures = of(
            vec![lost(990, 3_901), lost(3_950, 3_951), ok(3_000, 3_950)],
            &landmarks,
        );
        assert_eq!((figures.lost, figures.stale, figures.thawed), (2, 2, 2));
        // The same without a thaw: it was sent before the sign.
        let figures = of(vec![lost(990, 3_901)], &planned());
        assert_eq!((figures.lost, figures.stale, figures.thawed), (1, 0, 0));
    }

    #[test]
    fn without_a_sign_nothing_is_stale() {
        let landmarks = Landmarks {
            sign: None,
            still_replica: None,
            ..planned()
        };
        assert_eq!(
            of(vec![ok(1_500, 1_501), lost(1_500, 1_501)], &landmarks).stale,
            0
        );
    }

    #[test]
    fn latency_counts_from_the_new_master_and_from_its_announcement() {
        for (writes, after_writable, added, why) in [
            (vec![ok(1_010, 1_903)], Some(701.0), Some(3.0), "announced"),
            (vec![ok(1_010, 1_204)], Some(2.0), Some(-696.0), "promoted"),
            (
                vec![ok(1_010, 1_201), ok(1_010, 1_203)],
                Some(1.0),
                Some(-697.0),
                "ahead of the probe",
            ),
            (
                vec![
                    ok(1_010, 1_100),
                    lost(1_300, 1_301),
                    ok(2_800, 2_802),
                    ok(2_000, 2_500),
                ],
                Some(1_298.0),
                Some(600.0),
                "not what the old one took, lost or not",
            ),
            (vec![ok(900, 901), lost(1_300, 1_301)], None, None, "never"),
        ] {
            let figures = of(writes, &planned());
            assert_eq!(figures.after_writable, after_writable, "{why}");
            assert_eq!(figures.added, added, "{why}");
        }
    }

    #[test]
    fn a_stall_is_the_longest_time_without_success_that_reaches_beyond_the_fault() {
        for (writes, stall, why) in [
            (
                vec![ok(0, 100), ok(0, 800), ok(0, 1_001), ok(0, 4_990)],
                3_989.0,
                "in between",
            ),
            (
                vec![ok(0, 100), ok(0, 999), ok(0, 1_003), ok(0, 1_500)],
                3_500.0,
                "to the end",
            ),
            (
                vec![ok(0, 600), ok(0, 1_400), ok(0, 4_999)],
                3_599.0,
                "failures aside",
            ),
            (
                vec![
                    ok(0, 10),
                    ok(0, 990),
                    ok(0, 1_500),
                    ok(0, 3_000),
                    ok(0, 4_400),
                ],
                1_500.0,
                "not before the fault",
            ),
            (vec![call(0, 1, Outcome::Other)], 5_000.0, "nothing ever"),
            (
                vec![ok(0, 990), ok(0, 5_900)],
                4_010.0,
                "what comes after the end is too late",
            ),
        ] {
            let mut writes = writes;
            writes.insert(1, call(0, 2_000, Outcome::Unknown));
            assert_eq!(of(writes, &planned()).write_stall, stall, "{why}");
        }
    }

    #[test]
    fn failures_are_counted_by_what_is_known_and_by_when_they_began() {
        let writes = vec![
            call(998, 1_001, Outcome::Unknown),
            call(1_009, 1_020, Outcome::Unknown),
            call(1_500, 1_501, Outcome::Unknown),
            call(1_500, 1_502, Outcome::NotExecuted),
            call(500, 501, Outcome::Other),
            ok(1_600, 1_601),
        ];
        let figures = of(writes, &planned());
        assert_eq!((figures.attempted, figures.acknowledged), (6, 1));
        assert_eq!(
            (figures.not_executed, figures.unknown, figures.other),
            (1, 3, 1)
        );
        assert_eq!((figures.failed(), figures.failed_later), (5, 3));
    }

    #[test]
    fn under_way_is_what_began_while_the_old_master_still_answered() {
        let landmarks = Landmarks {
            silent: Some(ms(1_060)),
            ..planned()
        };
        let failed = |begun| call(begun, begun + 5, Outcome::Unknown);
        let figures = of(
            vec![failed(1_050), failed(1_070), failed(1_071)],
            &landmarks,
        );
        assert_eq!(figures.failed_later, 1);
    }

    #[test]
    fn overdue_is_what_took_longer_than_a_command_may_once_there_was_a_master() {
        let hangs = |due| Call {
            end: None,
            ..ok(due, 0)
        };
        for (call, is_overdue, why) in [
            (ok(2_000, 5_500), false, "just in time"),
            (ok(2_000, 5_501), true, "too late"),
            (ok(100, 5_400), false, "waited for the new master"),
            (ok(100, 5_401), true, "waited for longer"),
            (call(100, 3_600, Outcome::Unknown), false, "failed in time"),
            (call(100, 3_601, Outcome::Unknown), true, "waited in vain"),
            (hangs(1_499), true, "hangs"),
            (hangs(1_501), false, "had not all its time"),
        ] {
            assert_eq!(
                of(vec![call], &planned()).overdue,
                usize::from(is_overdue),
                "{why}"
            );
        }
    }

    #[test]
    fn reads_count_too() {
        let history = History {
            reads: vec![call(0, 4_000, Outcome::Unknown), ok(0, 1), ok(0, 1_001)],
            ..History::default()
        };
        let figures = Figures::of(&history, &planned());
        assert_eq!(
            (figures.reads, figures.read_errors, figures.overdue),
            (2, 1, 1)
        );
        assert_eq!(figures.longest_call, 4_000.0);
        assert_eq!(figures.read_stall, 3_999.0);
    }
}
