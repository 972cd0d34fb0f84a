//! What reads must see instead of tokens whose timelines nobody knows. Pure.

use std::collections::VecDeque;

use crate::position::{timeline::Timeline, timelines::Timelines, token::Token};

/// As many unknown timelines are remembered. What is forgotten costs another question.
const MAX: usize = 64;

/// For each unknown timeline the position that the master had when it was asked because of it.
#[derive(Debug, Default)]
pub(crate) struct Replaced {
    /// The one used last is at the end.
    known: VecDeque<(Timeline, Token)>,
}

impl Replaced {
    /// What to see instead. Only a position of the current master counts: after another failover the unknown
    /// timeline may have been the one in between.
    pub(crate) fn get(&mut self, unknown: Timeline, timelines: &Timelines) -> Option<Token> {
        let mut known = self.known.iter();
        let place = known.position(|(timeline, _)| *timeline == unknown)?;
        let found = self.known.remove(place)?;
        if Some(found.1.position().timeline) != timelines.current() {
            return None;
        }
        let instead = found.1.clone();
        self.known.push_back(found);
        Some(instead)
    }

    pub(crate) fn keep(&mut self, unknown: Timeline, master: &Token) {
        self.known.retain(|(timeline, _)| *timeline != unknown);
        if self.known.len() == MAX {
            self.known.pop_front();
        }
        self.known.push_back((unknown, master.clone()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::position::testing::{heir, master, numbered, timeline, token};

    #[test]
    fn the_answer_counts_until_the_next_failover() {
        let mut timelines = Timelines::default();
        timelines.learn(&master('a', 90), Some(1));
        let mut replaced = Replaced::default();
        replaced.keep(timeline('x'), &token('a', 90));
        assert_eq!(
            replaced.get(timeline('x'), &timelines),
            Some(token('a', 90))
        );
        assert_eq!(replaced.get(timeline('y'), &timelines), None);
        timelines.learn(&heir('b', 120, 'a', 100), Some(2));
        assert_eq!(replaced.get(timeline('x'), &timelines), None);
    }

    #[test]
    fn those_that_are_used_least_are_forgotten() {
        let mut timelines = Timelines::default();
        timelines.learn(&master('a', 90), Some(1));
        let mut replaced = Replaced::default();
        for number in 0..64 {
            replaced.keep(numbered(number), &token('a', number));
        }
        assert!(replaced.get(numbered(0), &timelines).is_some());
        replaced.keep(numbered(64), &token('a', 64));
        assert!(replaced.get(numbered(0), &timelines).is_some());
        assert!(replaced.get(numbered(1), &timelines).is_none());
        assert!(replaced.get(numbered(2), &timelines).is_some());
        assert_eq!(replaced.known.len(), MAX);
    }
}
