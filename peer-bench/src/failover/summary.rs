//! What the rounds come to.

use testkit::Spread;

use crate::failover::{
    figures::Figures, kind::Kind, missed::Missed, results::Results, round::Times,
};

#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) kinds: Vec<Chapter>,
}

/// All rounds of one kind.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) kind: Kind,
    pub(crate) times: Vec<Times>,
    pub(crate) cpu_share: Option<f64>,
    /// In the order of the first round.
    pub(crate) rows: Vec<Row>,
    pub(crate) subscribers: Vec<Seat>,
}

/// One subscriber in all rounds of one kind.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) subscriber: &'static str,
    pub(crate) missed: Vec<Missed>,
}

/// One candidate in all rounds of one kind.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) candidate: &'static str,
    pub(crate) figures: Vec<Figures>,
}

impl Summary {
    pub(crate) fn of(results: &Results) -> Self {
        let kinds = Kind::ALL.into_iter();
        let chapters = kinds.map(|kind| Chapter::of(kind, results));
        Self {
            kinds: chapters
                .filter(|chapter| !chapter.times.is_empty())
                .collect(),
        }
    }

    pub(crate) fn row(&self, kind: Kind, candidate: &str) -> Option<&Row> {
        let chapter = self.kinds.iter().find(|chapter| chapter.kind == kind)?;
        chapter.rows.iter().find(|row| row.candidate == candidate)
    }

    pub(crate) fn seat(&self, kind: Kind, subscriber: &str) -> Option<&Seat> {
        let chapter = self.kinds.iter().find(|chapter| chapter.kind == kind)?;
        let mut seats = chapter.subscribers.iter();
        seats.find(|seat| seat.subscriber == subscriber)
    }
}

impl Chapter {
    fn of(kind: Kind, results: &Results) -> Self {
        let mut rows: Vec<Row> = Vec::new();
        for player in results.of(kind).flat_map(|round| &round.players) {
            let figures = player.figures;
            match rows
                .iter_mut()
                .find(|row| row.candidate == player.candidate)
            {
                Some(row) => row.figures.push(figures),
                None => rows.push(Row {
                    candidate: player.candidate,
                    figures: vec![figures],
                }),
            }
        }
        let mut subscribers: Vec<Seat> = Vec::new();
        for subscriber in results.of(kind).flat_map(|round| &round.subscribers) {
            let mut seats = subscribers.iter_mut();
            match seats.find(|seat| seat.subscriber == subscriber.name) {
                Some(seat) => seat.missed.push(subscriber.missed),
                None => subscribers.push(Seat {
                    subscriber: subscriber.name,
                    missed: vec![subscriber.missed],
                }),
            }
        }
        let shares = results.of(kind).filter_map(|round| round.cpu_share);
        Self {
            kind,
            times: results.of(kind).map(|round| round.times).collect(),
            cpu_share: Spread::of(shares).map(|spread| spread.median),
            rows,
            subscribers,
        }
    }
}

impl Seat {
    pub(crate) fn total(&self, number: impl Fn(&Missed) -> usize) -> usize {
        self.missed.iter().map(number).sum()
    }

    /// As [`Row::quantile`].
    pub(crate) fn quantile(
        &self,
        quantile: f64,
        number: impl Fn(&Missed) -> Option<f64>,
    ) -> Option<f64> {
        let numbers = self.missed.iter().map(number);
        nearest_rank(
            numbers.map(|number| number.unwrap_or(f64::INFINITY)),
            quantile,
        )
        .filter(|number| number.is_finite())
    }
}

impl Row {
    pub(crate) fn total(&self, number: impl Fn(&Figures) -> usize) -> usize {
        self.figures.iter().map(number).sum()
    }

    pub(crate) fn median(&self, number: impl Fn(&Figures) -> f64) -> f64 {
        self.quantile(0.5, |figures| Some(number(figures)))
            .unwrap_or(f64::NAN)
    }

    pub(crate) fn max(&self, number: impl Fn(&Figures) -> f64) -> f64 {
        self.quantile(1.0, |figures| Some(number(figures)))
            .unwrap_or(f64::NAN)
    }

    /// `None` where one round has none: what never came took longer than anything.
    pub(crate) fn quantile(
        &self,
        quantile: f64,
        number: impl Fn(&Figures) -> Option<f64>,
    ) -> Option<f64> {
        let numbers = self.figures.iter().map(number);
        nearest_rank(
            numbers.map(|number| number.unwrap_or(f64::INFINITY)),
            quantile,
        )
        .filter(|number| number.is_finite())
    }
}

/// The least number that as many as that are not above: with few numbers, p99 is the greatest.
fn nearest_rank(numbers: impl IntoIterator<Item = f64>, quantile: f64) -> Option<f64> {
    let mut numbers: Vec<_> = numbers.into_iter().collect();
    numbers.sort_by(f64::total_cmp);
    let rank = (1..=numbers.len()).find(|&rank| rank as f64 >= quantile * numbers.len() as f64)?;
    numbers.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_one_of_the_numbers() {
        for (count, quantile, expected) in [
            (1, 0.5, 1.0),
            (4, 0.5, 2.0),
            (5, 0.5, 3.0),
            (20, 0.99, 20.0),
            (100, 0.99, 99.0),
            (100, 1.0, 100.0),
        ] {
            let numbers = (1..=count).rev().map(f64::from);
            assert_eq!(nearest_rank(numbers, quantile), Some(expected), "{count}");
        }
        assert_eq!(nearest_rank([], 0.5), None);
    }

    #[test]
    fn what_never_came_is_the_worst() {
        let figures = |added| Figures {
            added,
            ..Figures::default()
        };
        let row = Row {
            candidate: "one",
            figures: vec![figures(Some(3.0)), figures(None), figures(Some(1.0))],
        };
        assert_eq!(row.quantile(0.5, |figures| figures.added), Some(3.0));
        assert_eq!(row.quantile(0.99, |figures| figures.added), None);
    }
}
