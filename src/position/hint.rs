//! Where a read is likely to find what it must see. A hint chooses a node; it proves nothing, because a
//! node can go back, even on one timeline and over one connection.

use std::{cmp::Ordering, time::Duration};

use tokio::time::Instant;

use crate::position::{report::Report, timelines::Timelines, token::Token, verdict::Verdict};

/// How long a node that was behind is passed over: about the time in which replication catches up. It
/// doubles with every further miss, up to 320 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const MOST_DOUBLINGS: u32 = 6;

/// What was last seen of a node.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hint {
    last: Option<Report>,
    /// How often in a row it was behind, each time after its pause.
    misses: u32,
    passed_over_until: Option<Instant>,
}

impl Hint {
    /// The last position of the node, if it had one.
    pub(crate) fn last(&self) -> Option<&Report> {
        self.last.as_ref()
    }

    /// The node said where it is. It may also be a reply to an older question.
    pub(crate) fn seen(self, report: Report) -> Self {
        Self {
            last: Some(report),
            ..self
        }
    }

    /// A read or a question found the node behind.
    pub(crate) fn missed(self, now: Instant) -> Self {
        // Many reads may find out at once, and that is one miss.
        if self.is_passed_over(now) {
            return self;
        }
        let pause = FIRST_PAUSE * (1 << self.misses.min(MOST_DOUBLINGS));
        Self {
            misses: self.misses + 1,
            passed_over_until: Some(now + pause),
            ..self
        }
    }

    /// A read or a question found that the node had what it should have. What was wanted may be old, so
    /// a pause goes on: it is about what is new.
    pub(crate) fn met(self, now: Instant) -> Self {
        if self.is_passed_over(now) {
            return self;
        }
        Self {
            misses: 0,
            passed_over_until: None,
            ..self
        }
    }

    /// Whether to ask this node for a read that must see the token. A node of which nothing is known is
    /// asked, and so is one that was behind a moment ago: otherwise it would never get another chance.
    pub(crate) fn suggests(&self, token: &Token, timelines: &Timelines, now: Instant) -> bool {
        !self.is_passed_over(now) || self.had(token, timelines)
    }

    /// Whether it was behind, and has not had since what it should.
    pub(crate) fn is_doubted(&self) -> bool {
        self.misses > 0
    }

    fn had(&self, token: &Token, timelines: &Timelines) -> bool {
        let verdict = self.last.map(|last| timelines.verdict(&last, token));
        verdict == Some(Verdict::Fresh)
    }

    fn is_passed_over(&self, now: Instant) -> bool {
        self.passed_over_until.is_some_and(|until| now < until)
    }

    /// Which of two nodes went further when they were last seen.
    fn compare(&self, other: &Self, timelines: &Timelines) -> Ordering {
        match (self.last, other.last) {
            (Some(one), Some(other)) => {
                let order = timelines.compare(one.position, other.position);
                order.unwrap_or(Ordering::Equal)
            }
            (one, other) => one.is_some().cmp(&other.is_some()),
        }
    }
}

/// What a choice of nodes depends on.
pub(crate) struct Choice<'a, H, U, B> {
    pub(crate) token: &'a Token,
    pub(crate) timelines: &'a Timelines,
    pub(crate) now: Instant,
    /// The hint of the node at this place.
    pub(crate) hint: H,
    /// Whether the node at this place takes commands.
    pub(crate) usable: U,
    /// Which of two that suggest themselves is better apart from that.
    pub(crate) better: B,
}

impl<H, U, B> Choice<'_, H, U, B>
where
    H: Fn(usize) -> Hint,
    U: Fn(usize) -> bool,
    B: Fn(usize, usize) -> Ordering,
{
    /// Where a read goes that must see the token: to the better one of the two places drawn, as far as
    /// they suggest themselves; or else to any other that does, or else to the one that went furthest.
    /// `None` where none of the `count` nodes is usable.
    pub(crate) fn among(&self, count: usize, drawn: [usize; 2]) -> Option<usize> {
        self.suggested(count, drawn).or_else(|| {
            let usable = all(count, drawn).filter(|place| (self.usable)(*place));
            let hints = usable.map(|place| (place, (self.hint)(place)));
            let furthest =
                hints.reduce(|best, next| match next.1.compare(&best.1, self.timelines) {
                    Ordering::Greater => next,
                    Ordering::Less | Ordering::Equal => best,
                });
            furthest.map(|(place, _)| place)
        })
    }

    /// As [`among`](Self::among), and `None` where no node suggests itself.
    pub(crate) fn suggested(&self, count: usize, drawn: [usize; 2]) -> Option<usize> {
        let suggested = |place: &usize| {
            let hint = (self.hint)(*place);
            (self.usable)(*place) && hint.suggests(self.token, self.timelines, self.now)
        };
        let better = drawn.into_iter().filter(suggested);
        better
            .max_by(|one, other| (self.better)(*one, *other))
            .or_else(|| all(count, drawn).find(suggested))
    }
}

/// All places, from one drawn at random, so that not all go to the same one.
fn all(count: usize, drawn: [usize; 2]) -> impl Iterator<Item = usize> {
    (0..count).map(move |step| (drawn[0] + step) % count)
}

#[cfg(test)]
mod tests;
