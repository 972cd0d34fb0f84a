//! How long a node usually takes to answer. Pure.

use std::time::Duration;

/// As many decide. Of so few the middle one changes soon when the way gets longer, and not at all when this
/// process was held up once.
const KEPT: usize = 5;

/// The last times that a node took to answer, over a connection that was open.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    last: Vec<Duration>,
}

impl RoundTrips {
    pub(super) fn note(&mut self, took: Duration) {
        if self.last.len() == KEPT {
            self.last.remove(0);
        }
        self.last.push(took);
    }

    /// The middle one; of an even number the shorter of two.
    pub(super) fn usual(&self) -> Option<Duration> {
        let mut sorted = self.last.clone();
        sorted.sort();
        let middle = sorted.len().checked_sub(1)? / 2;
        sorted.get(middle).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_outlier_counts_for_nothing_and_a_longer_way_counts_soon() {
        let mut round_trips = RoundTrips::default();
        assert_eq!(round_trips.usual(), None);
        for (took, usual) in [
            (3, 3),
            (5000, 3),
            (4, 4),
            (2, 3),
            (3, 3),
            (7000, 4),
            (9, 4),
            (9, 9),
            (9, 9),
        ] {
            round_trips.note(Duration::from_millis(took));
            assert_eq!(
                round_trips.usual(),
                Some(Duration::from_millis(usual)),
                "{took}"
            );
        }
    }
}
