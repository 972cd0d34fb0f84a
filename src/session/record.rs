//! What a session has written, and what its next read must see. Pure.

use std::cmp::Ordering;

use crate::{
    freshness::{asks::Need, session_state::SessionState},
    position::{
        OUT_OF_REACH, timeline::Timeline, timelines::Timelines, token::Token, verdict::Standing,
    },
};

/// What all clones of a session know together.
///
/// A token from elsewhere may be forged, or of a history that nobody here knows. So it never takes the
/// place of what our own master answered, unless it is known to go further.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Record {
    /// What nodes of ours answered: the master behind the session's writes or to its questions, or whoever
    /// served a read.
    own: Option<Token>,
    /// What may go further, or beside it.
    aside: Option<Aside>,
    /// Writes whose outcome is unknown, or whose position is.
    doubts: u64,
    /// As many of them were followed by a question to the master.
    settled: u64,
    told: SessionState,
    monotonic: bool,
}

/// A token that the session goes on with from elsewhere; or one of an earlier master, of which nobody knows
/// what became in the present history.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Aside {
    token: Token,
    /// That of the master that was asked where it was because nobody knew the token's timeline. What has
    /// survived of the token is covered by that answer for as long as this is the master's timeline.
    asked_on: Option<Timeline>,
}

impl Record {
    /// Whether reads never go back behind what earlier reads of the session have seen.
    pub(crate) fn is_monotonic(&self) -> bool {
        self.monotonic
    }

    pub(crate) fn monotonic(self, monotonic: bool) -> Self {
        Self { monotonic, ..self }
    }

    /// What stands for the session elsewhere. It always covers the session's own writes.
    pub(crate) fn token(&self, timelines: &Timelines) -> Option<&Token> {
        let Some(own) = &self.own else {
            return self.aside.as_ref().map(|aside| &aside.token);
        };
        let aside = self.aside.as_ref().map(|aside| &aside.token);
        let further = aside.filter(|aside| {
            timelines.is_further(aside.position(), own.position())
                && !aside
                    .position()
                    .is_ahead_by(own.position(), OUT_OF_REACH / 2)
        });
        Some(further.unwrap_or(own))
    }

    /// Takes note of where the master was behind a write, if nothing else needs to be thought of.
    pub(crate) fn advance(&mut self, token: &Token) -> bool {
        match &mut self.own {
            Some(own) if self.aside.is_none() && own.is_beside(token) => {
                if own.position().offset < token.position().offset {
                    *own = token.clone();
                }
                true
            }
            _ => false,
        }
    }

    /// A write was answered, with the master's position behind it if that is known.
    pub(crate) fn wrote(self, token: Option<Token>, timelines: &Timelines) -> Self {
        match token {
            Some(token) => self.with_own(token, timelines),
            None => self.outcome_unknown(),
        }
    }

    /// A write was sent, and nobody knows whether it was executed.
    pub(crate) fn outcome_unknown(self) -> Self {
        let doubts = self.doubts + 1;
        Self { doubts, ..self }
    }

    /// A read has seen this. Only a monotonic session keeps it.
    pub(crate) fn saw(self, token: Token, timelines: &Timelines) -> Self {
        if self.monotonic {
            self.with_own(token, timelines)
        } else {
            self
        }
    }

    /// The session goes on with a token from elsewhere. `is_reached` is whether our master is known to have
    /// got there; then it may be trusted.
    pub(crate) fn resumed(mut self, token: Token, is_reached: bool, timelines: &Timelines) -> Self {
        if is_reached {
            return self.with_own(token, timelines);
        }
        self.tell_lost(timelines);
        self.put_aside(token, timelines);
        self
    }

    /// How many writes there were whose outcome is unknown, or whose position is, if the last of them is not
    /// settled. The token does not cover those.
    pub(crate) fn doubts(&self) -> Option<u64> {
        (self.doubts > self.settled).then_some(self.doubts)
    }

    /// Whether the next read needs anything.
    pub(crate) fn needs_anything(&self) -> bool {
        self.doubts().is_some() || self.own.is_some() || self.aside.is_some()
    }

    /// Whether there is nothing to see yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.own.is_none() && self.aside.is_none()
    }

    /// What the next read needs, where that is simple.
    pub(crate) fn simple_need(&self) -> Option<Need> {
        if self.doubts().is_some() {
            return None;
        }
        match (&self.own, &self.aside) {
            (None, None) => Some(Need::Nothing),
            (Some(own), None) => Some(Need::After(own.clone())),
            // A read finds out what it is worth.
            (None, Some(aside)) => Some(Need::After(aside.token.clone())),
            (Some(_), Some(_)) => None,
        }
    }

    /// What the next read needs.
    pub(crate) fn need(&self, timelines: &Timelines) -> Need {
        if let Some(need) = self.simple_need() {
            return need;
        }
        let ask = Need::MasterNow {
            doubts: self.doubts,
            epoch: self.aside.as_ref().map_or(0, |aside| aside.token.epoch()),
        };
        let (Some(own), Some(aside)) = (&self.own, &self.aside) else {
            return ask;
        };
        if self.doubts().is_some() {
            return ask;
        }
        match timelines.compare(aside.token.position(), own.position()) {
            Some(Ordering::Greater) => Need::After(aside.token.clone()),
            Some(Ordering::Less | Ordering::Equal) => Need::After(own.clone()),
            // Nobody knows the one beside the other, so a read would have to prove both.
            None if aside.is_settled(timelines) => Need::After(own.clone()),
            None => ask,
        }
    }

    /// The master was asked because of [`Need::MasterNow`] with this number.
    pub(crate) fn asked(self, master: Token, doubts: u64, timelines: &Timelines) -> Self {
        let settled = self.settled.max(doubts);
        let timeline = master.position().timeline;
        let mut next = Self { settled, ..self }.with_own(master, timelines);
        let is_known = next.is_aside_known(timelines);
        if let Some(aside) = &mut next.aside
            && !is_known
        {
            aside.asked_on = Some(timeline);
            next.told = next.told.and(SessionState::Unknown);
        }
        next
    }

    /// A read could not be proven to have seen `was`, because that is lost, or because nobody knows it or the
    /// master has not got there. It sees `by` instead, which is all that there is. Returns whether the
    /// session needed to know.
    pub(crate) fn instead(
        &mut self,
        was: &Token,
        by: &Token,
        state: SessionState,
        timelines: &Timelines,
    ) -> bool {
        let is_own = self.own.as_ref() == Some(was);
        let aside = self.aside.take_if(|aside| aside.token == *was);
        if !is_own && aside.is_none() {
            return false;
        }
        self.tell_lost(timelines);
        self.told = self.told.and(state);
        if is_own {
            self.own = None;
        }
        self.join(by.clone(), timelines);
        // It is judged again when more is known of its timeline.
        if state == SessionState::Unknown && timelines.is_strange(was) {
            let asked_on = Some(by.position().timeline);
            self.aside.get_or_insert_with(|| Aside {
                token: was.clone(),
                asked_on,
            });
        }
        true
    }

    /// What a read must see that was to see `by`, which came in place of something else.
    pub(crate) fn and_own(&self, by: Token, timelines: &Timelines) -> Token {
        match &self.own {
            Some(own) if timelines.is_further(own.position(), by.position()) => own.clone(),
            _ => by,
        }
    }

    /// What became of the writes that a read was to see.
    pub(crate) fn told(self, state: SessionState) -> Self {
        let told = self.told.and(state);
        Self { told, ..self }
    }

    pub(crate) fn state(&self, timelines: &Timelines) -> SessionState {
        let aside = self.aside.as_ref();
        let is_strange = self.own.is_some() && aside.is_some() && !self.is_aside_known(timelines);
        let state = if is_strange {
            SessionState::Unknown
        } else {
            SessionState::Consistent
        };
        self.told.and(state).and(self.standing(timelines))
    }

    fn with_own(mut self, token: Token, timelines: &Timelines) -> Self {
        if self.advance(&token) {
            return self;
        }
        self.tell_lost(timelines);
        self.join(token, timelines);
        if let Some(Aside { token, asked_on }) = self.aside.take() {
            self.put_aside(token, timelines);
            if let Some(aside) = &mut self.aside {
                aside.asked_on = asked_on;
            }
        }
        self
    }

    /// One of our own tokens for two.
    fn join(&mut self, token: Token, timelines: &Timelines) {
        let Some(own) = self.own.take() else {
            self.own = Some(token);
            return;
        };
        if timelines
            .compare(own.position(), token.position())
            .is_some()
        {
            self.own = Some(timelines.later(&own, &token));
            return;
        }
        // A master that came back without its past, or an answer of before that.
        let (own, aside) = if timelines.is_strange(&token) && !timelines.is_strange(&own) {
            (own, token)
        } else {
            (token, own)
        };
        self.own = Some(own);
        self.put_aside(aside, timelines);
    }

    /// Keeps what our own token is not known to cover.
    fn put_aside(&mut self, token: Token, timelines: &Timelines) {
        if timelines.standing(&token) == Standing::Lost {
            self.told = SessionState::WriteLost;
        }
        let own = self.own.as_ref().map(Token::position);
        let order = own.and_then(|own| timelines.compare(own, token.position()));
        if matches!(order, Some(Ordering::Greater | Ordering::Equal)) {
            return;
        }
        let token = match self.aside.take() {
            None => token,
            Some(aside) if aside.token.position() == token.position() => {
                self.aside = Some(aside);
                return;
            }
            // One is enough: what the master has now is what has survived of both.
            Some(aside) => {
                self.doubts += 1;
                let first = &aside.token;
                if timelines
                    .compare(first.position(), token.position())
                    .is_none()
                {
                    self.told = self.told.and(SessionState::Unknown);
                }
                timelines.later(first, &token)
            }
        };
        self.aside = Some(Aside {
            token,
            asked_on: None,
        });
    }

    fn is_aside_known(&self, timelines: &Timelines) -> bool {
        let (Some(own), Some(aside)) = (&self.own, &self.aside) else {
            return true;
        };
        let order = timelines.compare(aside.token.position(), own.position());
        order.is_some()
    }

    /// After a change nobody could tell any more.
    fn tell_lost(&mut self, timelines: &Timelines) {
        self.told = self.told.and(self.standing(timelines));
    }

    /// What the timelines say of the tokens. One that they do not know may be the master's next.
    fn standing(&self, timelines: &Timelines) -> SessionState {
        let aside = self.aside.iter().map(|aside| &aside.token);
        let mut tokens = self.own.iter().chain(aside);
        if tokens.any(|token| timelines.standing(token) == Standing::Lost) {
            SessionState::WriteLost
        } else {
            SessionState::Consistent
        }
    }
}

impl Aside {
    fn is_settled(&self, timelines: &Timelines) -> bool {
        self.asked_on.is_some() && self.asked_on == timelines.current()
    }
}

#[cfg(test)]
mod tests;
