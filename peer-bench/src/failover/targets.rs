//! What ours is to reach, and whether it does.

use crate::failover::{
    figures::Figures,
    kind::Kind,
    missed::Missed,
    summary::{Row, Seat, Summary},
};

/// One line of the table of targets, for one candidate.
#[derive(Debug, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) candidate: &'static str,
    pub(crate) target: &'static str,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

struct Target {
    kinds: &'static [Kind],
    candidates: &'static [&'static str],
    what: &'static str,
    target: &'static str,
    /// What was measured, and whether that is enough.
    judge: fn(&[&Row]) -> (String, bool),
}

const ANNOUNCED: &[&str] = &["ours-exclusive", "ours-multiplexed"];
const PROMOTED: &[&str] = &["ours-exclusive-promoted", "ours-multiplexed-promoted"];
const ALL: &[&str] = &[
    "ours-exclusive",
    "ours-exclusive-promoted",
    "ours-multiplexed",
    "ours-multiplexed-promoted",
];

/// A gap between two acknowledgements is as long as the load leaves it, even when nothing happens.
const TARGETS: [Target; 8] = [
    Target {
        kinds: &[Kind::Planned],
        candidates: ALL,
        what: "planned: acknowledged writes lost; failed; stale",
        target: "0; 0; 0",
        judge: |rows| {
            let lost = total(rows, |figures| figures.lost);
            let failed = total(rows, |figures| figures.failed() + figures.unfinished);
            let stale = total(rows, |figures| figures.stale);
            none(&[lost, failed, stale])
        },
    },
    Target {
        kinds: &[Kind::Planned],
        candidates: PROMOTED,
        what: "planned: longest write stall",
        target: "250 ms",
        judge: |rows| at_most(rows, 250.0, |figures| figures.write_stall),
    },
    Target {
        kinds: &[Kind::Planned],
        candidates: ANNOUNCED,
        what: "planned: longest write stall",
        target: "1 500 ms",
        judge: |rows| at_most(rows, 1_500.0, |figures| figures.write_stall),
    },
    Target {
        kinds: &[Kind::Kill],
        candidates: ANNOUNCED,
        what: "kill -9: client-added latency, p50; p99",
        target: "5 ms; 50 ms",
        judge: |rows| {
            let at = |quantile| quantile_of(rows, quantile, |figures| figures.added);
            let (p50, p99) = (at(0.5), at(0.99));
            let met = p50.is_some_and(|p50| p50 <= 5.0) && p99.is_some_and(|p99| p99 <= 50.0);
            (format!("{}; {}", ms(p50), ms(p99)), met)
        },
    },
    Target {
        kinds: &[Kind::Kill],
        candidates: ALL,
        what: "kill -9: failed writes that were not under way, or not *unknown*",
        target: "0; 0",
        judge: |rows| {
            let later = total(rows, |figures| figures.failed_later + figures.unfinished);
            let known = total(rows, |figures| figures.not_executed + figures.other);
            none(&[later, known])
        },
    },
    Target {
        kinds: &[Kind::Kill],
        candidates: PROMOTED,
        what: "kill -9: first write after the new master took writes, p50",
        target: "30 ms",
        judge: |rows| {
            let p50 = quantile_of(rows, 0.5, |figures| figures.after_writable);
            (ms(p50), p50.is_some_and(|p50| p50 <= 30.0))
        },
    },
    Target {
        kinds: &[Kind::Freeze],
        candidates: ALL,
        what: "frozen master: calls beyond their deadline; acknowledged by it afterwards",
        target: "0; 0",
        judge: |rows| {
            let overdue = total(rows, |figures| figures.overdue);
            none(&[overdue, total(rows, |figures| figures.thawed)])
        },
    },
    Target {
        kinds: &[Kind::Planned, Kind::Kill, Kind::Freeze],
        candidates: ALL,
        what: "reads in any of these: errors; longest stall",
        target: "0; 100 ms",
        judge: |rows| {
            let errors = total(rows, |figures| figures.read_errors);
            let (stall, short) = at_most(rows, 100.0, |figures| figures.read_stall);
            (format!("{errors}; {stall}"), errors == 0 && short)
        },
    },
];

/// By how a master is believed: in how many milliseconds a subscriber hears again.
const SUBSCRIBERS: [(&str, &str, f64); 2] = [
    ("ours-subscriber", "0; 1 500 ms", 1_500.0),
    ("ours-subscriber-promoted", "0; 400 ms", 400.0),
];

/// Of what was measured.
pub(crate) fn verdicts(summary: &Summary) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for target in &TARGETS {
        for &candidate in target.candidates {
            let kinds = target.kinds.iter();
            let rows: Vec<_> = kinds
                .filter_map(|&kind| summary.row(kind, candidate))
                .collect();
            if rows.is_empty() {
                continue;
            }
            let (measured, met) = (target.judge)(&rows);
            verdicts.push(Verdict {
                what: target.what,
                candidate,
                target: target.target,
                measured,
                met,
            });
        }
    }
    for (subscriber, target, limit) in SUBSCRIBERS {
        let seat = summary.seat(Kind::Planned, subscriber);
        verdicts.extend(seat.map(|seat| heard_again(seat, subscriber, target, limit)));
    }
    verdicts
}

fn heard_again(seat: &Seat, candidate: &'static str, target: &'static str, limit: f64) -> Verdict {
    let untold = seat.total(|missed| missed.untold);
    let silence = |quantile| seat.quantile(quantile, |missed: &Missed| Some(missed.silence));
    let (median, longest) = (silence(0.5), silence(1.0));
    Verdict {
        what: "planned: messages lost and not told; longest silence of a subscriber",
        candidate,
        target,
        measured: format!("{untold}; {}, at most {}", ms(median), ms(longest)),
        met: untold == 0 && longest.is_some_and(|longest| longest <= limit),
    }
}

fn total(rows: &[&Row], number: impl Fn(&Figures) -> usize) -> usize {
    rows.iter().map(|row| row.total(&number)).sum()
}

fn none(counts: &[usize]) -> (String, bool) {
    let texts: Vec<_> = counts.iter().map(usize::to_string).collect();
    (texts.join("; "), counts.iter().all(|&count| count == 0))
}

/// In every round.
fn at_most(rows: &[&Row], limit: f64, number: impl Fn(&Figures) -> f64) -> (String, bool) {
    let medians = rows.iter().map(|row| row.median(&number));
    let median = medians.fold(0.0, f64::max);
    let longest = rows.iter().map(|row| row.max(&number)).fold(0.0, f64::max);
    (
        format!("{median:.0} ms, at most {longest:.0} ms"),
        longest <= limit,
    )
}

/// Only targets of one kind have quantiles.
fn quantile_of(
    rows: &[&Row],
    quantile: f64,
    number: impl Fn(&Figures) -> Option<f64>,
) -> Option<f64> {
    rows.first()?.quantile(quantile, number)
}

fn ms(number: Option<f64>) -> String {
    number.map_or_else(|| "never".to_owned(), |number| format!("{number:.1} ms"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::summary::Chapter;

    fn summary(kind: Kind, candidate: &'static str, figures: Vec<Figures>) -> Summary {
        Summary {
            kinds: vec![Chapter {
                kind,
                times: Vec::new(),
                cpu_share: None,
                rows: vec![Row { candidate, figures }],
                subscribers: Vec::new(),
            }],
        }
    }

    fn verdict_on(
        kind: Kind,
        candidate: &'static str,
        figures: Vec<Figures>,
        what: &str,
    ) -> Verdict {
        let verdicts = verdicts(&summary(kind, candidate, figures));
        let mut verdicts = verdicts.into_iter();
        verdicts
            .find(|verdict| verdict.what.contains(what))
            .expect("there is such a target")
    }

    #[test]
    fn one_lost_write_in_one_round_is_too_many() {
        let lost = |lost| Figures {
            lost,
            ..Figures::default()
        };
        let judge = |figures| verdict_on(Kind::Planned, "ours-exclusive", figures, "lost");
        assert!(judge(vec![lost(0), lost(0)]).met);
        let verdict = judge(vec![lost(0), lost(1)]);
        assert_eq!((verdict.met, &*verdict.measured), (false, "1; 0; 0"));
    }

    #[test]
    fn a_stall_is_judged_by_the_worst_round_and_by_how_a_master_is_believed() {
        let stall = |write_stall| Figures {
            write_stall,
            ..Figures::default()
        };
        let rounds = || vec![stall(200.0), stall(900.0), stall(210.0)];
        let judge = |candidate| verdict_on(Kind::Planned, candidate, rounds(), "write stall");
        assert!(judge("ours-multiplexed").met);
        let promoted = judge("ours-multiplexed-promoted");
        assert!(!promoted.met);
        assert_eq!(promoted.measured, "210 ms, at most 900 ms");
    }

    #[test]
    fn a_subscriber_must_be_told_and_hear_again_in_time() {
        let judge = |untold, silence| {
            let mut summary = summary(Kind::Planned, "fred", Vec::new());
            let missed = Missed {
                untold,
                silence,
                ..Missed::default()
            };
            summary.kinds[0].subscribers.push(Seat {
                subscriber: "ours-subscriber",
                missed: vec![missed],
            });
            let mut verdicts = verdicts(&summary).into_iter();
            verdicts.find(|it| it.what.contains("silence")).unwrap().met
        };
        assert!(judge(0, 1_400.0));
        assert!(!judge(1, 1_400.0));
        assert!(!judge(0, 1_501.0));
    }

    #[test]
    fn who_never_came_back_has_no_latency() {
        let added = |added| Figures {
            added,
            ..Figures::default()
        };
        let judge = |figures| verdict_on(Kind::Kill, "ours-exclusive", figures, "client-added");
        assert!(judge(vec![added(Some(4.0)), added(Some(5.0)), added(Some(49.0))]).met);
        let verdict = judge(vec![added(Some(4.0)), added(None)]);
        assert_eq!((verdict.met, &*verdict.measured), (false, "4.0 ms; never"));
    }

    #[test]
    fn what_was_not_played_is_not_judged() {
        assert_eq!(
            verdicts(&summary(Kind::Replicas, "ours-exclusive", vec![])),
            []
        );
        assert_eq!(
            verdicts(&summary(Kind::Kill, "fred", vec![Figures::default()])),
            []
        );
    }
}
