//! Which question a caller waits for, and whether it is to be sent. Pure.

/// Where the questions to one node are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct State {
    /// The number of the last question that was begun.
    number: u64,
    phase: Phase,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Phase {
    /// It is over.
    #[default]
    Over,
    /// It is not sent yet: who comes now is answered by it.
    Begun,
    /// It is too late for who comes now.
    Sent,
    /// As `Sent`, and somebody came.
    SentAndWanted,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A caller wants to know.
    Wanted,
    /// The question is about to be sent.
    Sent,
    Answered,
    /// It will never be answered, nor will any that was to follow it.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Nothing,
    /// Send a question.
    Start,
}

impl State {
    pub(super) fn step(&mut self, event: Event) -> Action {
        let (phase, begins) = match (event, self.phase) {
            (Event::Wanted, Phase::Over) => (Phase::Begun, true),
            (Event::Wanted, Phase::Begun) => (Phase::Begun, false),
            (Event::Wanted, Phase::Sent | Phase::SentAndWanted) => (Phase::SentAndWanted, false),
            (Event::Sent, _) => (Phase::Sent, false),
            (Event::Answered, Phase::SentAndWanted) => (Phase::Begun, true),
            (Event::Answered, _) => (Phase::Over, false),
            (Event::Dropped, phase) => {
                // Who waits for the next one waits in vain, too.
                self.number += u64::from(phase == Phase::SentAndWanted);
                (Phase::Over, false)
            }
        };
        self.phase = phase;
        self.number += u64::from(begins);
        if begins {
            Action::Start
        } else {
            Action::Nothing
        }
    }

    /// The number of the question that answers a caller who has just said that it wants to know.
    pub(super) fn awaited(self) -> u64 {
        self.number + u64::from(self.phase == Phase::SentAndWanted)
    }

    /// The number of the last question that is over.
    pub(super) fn over(self) -> u64 {
        match self.phase {
            Phase::Over => self.number,
            Phase::Begun | Phase::Sent | Phase::SentAndWanted => self.number - 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A story: what happens, what is done, which question a caller who came in this step waits for, and
    /// which are over afterwards.
    fn tell(story: &[(Event, Action, u64, u64)]) {
        let mut state = State::default();
        for (place, (event, action, awaited, over)) in story.iter().enumerate() {
            assert_eq!(state.step(*event), *action, "step {place}: {event:?}");
            if *event == Wanted {
                assert_eq!(state.awaited(), *awaited, "step {place}");
            }
            assert_eq!(state.over(), *over, "step {place}: {event:?}");
        }
    }

    use Action::{Nothing, Start};
    use Event::{Answered, Dropped, Sent, Wanted};

    #[test]
    fn who_comes_before_a_question_is_sent_is_answered_by_it() {
        tell(&[
            (Wanted, Start, 1, 0),
            (Wanted, Nothing, 1, 0),
            (Sent, Nothing, 0, 0),
            (Answered, Nothing, 0, 1),
            (Wanted, Start, 2, 1),
        ]);
    }

    #[test]
    fn who_comes_after_that_shares_the_next_one() {
        tell(&[
            (Wanted, Start, 1, 0),
            (Sent, Nothing, 0, 0),
            (Wanted, Nothing, 2, 0),
            (Wanted, Nothing, 2, 0),
            (Answered, Start, 0, 1),
            (Wanted, Nothing, 2, 1),
            (Sent, Nothing, 0, 1),
            (Wanted, Nothing, 3, 1),
            (Answered, Start, 0, 2),
            (Sent, Nothing, 0, 2),
            (Answered, Nothing, 0, 3),
        ]);
    }

    #[test]
    fn a_question_that_is_dropped_leaves_nobody_waiting() {
        tell(&[
            (Wanted, Start, 1, 0),
            (Dropped, Nothing, 0, 1),
            (Wanted, Start, 2, 1),
            (Sent, Nothing, 0, 1),
            (Dropped, Nothing, 0, 2),
            (Wanted, Start, 3, 2),
            (Sent, Nothing, 0, 2),
            (Wanted, Nothing, 4, 2),
            (Dropped, Nothing, 0, 4),
            (Wanted, Start, 5, 4),
        ]);
    }
}
