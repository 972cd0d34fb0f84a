//! The tables, in Markdown.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use testkit::Spread;

use crate::failover::{
    broadcast::PUBLISH_PERIOD,
    figures::Figures,
    kind::Kind,
    load::{READ_PERIOD, WRITE_PERIOD},
    missed::Missed,
    options::Options,
    results::Results,
    round::{Round, Times},
    summary::{Chapter, Row, Seat, Summary},
    targets,
};

/// Complaints of one candidate that are shown.
const COMPLAINTS: usize = 3;

pub(crate) fn markdown(results: &Results, summary: &Summary, options: &Options) -> String {
    let mut text = String::new();
    write_all(&mut text, results, summary, options).expect("writing to a String cannot fail");
    text
}

/// What a round came to, while it goes on.
pub(crate) fn line(round: &Round) -> String {
    let mut text = String::new();
    let after = |at: Option<f64>| at.map_or_else(|| "-".to_owned(), |at| format!("{at:.0}"));
    let times = round.times;
    let _ = write!(
        text,
        "sign {}, writable {}, announced {} ms; CPU {:.0} %; lost",
        after(times.sign),
        after(times.writable),
        after(times.announced),
        100.0 * round.cpu_share.unwrap_or(f64::NAN)
    );
    for player in &round.players {
        let _ = write!(text, " {} {}", player.candidate, player.figures.lost);
    }
    text
}

fn write_all(
    out: &mut String,
    results: &Results,
    summary: &Summary,
    options: &Options,
) -> fmt::Result {
    write_circumstances(out, results, options)?;
    for chapter in &summary.kinds {
        write_chapter(out, results, chapter)?;
    }
    write_targets(out, summary)
}

fn write_circumstances(out: &mut String, results: &Results, options: &Options) -> fmt::Result {
    let machine = &results.machine;
    let crates = machine.crates.iter();
    let crates: Vec<_> = crates
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let together = if options.alone {
        "each candidate in rounds of its own"
    } else {
        "all candidates in the same rounds"
    };
    let players = results.rounds.iter().flat_map(|round| &round.players);
    let late = players
        .map(|player| player.figures.late)
        .fold(0.0, f64::max);
    writeln!(
        out,
        "\
- {date}, {cpu}, {cores} cores, {system}
- {rustc}, {server} on the same machine
- {crates}
- rounds: {rounds} of each kind, {together}; {repeated} more left out because the first attempt of
  the Sentinels came to nothing, or they promoted a second node
- each candidate{transport}: {writes} writes and {reads} reads a second; the latest of all these calls was sent
  {late:.0} ms after its turn",
        date = machine.date,
        cpu = machine.cpu,
        cores = machine.cores,
        system = machine.system,
        rustc = machine.rustc,
        server = machine.server,
        crates = crates.join(", "),
        rounds = options.rounds,
        repeated = results.repeated,
        transport = if options.tls { ", over TLS" } else { "" },
        writes = 1_000 / WRITE_PERIOD.as_millis(),
        reads = 1_000 / READ_PERIOD.as_millis(),
    )
}

fn write_chapter(out: &mut String, results: &Results, chapter: &Chapter) -> fmt::Result {
    writeln!(
        out,
        "\n### {}\n\n{}\n",
        capital(chapter.kind),
        chapter.kind.story()
    )?;
    write_times(out, chapter)?;
    if chapter.kind.moves_the_master() {
        out.push_str(
            "\n| candidate | acknowledged | lost | stale | failed: not executed, unknown, other | write stall, ms | after the new master took writes, ms | added by the client, ms | read stall, ms | read errors | overdue |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n",
        );
    } else {
        out.push_str(
            "\n| candidate | acknowledged | lost | failed: not executed, unknown, other | write stall, ms | read stall, ms | read errors | overdue |\n\
             |---|--:|--:|--:|--:|--:|--:|--:|\n",
        );
    }
    for row in &chapter.rows {
        write_row(out, chapter.kind, row)?;
    }
    write_complaints(out, results, chapter)?;
    write_subscribers(out, &chapter.subscribers)
}

fn write_times(out: &mut String, chapter: &Chapter) -> fmt::Result {
    let median = |time: fn(&Times) -> Option<f64>| {
        let times = chapter.times.iter().filter_map(time);
        Some(Spread::of(times)?.median)
    };
    let mut steps = Vec::new();
    for (name, time) in [
        ("first sign", median(|times| times.sign)),
        ("new master takes writes", median(|times| times.writable)),
        (
            "first Sentinel announces it",
            median(|times| times.announced),
        ),
        ("`+switch-master`", median(|times| times.switched)),
        (mended(chapter.kind), median(|times| times.mended)),
        ("old master is a replica", median(|times| times.demoted)),
        ("end", median(|times| Some(times.end))),
    ] {
        if let Some(time) = time {
            steps.push(format!("{name} {time:.0}"));
        }
    }
    let cpu = chapter.cpu_share.unwrap_or(f64::NAN);
    writeln!(
        out,
        "Milliseconds after the fault, medians: {}. The machine was {:.0} % busy.",
        steps.join(", "),
        100.0 * cpu
    )
}

fn mended(kind: Kind) -> &'static str {
    match kind {
        Kind::Replicas => "replicas are started again",
        _ => "old master goes on",
    }
}

fn write_row(out: &mut String, kind: Kind, row: &Row) -> fmt::Result {
    let count = |number: fn(&Figures) -> usize| {
        middle_and_most(
            row.median(|figures| number(figures) as f64),
            row.max(|figures| number(figures) as f64),
        )
    };
    let time = |number: fn(&Figures) -> Option<f64>| {
        let at = |quantile| row.quantile(quantile, number);
        median_and_most(at(0.5), at(1.0))
    };
    write!(
        out,
        "| {} | {} | {} |",
        row.candidate,
        count(|f| f.acknowledged),
        count(|f| f.lost)
    )?;
    if kind.moves_the_master() {
        write!(out, " {} |", count(|f| f.stale))?;
    }
    write!(
        out,
        " {}, {}, {} | {} |",
        count(|f| f.not_executed),
        count(|f| f.unknown),
        count(|f| f.other),
        time(|f| Some(f.write_stall)),
    )?;
    if kind.moves_the_master() {
        write!(
            out,
            " {} | {} |",
            time(|f| f.after_writable),
            time(|f| f.added)
        )?;
    }
    writeln!(
        out,
        " {} | {} | {} |",
        time(|f| Some(f.read_stall)),
        count(|f| f.read_errors),
        count(|f| f.overdue),
    )
}

/// What is not there never came.
fn median_and_most(median: Option<f64>, most: Option<f64>) -> String {
    match (median, most) {
        (Some(median), Some(most)) => middle_and_most(median, most),
        (Some(median), None) => format!("{} (never)", whole(median)),
        (None, _) => "never".to_owned(),
    }
}

/// The median, and the greatest where it is another number.
fn middle_and_most(median: f64, max: f64) -> String {
    let (median, max) = (whole(median), whole(max));
    if median == max {
        median
    } else {
        format!("{median} ({max})")
    }
}

fn whole(number: f64) -> String {
    let text = format!("{number:.0}");
    // A time just below zero is none.
    if text == "-0" { "0".to_owned() } else { text }
}

fn write_complaints(out: &mut String, results: &Results, chapter: &Chapter) -> fmt::Result {
    let mut said: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for player in results.of(chapter.kind).flat_map(|round| &round.players) {
        for (text, count) in &player.complaints {
            let of_candidate = said.entry(player.candidate).or_default();
            *of_candidate.entry(text.as_str()).or_default() += count;
        }
    }
    if said.is_empty() {
        return Ok(());
    }
    out.push_str("\nWhat failed calls said most:\n\n");
    for row in &chapter.rows {
        let Some(texts) = said.get(row.candidate) else {
            continue;
        };
        let mut texts: Vec<_> = texts.iter().collect();
        texts.sort_by_key(|&(_, &count)| std::cmp::Reverse(count));
        for (text, count) in texts.into_iter().take(COMPLAINTS) {
            writeln!(
                out,
                "- {}, {count} times: `{}`",
                row.candidate,
                text.replace('`', "'")
            )?;
        }
    }
    Ok(())
}

fn write_subscribers(out: &mut String, seats: &[Seat]) -> fmt::Result {
    if seats.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\nSubscribers, one message each {} ms by the witness and by `writer()`:\n\n\
         | subscriber | silent, ms | lost of the witness's | lost of `writer()`'s | told after, ms | lost and not told |\n\
         |---|--:|--:|--:|--:|--:|",
        PUBLISH_PERIOD.as_millis()
    )?;
    for seat in seats {
        write_seat(out, seat)?;
    }
    Ok(())
}

fn write_seat(out: &mut String, seat: &Seat) -> fmt::Result {
    let cell = |number: fn(&Missed) -> Option<f64>| {
        let at = |quantile| seat.quantile(quantile, number);
        median_and_most(at(0.5), at(1.0))
    };
    writeln!(
        out,
        "| {} | {} | {} of {:.0} | {} of {:.0} | {} | {} |",
        seat.subscriber,
        cell(|missed| Some(missed.silence)),
        cell(|missed| Some(missed.lost_of_witness as f64)),
        seat.total(|missed| missed.published_by_witness) as f64 / seat.missed.len() as f64,
        cell(|missed| Some(missed.lost_of_writer as f64)),
        seat.total(|missed| missed.published_by_writer) as f64 / seat.missed.len() as f64,
        cell(|missed| missed.told),
        cell(|missed| Some(missed.untold as f64)),
    )
}

fn write_targets(out: &mut String, summary: &Summary) -> fmt::Result {
    let verdicts = targets::verdicts(summary);
    if verdicts.is_empty() {
        return Ok(());
    }
    out.push_str(
        "\n### What ours is to reach\n\n\
         Counts are sums over all rounds, stalls the median and the longest, each round counted.\n\n\
         | what | candidate | target | measured | |\n|---|---|--:|--:|---|\n",
    );
    for verdict in verdicts {
        writeln!(
            out,
            "| {} | {} | {} | {} | {} |",
            verdict.what,
            verdict.candidate,
            verdict.target,
            verdict.measured,
            if verdict.met { "met" } else { "**not met**" }
        )?;
    }
    Ok(())
}

fn capital(kind: Kind) -> String {
    let text = kind.to_string();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_has_the_median_and_the_greatest() {
        assert_eq!(middle_and_most(3.2, 41.7), "3 (42)");
        assert_eq!(middle_and_most(0.0, 0.0), "0");
        assert_eq!(middle_and_most(-0.4, 0.3), "0");
    }

    #[test]
    fn a_subscriber_that_was_not_told_says_never() {
        let missed = |told| Missed {
            published_by_witness: 300,
            lost_of_witness: 200,
            published_by_writer: 100,
            untold: 200,
            silence: 900.4,
            told,
            ..Missed::default()
        };
        let mut text = String::new();
        for told in [[Some(7.0), Some(9.0)], [None, None]] {
            let seat = Seat {
                subscriber: "fred",
                missed: told.map(missed).to_vec(),
            };
            write_seat(&mut text, &seat).unwrap();
        }
        assert_eq!(
            text,
            "| fred | 900 | 200 of 300 | 0 of 100 | 7 (9) | 200 |\n\
             | fred | 900 | 200 of 300 | 0 of 100 | never | 200 |\n"
        );
    }

    #[test]
    fn a_row_has_a_cell_for_each_column() {
        let figures = |added| Figures {
            attempted: 12,
            acknowledged: 10,
            lost: 1,
            stale: 1,
            unknown: 2,
            write_stall: 900.4,
            read_stall: 20.0,
            after_writable: added,
            added,
            ..Figures::default()
        };
        let row = Row {
            candidate: "fred",
            figures: vec![figures(Some(700.0)), figures(None)],
        };
        let mut text = String::new();
        write_row(&mut text, Kind::Kill, &row).unwrap();
        assert_eq!(
            text,
            "| fred | 10 | 1 | 1 | 0, 2, 0 | 900 | 700 (never) | 700 (never) | 20 | 0 | 0 |\n"
        );
        text.clear();
        write_row(&mut text, Kind::Replicas, &row).unwrap();
        assert_eq!(text, "| fred | 10 | 1 | 0, 2, 0 | 900 | 20 | 0 | 0 |\n");
    }
}
